//! The processes that a launcher such as `mpirun` started to train one model: what this one is among them.

use std::cell::Cell;
#[cfg(feature = "nccl")]
use std::cell::OnceCell;
use std::env;
#[cfg(feature = "mpi")]
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use burn::tensor::Device;
use mpo_collective::{Alone, Collective};
#[cfg(feature = "mpi")]
use mpo_mpi::Mpi;
#[cfg(feature = "nccl")]
use mpo_nccl::Nccl;
use mpo_trainer::{TrainConfig, TrainError, TrainOptions, check_alike, program, told_by_first};

use crate::device;
use crate::failure::Failure;

/// What an error says that ends a rank is said by the first one, if it has the same.
const FIRST_SPEAKS: Duration = Duration::from_secs(2);

/// The ranks, as one of them sees them.
pub(crate) struct Ranks {
    #[cfg(feature = "mpi")]
    mpi: Option<Rc<Mpi>>,
    /// How their cards talk to each other.
    #[cfg(feature = "nccl")]
    cards: OnceCell<Nccl>,
    /// Whether the others know what is trained, or that nothing is.
    are_told: Cell<bool>,
    /// Whether all of them stop on request.
    all_stop: Cell<bool>,
}

impl Ranks {
    /// Joins the others, who must run the same program with the same arguments.
    pub(crate) fn join() -> Result<Self, Failure> {
        let ranks = Self {
            #[cfg(feature = "mpi")]
            mpi: Mpi::join().map(Rc::new),
            #[cfg(feature = "nccl")]
            cards: OnceCell::new(),
            are_told: Cell::new(false),
            all_stop: Cell::new(false),
        };
        #[cfg(not(feature = "mpi"))]
        if env::var("OMPI_COMM_WORLD_SIZE").is_ok_and(|size| size != "1") {
            return Err(Failure::new(
                "expected a build with MPI, as several processes were started, got one without",
                "build with --features mpi",
            ));
        }
        if ranks.all().is_many() {
            ranks.check()?;
        }
        Ok(ranks)
    }

    /// Whether they were started by one command.
    fn check(&self) -> Result<(), Failure> {
        let arguments: Vec<String> = env::args_os().skip(1).map(|of| of.to_string_lossy().into_owned()).collect();
        let program = program().unwrap_or_else(|error| format!("that cannot be read ({error})"));
        let alike = check_alike(self.all(), &[("the program", program), ("the arguments", arguments.join(" "))]);
        alike.or_else(|error| self.end(Err(error.into())))
    }

    /// How they talk.
    pub(crate) fn all(&self) -> &dyn Collective {
        #[cfg(feature = "nccl")]
        if let Some(cards) = self.cards.get() {
            return cards;
        }
        #[cfg(feature = "mpi")]
        if let Some(mpi) = &self.mpi {
            return &**mpi;
        }
        &Alone
    }

    /// Which of the devices of its machine is this one's.
    pub(crate) fn card(&self) -> usize {
        #[cfg(feature = "mpi")]
        if let Some(mpi) = &self.mpi {
            return mpi.local_rank();
        }
        0
    }

    /// The number of this one's machine.
    fn machine(&self) -> usize {
        #[cfg(feature = "mpi")]
        if let Some(mpi) = &self.mpi {
            return mpi.machine();
        }
        0
    }

    /// Makes sure that each has a card of its own, where they compute on cards, and lets them talk to each other by themselves where
    /// this build can. All ranks call it at the same time.
    pub(crate) fn join_cards(&self, device: &Device) -> Result<(), Failure> {
        if !self.all().is_many() {
            return Ok(());
        }
        let own = device::card(device).map(|card| format!("{card} of rank {}'s machine", self.machine()));
        check_cards(&self.all().share(own.unwrap_or_default().as_bytes()))?;
        #[cfg(feature = "nccl")]
        self.join_nccl(device)?;
        Ok(())
    }

    #[cfg(feature = "nccl")]
    fn join_nccl(&self, device: &Device) -> Result<(), Failure> {
        let Some(mpi) = &self.mpi else {
            return Ok(());
        };
        let Some(card) = device::cuda_index(device) else {
            return Ok(());
        };
        let joined = device::quietly(|| Nccl::join(Rc::<Mpi>::clone(mpi), card)).ok_or_else(|| {
            Failure::new(
                "expected NCCL on this machine, as this build has the feature nccl, got no libnccl.so",
                "install it, or build with --features cuda,mpi",
            )
        })?;
        let cards = joined.map_err(|error| {
            Failure::new(
                error.to_string(),
                "start one rank for each card; a build with --features cuda,mpi does without NCCL",
            )
        })?;
        _ = self.cards.set(cards);
        Ok(())
    }

    /// The first one says what is trained: the others go on with these settings.
    pub(crate) fn tell(&self, config: &TrainConfig) -> Result<(), Failure> {
        self.are_told.set(true);
        told_by_first(self.all(), || Ok(Some(config.to_yaml()?)))?;
        Ok(())
    }

    /// What the first one says; none if nothing is trained.
    pub(crate) fn listen(&self) -> Result<Option<TrainConfig>, Failure> {
        let nothing = || Ok(None::<String>);
        let Some(text) = told_by_first(self.all(), nothing)? else {
            return Ok(None);
        };
        Ok(Some(TrainOptions::from_yaml(&text, "config.yaml".as_ref())?.resolve()?))
    }

    /// All of them stop, for one was asked to.
    pub(crate) fn stop(&self) {
        self.all_stop.set(true);
    }

    /// What the command comes to, of which the first rank tells. An error of any rank ends all.
    pub(crate) fn end(&self, result: Result<(), Failure>) -> Result<(), Failure> {
        let ranks = self.all();
        if !ranks.is_many() {
            return result;
        }
        match result {
            Ok(()) => {
                if ranks.is_first() && !self.are_told.get() {
                    told_by_first(ranks, || Ok(None::<String>))?;
                }
                // What fails while the first one writes ends all.
                ranks.barrier();
                Ok(())
            }
            Err(Failure::Train(TrainError::Interrupted)) if self.all_stop.get() && !ranks.is_first() => Ok(()),
            Err(failure) if self.all_stop.get() => Err(failure),
            Err(failure) => {
                if !ranks.is_first() {
                    thread::sleep(FIRST_SPEAKS);
                }
                _ = failure.report();
                self.abort()
            }
        }
    }

    fn abort(&self) -> ! {
        #[cfg(feature = "mpi")]
        if let Some(mpi) = &self.mpi {
            mpi.abort();
        }
        unreachable!("a process by itself has nobody to end")
    }
}

/// Whether no two ranks have the same card: what each says of its own, and nothing where it has none. A rank that is shown but one
/// card takes that, so two that were shown the same one would share it, memory and all.
fn check_cards(cards: &[Vec<u8>]) -> Result<(), Failure> {
    for (rank, card) in cards.iter().enumerate().filter(|(_, card)| !card.is_empty()) {
        if let Some(first) = cards[..rank].iter().position(|other| other == card) {
            let card = String::from_utf8_lossy(card);
            return Err(Failure::new(
                format!("expected a card for each rank, got ranks {first} and {rank} on one, {card}"),
                "unset CUDA_VISIBLE_DEVICES, and each rank takes a card by its number on its machine; or let the launcher show each \
                 rank its own, as Slurm does with --gpus-per-task 1",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_that_share_a_card_are_named() {
        let check = |cards: &[&str]| {
            let cards: Vec<Vec<u8>> = cards.iter().map(|card| card.as_bytes().to_vec()).collect();
            check_cards(&cards)
        };
        // Cards by their numbers, or Slurm's, which shows each rank its own: the same address on two machines is two cards.
        check(&["0000:3b:00.0 of rank 0's machine", "0000:af:00.0 of rank 0's machine"]).unwrap();
        check(&["0000:3b:00.0 of rank 0's machine", "0000:3b:00.0 of rank 1's machine"]).unwrap();
        // On CPUs, which ranks share.
        check(&["", "", ""]).unwrap();
        // CUDA_VISIBLE_DEVICES=0 by hand.
        let error = check(&["a", "b of rank 1's machine", "", "b of rank 1's machine"]).unwrap_err();
        let expected = "expected a card for each rank, got ranks 1 and 3 on one, b of rank 1's machine";
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().unwrap().starts_with("unset CUDA_VISIBLE_DEVICES"));
    }
}
