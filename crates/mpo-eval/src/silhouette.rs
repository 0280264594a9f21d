//! Silhouettes (Rousseeuw, 1987): how much nearer items lie to their own class than to the next one.

use nalgebra::DMatrix;

/// Euclidean distances between the rows of a matrix.
#[derive(Debug)]
pub(crate) struct Distances {
    /// Every row's product with every other.
    products: DMatrix<f64>,
}

impl Distances {
    /// Of rows whose columns have a mean of zero: what all rows share would drown their differences.
    pub(crate) fn of_centred(rows: &DMatrix<f64>) -> Self {
        Self { products: rows * rows.transpose() }
    }

    fn between(&self, a: usize, b: usize) -> f64 {
        let squared = self.products[(a, a)] + self.products[(b, b)] - 2.0 * self.products[(a, b)];
        squared.max(0.0).sqrt()
    }

    /// The mean silhouette of the rows, `classes` having the class of each: 1 is far apart, 0 mingled, below 0 in each
    /// other's place. A row that is alone in its class counts as 0. None unless there are at least two classes and
    /// fewer of them than rows.
    pub(crate) fn silhouette<C: Ord>(&self, classes: &[C]) -> Option<f64> {
        let mut names: Vec<&C> = classes.iter().collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < 2 || names.len() >= classes.len() {
            return None;
        }
        let classes: Vec<usize> = classes.iter().map(|class| names.partition_point(|name| *name < class)).collect();
        let mut counts = vec![0.0; names.len()];
        for &class in &classes {
            counts[class] += 1.0;
        }
        let of = |row: usize| {
            let mut sums = vec![0.0; counts.len()];
            for (other, &class) in classes.iter().enumerate() {
                sums[class] += self.between(row, other);
            }
            let own = classes[row];
            if counts[own] < 2.0 {
                return 0.0;
            }
            // The distance to itself is nothing, and is not counted.
            let within = sums[own] / (counts[own] - 1.0);
            let others = (0..sums.len()).filter(|&class| class != own).map(|class| sums[class] / counts[class]);
            let nearest = others.fold(f64::INFINITY, f64::min);
            match within.max(nearest) {
                0.0 => 0.0,
                larger => (nearest - within) / larger,
            }
        };
        Some((0..classes.len()).map(of).sum::<f64>() / classes.len() as f64)
    }
}

/// Takes the mean of every column off it.
pub(crate) fn centre(rows: &mut DMatrix<f64>) {
    for mut column in rows.column_iter_mut() {
        let mean = column.mean();
        column.add_scalar_mut(-mean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silhouette(rows: &[[f64; 2]], classes: &[char]) -> Option<f64> {
        let mut rows = DMatrix::from_fn(rows.len(), 2, |i, j| rows[i][j]);
        centre(&mut rows);
        Distances::of_centred(&rows).silhouette(classes)
    }

    #[test]
    fn three_classes_by_hand() {
        // On a line at 0, 1 | 4 | 10: the pair has 3/4 and 2/3 (within 1, to the next class 4 and 3); the others are alone.
        let rows = [[0.0, 2.0], [1.0, 2.0], [4.0, 2.0], [10.0, 2.0]];
        let found = silhouette(&rows, &['a', 'a', 'b', 'c']).unwrap();
        assert!((found - (0.75 + 2.0 / 3.0) / 4.0).abs() < 1e-12, "{found}");
    }

    #[test]
    fn what_lies_in_the_other_class_is_below_zero_and_what_is_no_classes_has_none() {
        // 0 and 2 against 1 and 3: of the ends within 2, to the others (1 + 3)/2; of the middle ones within 2, to the others 1.
        let rows = [[0.0, 0.0], [2.0, 0.0], [1.0, 0.0], [3.0, 0.0]];
        let found = silhouette(&rows, &['a', 'a', 'b', 'b']).unwrap();
        assert!((found - (0.0 - 0.5 - 0.5 + 0.0) / 4.0).abs() < 1e-12, "{found}");
        assert_eq!(silhouette(&rows, &['a'; 4]), None);
        assert_eq!(silhouette(&rows, &['a', 'b', 'c', 'd']), None);
        assert_eq!(silhouette(&[[1.0, 1.0]; 4], &['a', 'a', 'b', 'b']), Some(0.0));
    }
}
