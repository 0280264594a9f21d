//! How much a rank has given to others: counted in one way for every transport, so that a count on paper can be held to it.

use std::cell::Cell;

/// Bytes that one rank gave to others.
#[derive(Debug, Default)]
pub struct Sent(Cell<u64>);

impl Sent {
    /// So far.
    pub fn bytes(&self) -> u64 {
        self.0.get()
    }

    /// So many bytes went to each of so many ranks.
    pub fn add(&self, bytes: usize, ranks: usize) {
        self.0.set(self.0.get() + bytes as u64 * ranks as u64);
    }

    /// Parts of `lengths` numbers went to those whose they are, but for `rank`'s own.
    pub fn add_parts(&self, lengths: &[usize], rank: usize) {
        let numbers: usize = lengths.iter().enumerate().filter(|(of, _)| *of != rank).map(|(_, length)| length).sum();
        self.add(numbers * size_of::<f32>(), 1);
    }
}
