//! Ranks that talk over MPI: one process each, started by `mpirun`, `srun` or any launcher that MPI knows.
//!
//! A rank that ends by an error or a panic ends all. One that is heard of no more is noticed by the next rank, which ends all too:
//! MPI itself would wait for it for ever.

#![cfg(feature = "mpi")]

mod watch;

use std::env;
use std::fmt;
use std::thread;

use mpi::Count;
use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Root};
use mpo_collective::{Collective, Sent, added_up};
use watch::Watch;

/// Bytes that go in one call, at most: MPI counts in 31 bits.
const AT_A_TIME: usize = 1 << 30;

/// What launchers tell the processes that they start.
const LAUNCHERS: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"];

/// This process as one of several.
pub struct Mpi {
    world: SimpleCommunicator,
    /// Among the ranks on this machine.
    local: usize,
    /// The first rank on it.
    machine: usize,
    sent: Sent,
    watch: Option<Watch>,
    /// Last, for its end is MPI's.
    _universe: Universe,
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mpi").field("rank", &self.rank()).field("size", &self.size()).finish_non_exhaustive()
    }
}

impl Mpi {
    /// Joins the others; none where no launcher started this process. Once in a process.
    pub fn join() -> Option<Self> {
        if LAUNCHERS.iter().all(|name| env::var_os(name).is_none()) {
            return None;
        }
        let (universe, threading) = mpi::initialize_with_threading(Threading::Multiple)?;
        let world = universe.world();
        let here = world.split_shared(world.rank());
        let mut machine = world.rank();
        here.process_at_rank(0).broadcast_into(&mut machine);
        let watches = world.size() > 1 && threading == Threading::Multiple;
        let watch = watches.then(|| Watch::begin(&world));
        let (local, machine) = (here.rank() as usize, machine as usize);
        Some(Self { local, machine, sent: Sent::default(), watch, world, _universe: universe })
    }

    /// Which of this machine's ranks this is: each takes a device of its own.
    pub fn local_rank(&self) -> usize {
        self.local
    }

    /// Which machine this is: the same number for all ranks on it.
    pub fn machine(&self) -> usize {
        self.machine
    }

    /// Ends all ranks at once, as failed.
    pub fn abort(&self) -> ! {
        self.world.abort(1)
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        if thread::panicking() {
            self.abort();
        }
        if let Some(watch) = self.watch.take() {
            watch.end();
        }
    }
}

/// Where parts of these lengths begin that lie one behind the other.
fn places(lengths: &[usize]) -> (Vec<Count>, Vec<Count>) {
    let mut start = 0;
    let place = |length: &usize| {
        let at = start;
        start += length;
        (count(*length), count(at))
    };
    lengths.iter().map(place).unzip()
}

fn count(of: usize) -> Count {
    Count::try_from(of).expect("callers give no more at a time than MPI counts")
}

impl Mpi {
    fn gathered<T: Equivalence + Clone + Default>(&self, own: &[T], lengths: &[usize]) -> Vec<T> {
        let (counts, places) = places(lengths);
        let mut all = vec![T::default(); lengths.iter().sum()];
        self.world.all_gather_varcount_into(own, &mut PartitionMut::new(&mut all[..], counts, places));
        all
    }
}

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn sent(&self) -> u64 {
        self.sent.bytes()
    }

    fn barrier(&self) {
        self.world.barrier();
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) {
        let first = self.world.process_at_rank(0);
        let mut length = bytes.len() as u64;
        first.broadcast_into(&mut length);
        if self.rank() == 0 {
            self.sent.add(bytes.len(), self.size() - 1);
        }
        bytes.resize(length as usize, 0);
        bytes.chunks_mut(AT_A_TIME).for_each(|part| first.broadcast_into(part));
    }

    fn share(&self, own: &[u8]) -> Vec<Vec<u8>> {
        self.sent.add(own.len(), self.size() - 1);
        let mut lengths = vec![0_u64; self.size()];
        self.world.all_gather_into(&(own.len() as u64), &mut lengths[..]);
        let lengths: Vec<usize> = lengths.into_iter().map(|length| length as usize).collect();
        let step = AT_A_TIME / self.size();
        let mut all: Vec<Vec<u8>> = lengths.iter().map(|length| Vec::with_capacity(*length)).collect();
        for from in (0..lengths.iter().copied().max().unwrap_or(0)).step_by(step) {
            let piece = |length: usize| length.saturating_sub(from).min(step);
            let pieces: Vec<usize> = lengths.iter().map(|length| piece(*length)).collect();
            let start = from.min(own.len());
            let gathered = self.gathered(&own[start..start + piece(own.len())], &pieces);
            let mut rest = &gathered[..];
            for (bytes, length) in all.iter_mut().zip(pieces) {
                let (piece, after) = rest.split_at(length);
                bytes.extend_from_slice(piece);
                rest = after;
            }
        }
        all
    }

    /// As parts that each rank sends to each other, which it adds up by itself: MPI's own sums are in an order of its choice. As
    /// many bytes are on the way.
    fn reduce_scatter(&self, values: &[f32], lengths: &[usize]) -> Vec<f32> {
        self.sent.add_parts(lengths, self.rank());
        let own = lengths[self.rank()];
        let (counts, starts) = places(lengths);
        let mut all = vec![0.0_f32; own * self.size()];
        let (own_counts, own_starts) = places(&vec![own; self.size()]);
        self.world.all_to_all_varcount_into(
            &Partition::new(values, counts, starts),
            &mut PartitionMut::new(&mut all[..], own_counts, own_starts),
        );
        added_up(all, own)
    }

    fn all_gather(&self, own: &[f32], lengths: &[usize]) -> Vec<f32> {
        self.sent.add(size_of_val(own), self.size() - 1);
        self.gathered(own, lengths)
    }

    fn gather(&self, own: &[f32], lengths: &[usize]) -> Vec<f32> {
        let first = self.world.process_at_rank(0);
        if self.rank() > 0 {
            self.sent.add(size_of_val(own), 1);
            first.gather_varcount_into(own);
            return vec![];
        }
        let (counts, places) = places(lengths);
        let mut all = vec![0.0; lengths.iter().sum()];
        first.gather_varcount_into_root(own, &mut PartitionMut::new(&mut all[..], counts, places));
        all
    }
}
