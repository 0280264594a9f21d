//! Which rows make each step: it follows from the seed alone, so a run can be resumed and looked ahead of.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::settings::TrainConfig;

/// The batches of a run.
#[derive(Debug, Clone)]
pub(crate) struct Batches {
    rows: usize,
    size: usize,
    /// Batches of an epoch.
    per_epoch: u64,
    total: u64,
    seed: u64,
    shuffle: bool,
}

impl Batches {
    /// The batches of a run over so many rows, each of at least `min` of them (unless there are fewer in all): what is
    /// left over at the end of an epoch and is less than that joins the batch before it.
    pub(crate) fn new(config: &TrainConfig, rows: usize, min: usize) -> Self {
        let size = config.batch_size;
        let joins = rows > size && (1..min).contains(&(rows % size));
        let per_epoch = rows.div_ceil(size) as u64 - u64::from(joins);
        // A number of epochs that rounding has made a little too large takes no further step.
        let all = ((per_epoch as f64 * config.epochs - 1e-9).ceil() as u64).max(1);
        Self {
            rows,
            size,
            per_epoch,
            total: config.max_steps.map_or(all, |max| all.min(max)),
            seed: config.seed,
            shuffle: config.shuffle,
        }
    }

    /// Steps of the run.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Epochs of the run; the last may be cut short.
    pub(crate) fn epochs(&self) -> u64 {
        self.total.div_ceil(self.per_epoch)
    }

    /// The batches of an epoch, of those that the run takes.
    pub(crate) fn of_epoch(&self, epoch: u64) -> Vec<Vec<usize>> {
        let order = self.order(epoch);
        let taken = self.total.saturating_sub(epoch * self.per_epoch);
        (0..self.per_epoch.min(taken)).map(|within| self.part(&order, within).to_vec()).collect()
    }

    /// Rows of a step.
    pub(crate) fn batch(&self, step: u64) -> Vec<usize> {
        let (epoch, within) = (step / self.per_epoch, step % self.per_epoch);
        self.part(&self.order(epoch), within).to_vec()
    }

    /// Each epoch is a shuffle of its own.
    fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.rows).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(epoch);
        if self.shuffle {
            order.shuffle(&mut rng);
        }
        order
    }

    fn part<'o>(&self, order: &'o [usize], within: u64) -> &'o [usize] {
        let first = within as usize * self.size;
        if within + 1 == self.per_epoch { &order[first..] } else { &order[first..first + self.size] }
    }

    /// Passes over the rows after so many steps.
    pub(crate) fn epochs_after(&self, steps: u64) -> f64 {
        let (whole, part) = (steps / self.per_epoch, steps % self.per_epoch);
        whole as f64 + part as f64 * self.size as f64 / self.rows as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TrainOptions;

    fn batches(rows: usize, min: usize) -> Batches {
        of(rows, min, 2.0)
    }

    fn of(rows: usize, min: usize, epochs: f64) -> Batches {
        let config = TrainOptions { batch_size: Some(4), epochs: Some(epochs), ..TrainOptions::minimal() };
        Batches::new(&config.resolve().unwrap(), rows, min)
    }

    #[test]
    fn a_part_of_an_epoch_is_its_first_batches() {
        // Five batches an epoch.
        for (epochs, steps) in [(1e-12, 1), (0.1, 1), (0.2, 1), (0.5, 3), (1.0, 5), (1.2, 6), (2.0, 10)] {
            let batches = of(20, 1, epochs);
            assert_eq!(batches.total(), steps, "{epochs}");
            assert_eq!(batches.batch(steps - 1), of(20, 1, 2.0).batch(steps - 1));
        }
    }

    #[test]
    fn every_row_is_in_every_epoch_once() {
        for (rows, min, sizes) in [(9, 1, vec![4, 4, 1]), (9, 2, vec![4, 5]), (8, 2, vec![4, 4]), (1, 2, vec![1])] {
            let batches = batches(rows, min);
            assert_eq!(batches.total(), 2 * sizes.len() as u64);
            for epoch in 0..2 {
                let steps = sizes.len() as u64;
                let of: Vec<_> = (0..steps).map(|i| batches.batch(epoch * steps + i)).collect();
                assert_eq!(of.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
                assert_eq!(batches.of_epoch(epoch), of);
                let mut all = of.concat();
                all.sort_unstable();
                assert_eq!(all, (0..rows).collect::<Vec<_>>());
                assert_eq!(batches.epochs_after((epoch + 1) * steps), (epoch + 1) as f64);
            }
        }
    }
}
