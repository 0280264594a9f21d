//! Ranks whose cards talk over NCCL: what is many numbers goes from card to card, over NVLink where there is one. The little
//! that is left goes over another transport, which also tells the ranks how to find each other.
//!
//! Sums are made in the order of ranks, as over every other transport, so they are the same bits.

#![cfg(feature = "nccl")]

mod room;

use std::ffi::c_char;
use std::rc::Rc;
use std::sync::Arc;

use cudarc::driver::{CudaContext, DriverError};
use cudarc::nccl::{Comm, Id, group_end, group_start, result};
use mpo_collective::{Collective, Sent, added_up};
use room::Room;

/// Why ranks cannot talk over NCCL.
#[derive(Debug, thiserror::Error)]
pub enum NcclError {
    /// The card does not answer.
    #[error("expected CUDA device {card} to be free for NCCL, got: {source}")]
    Card {
        /// Its number on this machine.
        card: usize,
        /// What the driver says.
        source: DriverError,
    },
    /// The cards do not find each other.
    #[error("expected NCCL to join {ranks} ranks, one on each card, got {got} on rank {rank}")]
    Join {
        /// How many there are.
        ranks: usize,
        /// Which of them this is.
        rank: usize,
        /// NCCL's word for it.
        got: String,
    },
}

/// This rank's card among the others.
#[derive(Debug)]
pub struct Nccl {
    below: Rc<dyn Collective>,
    comm: Comm,
    /// What this rank gives, on its card.
    outgoing: Room,
    /// What it is given.
    incoming: Room,
    sent: Sent,
}

impl Nccl {
    /// Joins the ranks of `below` with the card of this number. All ranks call it at the same time, each with a card of its own.
    ///
    /// # Errors
    /// If the driver or NCCL refuses, for example because two ranks have one card.
    ///
    /// # Panics
    /// If the machine has no NCCL (`libnccl.so`).
    pub fn join(below: Rc<dyn Collective>, card: usize) -> Result<Self, NcclError> {
        let refused = |source| NcclError::Card { card, source };
        let stream = CudaContext::new(card).and_then(|context| context.new_stream()).map_err(refused)?;
        let (rank, ranks) = (below.rank(), below.size());
        let failed = |error: result::NcclError| NcclError::Join { ranks, rank, got: format!("{:?}", error.0) };
        let mut id = match below.is_first() {
            true => Id::new().map_err(failed)?.internal().iter().flat_map(|byte| byte.to_ne_bytes()).collect(),
            false => vec![],
        };
        below.broadcast(&mut id);
        let mut bytes = id.into_iter();
        let id = Id::uninit([(); 128].map(|()| c_char::from_ne_bytes([bytes.next().unwrap_or(0)])));
        let comm = Comm::from_rank(Arc::clone(&stream), rank, ranks, id).map_err(failed)?;
        let [outgoing, incoming] = [(); 2].map(|()| Room::on(&stream));
        Ok(Self { below, comm, outgoing, incoming, sent: Sent::default() })
    }

    /// Calls that NCCL takes as one, so that none waits for another.
    fn together(&self, calls: impl FnOnce() -> Result<(), result::NcclError>) {
        let done = group_start().and_then(|_| calls()).and_then(|()| group_end().map(drop));
        done.unwrap_or_else(|error| panic!("NCCL failed: {:?}", error.0));
    }
}

/// A rank's number as NCCL counts.
fn peer(rank: usize) -> i32 {
    i32::try_from(rank).expect("there are fewer ranks than that")
}

impl Collective for Nccl {
    fn rank(&self) -> usize {
        self.below.rank()
    }

    fn size(&self) -> usize {
        self.below.size()
    }

    fn sent(&self) -> u64 {
        self.below.sent() + self.sent.bytes()
    }

    fn barrier(&self) {
        self.below.barrier();
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) {
        self.below.broadcast(bytes);
    }

    fn share(&self, own: &[u8]) -> Vec<Vec<u8>> {
        self.below.share(own)
    }

    /// As parts that each rank sends to each other, which it adds up by itself: NCCL's own sums are in the order of its rings.
    fn reduce_scatter(&self, values: &[f32], lengths: &[usize]) -> Vec<f32> {
        self.sent.add_parts(lengths, self.rank());
        let (own, ranks) = (lengths[self.rank()], self.size());
        let outgoing = self.outgoing.holding(values);
        let mut incoming = self.incoming.of(own * ranks);
        self.together(|| {
            let mut start = 0;
            for (rank, &length) in lengths.iter().enumerate() {
                if length > 0 {
                    self.comm.send(&outgoing.slice(start..start + length), peer(rank))?;
                }
                if own > 0 {
                    self.comm.recv(&mut incoming.slice_mut(rank * own..(rank + 1) * own), peer(rank))?;
                }
                start += length;
            }
            Ok(())
        });
        drop(incoming);
        added_up(self.incoming.read(own * ranks), own)
    }

    fn all_gather(&self, own: &[f32], lengths: &[usize]) -> Vec<f32> {
        self.sent.add(size_of_val(own), self.size() - 1);
        let total = lengths.iter().sum::<usize>();
        let outgoing = self.outgoing.holding(own);
        let mut incoming = self.incoming.of(total);
        self.together(|| {
            let mut start = 0;
            for (rank, &length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
                let from = (rank == self.rank()).then_some(&*outgoing);
                self.comm.broadcast(from, &mut incoming.slice_mut(start..start + length), peer(rank))?;
                start += length;
            }
            Ok(())
        });
        drop(incoming);
        self.incoming.read(total)
    }

    fn gather(&self, own: &[f32], lengths: &[usize]) -> Vec<f32> {
        self.below.gather(own, lengths)
    }
}

#[cfg(test)]
mod tests {
    use mpo_collective::Alone;

    use super::*;

    #[test]
    #[ignore = "needs a card and NCCL"]
    fn one_rank_on_one_card_has_its_own_numbers() {
        let ranks = Nccl::join(Rc::new(Alone), 0).expect("a card");
        let values: Vec<f32> = (0..1000_u16).map(f32::from).collect();
        // More than before, and then less than there is room for.
        for length in [0, 1, 1000, 10, 0] {
            assert_eq!(ranks.reduce_scatter(&values[..length], &[length]), values[..length]);
            assert_eq!(ranks.all_gather(&values[..length], &[length]), values[..length]);
        }
        assert_eq!(ranks.sent(), 0);
    }
}
