//! Memory of a card that numbers pass through.

use std::cell::{RefCell, RefMut};
use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DriverError};

/// Room for numbers on a card. It stays between calls, since a step has hundreds of them, and grows to what the largest needs.
#[derive(Debug)]
pub(crate) struct Room {
    stream: Arc<CudaStream>,
    numbers: RefCell<Option<CudaSlice<f32>>>,
}

impl Room {
    /// None yet, on the card of `stream`.
    pub(crate) fn on(stream: &Arc<CudaStream>) -> Self {
        Self { stream: Arc::clone(stream), numbers: RefCell::default() }
    }

    /// At least so many numbers; which ones they are is not said.
    pub(crate) fn of(&self, count: usize) -> RefMut<'_, CudaSlice<f32>> {
        RefMut::map(self.numbers.borrow_mut(), |numbers| {
            if numbers.as_ref().is_some_and(|numbers| numbers.len() < count) {
                // Before there is a larger one.
                *numbers = None;
            }
            // A buffer of nothing is an error.
            numbers.get_or_insert_with(|| given(self.stream.alloc_zeros(count.max(1))))
        })
    }

    /// These numbers of the host, and whatever stands behind them.
    pub(crate) fn holding(&self, values: &[f32]) -> RefMut<'_, CudaSlice<f32>> {
        let mut numbers = self.of(values.len());
        if !values.is_empty() {
            given(self.stream.memcpy_htod(values, &mut *numbers));
        }
        numbers
    }

    /// The first numbers, on the host.
    pub(crate) fn read(&self, count: usize) -> Vec<f32> {
        match count {
            0 => vec![],
            _ => given(self.stream.clone_dtoh(&self.of(count).slice(..count))),
        }
    }
}

/// What the card's driver answers. A rank that ends by a panic ends all.
fn given<T>(by_driver: Result<T, DriverError>) -> T {
    by_driver.unwrap_or_else(|error| panic!("a card failed while ranks exchanged numbers: {error}"))
}
