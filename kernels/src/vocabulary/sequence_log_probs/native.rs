//! One pass.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;

use super::composition;
use super::kernel::SegmentKernel;
use crate::cpu::{contiguous, floats, tensor};

impl SegmentKernel for Flex {
    fn segment_sums(x: FloatTensor<Self>, lengths: Vec<usize>) -> FloatTensor<Self> {
        if x.dtype() != DType::F32 {
            return composition::segment_sums::<Self>(x, &lengths);
        }
        let x = contiguous(x);
        let mut rest = floats(&x);
        let sums: Vec<f32> = lengths
            .iter()
            .map(|&length| {
                let (run, after) = rest.split_at(length);
                rest = after;
                // In f64: a sum of thousands of terms loses nothing.
                run.iter().map(|&x| f64::from(x)).sum::<f64>() as f32
            })
            .collect();
        tensor(sums, [lengths.len()])
    }

    fn segment_repeat(sums: FloatTensor<Self>, lengths: Vec<usize>) -> FloatTensor<Self> {
        if sums.dtype() != DType::F32 {
            return composition::segment_repeat::<Self>(sums, &lengths);
        }
        let sums = contiguous(sums);
        let runs = floats(&sums).iter().zip(&lengths);
        let out: Vec<f32> = runs.flat_map(|(&sum, &length)| std::iter::repeat_n(sum, length)).collect();
        let tokens = out.len();
        tensor(out, [tokens])
    }
}
