//! MLC, multilingual consistency (arXiv 2602.16660), and the control beside it.

use nalgebra::{DMatrix, DVector, SymmetricEigen};

/// Singular values below this are the rounding of states that a device computed in f32: no direction of theirs means anything.
const NOISE: f64 = 1e-6;

/// `−log softmax(σ/τ)₁` of the singular values of a prompt's directions, `[languages, width]`, and its gradient at them. It is
/// least where all directions are one: then σ₁ = √m and the others are zero.
///
/// The gradient is `Σⱼ gⱼ·vⱼvⱼᵀR`, `gⱼ = (pⱼ − [j = 1]) / (τ·σⱼ)`, where the `v` are eigenvectors of the m×m matrix `RRᵀ`.
pub(crate) fn singular_value(directions: &DMatrix<f64>, temperature: f64) -> (f64, DMatrix<f64>) {
    let SymmetricEigen { eigenvalues, eigenvectors } = SymmetricEigen::new(directions * directions.transpose());
    let singular = eigenvalues.map(|value| value.max(0.0).sqrt());
    let first = singular.imax();
    let powers = singular.map(|value| ((value - singular[first]) / temperature).exp());
    // Without the first, which is one: beside it the others may be small.
    let others: f64 = powers.iter().enumerate().filter(|(j, _)| *j != first).map(|(_, power)| power).sum();
    let slopes = DVector::from_fn(singular.len(), |j, _| {
        let slope = if j == first { -others } else { powers[j] };
        slope / (1.0 + others) / temperature / singular[j].max(NOISE)
    });
    let turned = &eigenvectors * DMatrix::from_diagonal(&slopes) * eigenvectors.transpose();
    (others.ln_1p(), turned * directions)
}

/// The mean of `1 − cos` over pairs of languages, and its gradient at a prompt's directions, `[languages, width]`.
pub(crate) fn mean_cosine(directions: &DMatrix<f64>) -> (f64, DMatrix<f64>) {
    let languages = directions.nrows() as f64;
    let pairs = languages * (languages - 1.0);
    let sum = directions.row_sum();
    // (Σr)² has the cosine of each two twice, and the square of each.
    let loss = 1.0 - (sum.norm_squared() - directions.norm_squared()) / pairs;
    let mut gradient = directions.clone();
    for mut row in gradient.row_iter_mut() {
        row -= &sum;
    }
    (loss, gradient * (2.0 / pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-12, "{got}, {want}");
    }

    #[test]
    fn by_hand() {
        // cos 0.28: σ² are 1 ± 0.28.
        let directions = DMatrix::from_row_slice(2, 2, &[1.0, 0.0, 0.28, 0.96]);
        let apart = (1.28f64.sqrt() - 0.72f64.sqrt()) / 0.5;
        check(singular_value(&directions, 0.5).0, (-apart).exp().ln_1p());
        check(mean_cosine(&directions).0, 0.72);
        // Three right angles: all singular values are one.
        check(singular_value(&DMatrix::identity(3, 3), 0.7).0, 3f64.ln());
        check(mean_cosine(&DMatrix::identity(3, 3)).0, 1.0);
    }

    #[test]
    fn where_all_directions_are_one_nothing_is_left_to_lower() {
        let one = DMatrix::from_row_slice(3, 2, &[0.6, 0.8].repeat(3));
        let (loss, gradient) = singular_value(&one, 0.5);
        // The root of a zero that is off by a rounding.
        assert!((loss - (2.0 * (-3f64.sqrt() / 0.5).exp()).ln_1p()).abs() < 1e-7);
        // Its gradient points along the directions, which turns none of them.
        let across = gradient.column(0) * 0.8 - gradient.column(1) * 0.6;
        assert!(across.amax() < 1e-6, "{across}");
        check(mean_cosine(&one).0, 0.0);
    }
}
