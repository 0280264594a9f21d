//! What there is to compute on, and how much memory it has.

use burn::tensor::{DType, Device};
use mpo_models::memory;

use super::Estimate;

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardware {
    /// The machine's cores, in its memory.
    Cpu {
        /// How many work at once.
        threads: usize,
    },
    /// A card, in a memory of its own.
    Gpu,
}

/// How much memory there is, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// All of it, bytes.
    pub total: Option<u64>,
    /// What is free now, and what this process has of it, bytes.
    pub available: Option<u64>,
}

/// Something to compute on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// What it is.
    pub hardware: Hardware,
    /// Its memory.
    pub room: Room,
    /// The machine's memory beside a GPU's; not known where there is none, as all is one there.
    pub host: Room,
    /// Whether it computes in bf16.
    pub has_bf16: bool,
    /// How many of its kind train one model together, this one included.
    pub ranks: usize,
}

impl Hardware {
    /// The cores of this machine.
    pub fn cpu() -> Self {
        Self::Cpu { threads: std::thread::available_parallelism().map_or(1, usize::from) }
    }
}

impl Room {
    /// So much, of which nothing is taken.
    pub fn of(bytes: u64) -> Self {
        Self { total: Some(bytes), available: Some(bytes) }
    }

    /// The memory of this machine.
    fn of_host() -> Self {
        let own = memory::resident().unwrap_or(0);
        let available = memory::available().map(|free| free.saturating_add(own));
        Self { total: memory::total(), available }
    }

    /// Whether so much fits now, as far as is known.
    pub fn has(&self, bytes: u64) -> bool {
        self.available.or(self.total).is_none_or(|room| bytes <= room)
    }

    /// Whether so much can never fit, by more than an estimate may be wrong.
    pub fn can_never_have(&self, bytes: u64) -> bool {
        self.total.is_some_and(|total| bytes > total + total / 10)
    }
}

impl Machine {
    /// What a device is.
    pub fn of(device: &Device) -> Self {
        let has_bf16 = device.supports_dtype(DType::BF16);
        match mpo_kernels::device_memory(device) {
            Some(memory) => {
                let room = Room { total: memory.total, available: None };
                Self { hardware: Hardware::Gpu, room, host: Room::of_host(), has_bf16, ranks: 1 }
            }
            None => {
                let (hardware, room) = (Hardware::cpu(), Room::of_host());
                Self { hardware, room, host: Room::default(), has_bf16, ranks: 1 }
            }
        }
    }

    /// One that is not here, of which nothing else is known; a card has bf16.
    pub fn elsewhere(hardware: Hardware) -> Self {
        Self { hardware, room: Room::default(), host: Room::default(), has_bf16: true, ranks: 1 }
    }

    /// Whether a run fits now, on the device and beside it, as far as is known.
    pub fn has_room_for(&self, estimate: &Estimate) -> bool {
        self.room.has(estimate.bytes()) && self.host.has(estimate.host_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_never_fits_is_refused() {
        let room = Room { total: Some(1_000), available: Some(600) };
        assert!(room.has(600) && !room.has(601));
        assert!(!room.can_never_have(601) && !room.can_never_have(1_100) && room.can_never_have(1_101));
        let unknown = Room::default();
        assert!(unknown.has(u64::MAX) && !unknown.can_never_have(u64::MAX));
        let card = Room { total: Some(1_000), available: None };
        assert!(card.has(1_000) && !card.has(1_001));
    }
}
