//! Ranks as threads of one process: for tests, and to see what ranks do without any transport.

use std::mem::take;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::{Collective, Sent, added_up};

/// Does `work` once for each rank, in a thread each, and returns what came of it, by rank.
///
/// # Panics
/// If one of them does; then the others do not wait for it.
pub fn among_threads<T: Send>(size: usize, work: impl Fn(&dyn Collective) -> T + Sync) -> Vec<T> {
    let meeting = Arc::new(Meeting::new(size));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..size)
            .map(|rank| {
                let (meeting, work) = (Arc::clone(&meeting), &work);
                scope.spawn(move || work(&Thread { rank, size, meeting, sent: Sent::default() }))
            })
            .collect();
        let ended: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        // The first of those that did not only miss another.
        let cause = |panic: &Box<dyn std::any::Any + Send>| panic.downcast_ref::<&str>() != Some(&MISSED);
        let (done, mut panics): (Vec<_>, Vec<_>) = ended.into_iter().partition(Result::is_ok);
        panics.sort_by_key(|panic| !panic.as_ref().err().is_some_and(cause));
        if let Some(Err(panic)) = panics.into_iter().next() {
            std::panic::resume_unwind(panic);
        }
        done.into_iter().flatten().collect()
    })
}

const MISSED: &str = "another rank is gone";

/// Where ranks meet: each brings bytes and takes everybody's.
#[derive(Debug)]
struct Meeting {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    brought: Vec<Vec<u8>>,
    arrived: usize,
    /// What was brought to the last meeting that all came to.
    taken: Arc<Vec<Vec<u8>>>,
    meetings: u64,
    is_missing: bool,
}

impl Meeting {
    fn new(size: usize) -> Self {
        let state =
            State { brought: vec![vec![]; size], arrived: 0, taken: Arc::default(), meetings: 0, is_missing: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attend(&self, rank: usize, own: Vec<u8>) -> Arc<Vec<Vec<u8>>> {
        let mut state = self.state();
        state.brought[rank] = own;
        state.arrived += 1;
        if state.arrived == state.brought.len() {
            let empty = vec![vec![]; state.arrived];
            state.taken = Arc::new(std::mem::replace(&mut state.brought, empty));
            state.arrived = 0;
            state.meetings += 1;
            self.changed.notify_all();
            return Arc::clone(&state.taken);
        }
        let meeting = state.meetings;
        let waits = |state: &mut State| state.meetings == meeting && !state.is_missing;
        let state = self.changed.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
        if state.meetings == meeting {
            drop(state);
            std::panic::panic_any(MISSED);
        }
        Arc::clone(&state.taken)
    }
}

#[derive(Debug)]
struct Thread {
    rank: usize,
    size: usize,
    meeting: Arc<Meeting>,
    sent: Sent,
}

impl Drop for Thread {
    fn drop(&mut self) {
        if thread::panicking() {
            self.meeting.state().is_missing = true;
            self.meeting.changed.notify_all();
        }
    }
}

impl Thread {
    fn meet(&self, own: &[u8]) -> Arc<Vec<Vec<u8>>> {
        self.meeting.attend(self.rank, own.to_vec())
    }

    /// Everybody's numbers, by rank.
    fn numbers(&self, own: &[f32]) -> Vec<Vec<f32>> {
        let numbers = |bytes: &Vec<u8>| bytes.as_chunks().0.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect();
        self.meet(bytemuck::cast_slice(own)).iter().map(numbers).collect()
    }
}

impl Collective for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sent(&self) -> u64 {
        self.sent.bytes()
    }

    fn barrier(&self) {
        self.meet(&[]);
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) {
        let own = if self.rank == 0 { take(bytes) } else { vec![] };
        if self.rank == 0 {
            self.sent.add(own.len(), self.size - 1);
        }
        *bytes = self.meet(&own)[0].clone();
    }

    fn share(&self, own: &[u8]) -> Vec<Vec<u8>> {
        self.sent.add(own.len(), self.size - 1);
        self.meet(own).to_vec()
    }

    fn reduce_scatter(&self, values: &[f32], lengths: &[usize]) -> Vec<f32> {
        assert!(lengths.len() == self.size && values.len() == lengths.iter().sum::<usize>(), "a part for each rank");
        self.sent.add_parts(lengths, self.rank);
        let start: usize = lengths[..self.rank].iter().sum();
        let own = start..start + lengths[self.rank];
        let parts = self.numbers(values).iter().flat_map(|values| values[own.clone()].to_vec()).collect();
        added_up(parts, own.len())
    }

    fn all_gather(&self, own: &[f32], lengths: &[usize]) -> Vec<f32> {
        assert_eq!(own.len(), lengths[self.rank], "as many as all were told");
        self.sent.add(size_of_val(own), self.size - 1);
        self.numbers(own).concat()
    }

    fn gather(&self, own: &[f32], lengths: &[usize]) -> Vec<f32> {
        assert_eq!(own.len(), lengths[self.rank], "as many as all were told");
        self.sent.add(size_of_val(own), usize::from(self.rank > 0));
        let all = self.numbers(own);
        if self.rank == 0 { all.concat() } else { vec![] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_gets_what_is_theirs() {
        for size in 1..4 {
            among_threads(size, |ranks| {
                let rank = ranks.rank();
                // The part of rank r has r + 1 numbers.
                let lengths: Vec<usize> = (1..=size).collect();
                let values: Vec<f32> = (0..lengths.iter().sum()).map(|at| (at * 10 + rank) as f32).collect();
                let start: usize = lengths[..rank].iter().sum();
                let others: usize = (0..size).sum();
                let expected: Vec<f32> = (start..=start + rank).map(|at| (at * 10 * size + others) as f32).collect();
                let own = ranks.reduce_scatter(&values, &lengths);
                assert_eq!(own, expected);
                let all = ranks.all_gather(&values[start..=start + rank], &lengths);
                let owner = |at: usize| (0..size).find(|r| at < lengths[..=*r].iter().sum()).unwrap();
                let expected: Vec<f32> = (0..values.len()).map(|at| (at * 10 + owner(at)) as f32).collect();
                assert_eq!(all, expected);
                let gathered = ranks.gather(&values[start..=start + rank], &lengths);
                assert_eq!(gathered, if rank == 0 { expected } else { vec![] });
                let mut bytes = vec![rank as u8; 2];
                ranks.broadcast(&mut bytes);
                assert_eq!(bytes, [0, 0]);
                assert_eq!(ranks.share(&bytes[..rank.min(1)]).len(), size);
                assert!(ranks.any(rank + 1 == size) && !ranks.any(false));
                ranks.barrier();
            });
        }
    }

    /// In another order the large numbers would swallow the small one.
    #[test]
    fn sums_are_made_in_the_order_of_ranks() {
        let of = [1e8_f32, -1e8, 1.0];
        let sums = among_threads(3, |ranks| {
            let mut wide = [f64::from(of[ranks.rank()]) * 1e10];
            ranks.sum(&mut wide);
            (ranks.reduce_scatter(&[of[ranks.rank()]; 3], &[1, 1, 1]), wide)
        });
        assert_eq!(sums, [(); 3].map(|()| (vec![1.0], [1e10])));
    }

    #[test]
    fn what_is_sent_is_counted() {
        let sent = among_threads(3, |ranks| {
            let mut counts = vec![];
            let mut before = 0;
            let mut count = || {
                counts.push(ranks.sent() - before);
                before = ranks.sent();
            };
            ranks.reduce_scatter(&[0.0; 6], &[1, 2, 3]);
            count();
            let lengths = [1, 2, 3];
            ranks.all_gather(&[0.0; 3][..lengths[ranks.rank()]], &lengths);
            count();
            ranks.gather(&[0.0; 3][..lengths[ranks.rank()]], &lengths);
            count();
            ranks.broadcast(&mut vec![0; 5]);
            count();
            ranks.sum(&mut [0.0]);
            count();
            counts
        });
        assert_eq!(sent, [[20, 8, 0, 10, 16], [16, 16, 8, 0, 16], [12, 24, 12, 0, 16]]);
    }

    #[test]
    fn nobody_waits_for_one_that_is_gone() {
        let panic = std::panic::catch_unwind(|| {
            among_threads(3, |ranks| {
                assert!(ranks.rank() != 1, "rank 1 has a fault");
                ranks.barrier();
            });
        });
        let panic = panic.unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>().copied(), Some("rank 1 has a fault"));
    }
}
