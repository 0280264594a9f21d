//! One process, which has nobody to talk to.

use super::Collective;

/// A process that trains by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Collective for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn sent(&self) -> u64 {
        0
    }

    fn barrier(&self) {}

    fn broadcast(&self, _bytes: &mut Vec<u8>) {}

    fn share(&self, own: &[u8]) -> Vec<Vec<u8>> {
        vec![own.to_vec()]
    }

    fn reduce_scatter(&self, values: &[f32], _lengths: &[usize]) -> Vec<f32> {
        values.to_vec()
    }

    fn all_gather(&self, own: &[f32], _lengths: &[usize]) -> Vec<f32> {
        own.to_vec()
    }

    fn gather(&self, own: &[f32], _lengths: &[usize]) -> Vec<f32> {
        own.to_vec()
    }
}
