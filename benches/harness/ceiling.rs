//! What this machine can do at best: the copy bandwidth of its memory and the rate of its matrix products.

use burn::tensor::{DType, Device, Distribution, Tensor};
use rayon::prelude::*;
use serde::Serialize;

use super::seconds;

/// Best of several measurements each.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Ceilings {
    /// Bytes read plus bytes written, per second.
    pub copy_bytes_per_second: f64,
    /// Of a square product in the dtype of the bench.
    pub matmul_flops_per_second: f64,
}

const REPETITIONS: usize = 6;

/// Measures both, in about a second.
pub fn measure_ceilings(device: &Device, dtype: DType) -> Ceilings {
    Ceilings {
        copy_bytes_per_second: best(REPETITIONS, copier(device, dtype)),
        matmul_flops_per_second: best(REPETITIONS, || {
            const SIZE: usize = 2_048;
            let square = || Tensor::<2>::random([SIZE, SIZE], Distribution::Default, device).cast(dtype);
            let (lhs, rhs) = (square(), square());
            device.sync().expect("the device answers");
            let (seconds, _) = seconds(device, || lhs.matmul(rhs));
            2.0 * (SIZE as f64).powi(3) / seconds
        }),
    }
}

fn best(repetitions: usize, mut measure: impl FnMut() -> f64) -> f64 {
    (0..repetitions).map(|_| measure()).fold(0.0, f64::max)
}

/// A copy larger than any cache: on the CPU by all threads, into memory that has been touched; on a device by its own
/// kernel.
fn copier(device: &Device, dtype: DType) -> Box<dyn FnMut() -> f64> {
    const BYTES: usize = 256 << 20;
    if device.memory_pool_usage().is_none() {
        let from = vec![1.0f32; BYTES / 4];
        let mut to = vec![0.0f32; BYTES / 4];
        let device = device.clone();
        return Box::new(move || {
            let (seconds, ()) = seconds(&device, || {
                to.par_chunks_mut(1 << 20)
                    .zip(from.par_chunks(1 << 20))
                    .for_each(|(to, from)| to.copy_from_slice(from));
            });
            2.0 * BYTES as f64 / seconds
        });
    }
    // A software Vulkan buffer is at most 128 MiB.
    let elements = (120 << 20) / dtype.size();
    let from = Tensor::<1>::ones([elements], device).cast(dtype);
    let device = device.clone();
    Box::new(move || {
        let (seconds, _) = seconds(&device, || from.clone().neg());
        (2 * elements * dtype.size()) as f64 / seconds
    })
}
