//! One cube per sequence, one launch for all.

use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::composition;
use super::kernel::SegmentKernel;
use crate::cube::{cube_sum, cubes, empty, units};

impl SegmentKernel for CubeBackend {
    fn segment_sums(x: FloatTensor<Self>, lengths: Vec<usize>) -> FloatTensor<Self> {
        if x.dtype != DType::F32 {
            return composition::segment_sums::<Self>(x, &lengths);
        }
        let x = into_contiguous(x);
        let (offsets, units) = (offsets(&x, &lengths), units(&x));
        let out = empty(&x, [lengths.len()], DType::F32);
        // SAFETY: the offsets rise to the length of `x`, and there is one more than of sums.
        unsafe {
            sum_segments::launch_unchecked(
                &out.client,
                cubes(lengths.len()),
                CubeDim::new_1d(units),
                x.into_tensor_arg(),
                offsets.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                lengths.len(),
                units,
            );
        }
        out
    }

    fn segment_repeat(sums: FloatTensor<Self>, lengths: Vec<usize>) -> FloatTensor<Self> {
        if sums.dtype != DType::F32 {
            return composition::segment_repeat::<Self>(sums, &lengths);
        }
        let sums = into_contiguous(sums);
        let (offsets, units) = (offsets(&sums, &lengths), units(&sums));
        let out = empty(&sums, [lengths.iter().sum()], DType::F32);
        // SAFETY: the offsets rise to the length of the output, and there is one more than of sums.
        unsafe {
            repeat_segments::launch_unchecked(
                &out.client,
                cubes(lengths.len()),
                CubeDim::new_1d(units),
                sums.into_tensor_arg(),
                offsets.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                lengths.len(),
                units,
            );
        }
        out
    }
}

/// Where each sequence begins, and where the last one ends.
fn offsets(like: &CubeTensor, lengths: &[usize]) -> CubeTensor {
    let mut end = 0u32;
    let ends = lengths.iter().map(|&length| {
        end += length as u32;
        end
    });
    let offsets: Vec<u8> = std::iter::once(0).chain(ends).flat_map(u32::to_ne_bytes).collect();
    CubeTensor::new_contiguous(
        like.client.clone(),
        like.device.clone(),
        [lengths.len() + 1].into(),
        like.client.create_from_slice(&offsets),
        DType::U32,
    )
}

#[cube(launch_unchecked)]
fn sum_segments(
    x: &Tensor<f32>,
    offsets: &Tensor<u32>,
    sums: &mut Tensor<f32>,
    segments: usize,
    #[comptime] units: u32,
) {
    let mut segment = CUBE_POS_X as usize;
    while segment < segments {
        let mut at = offsets[segment] as usize + UNIT_POS_X as usize;
        let end = offsets[segment + 1] as usize;
        let mut sum = f32::new(0.0);
        while at < end {
            sum += x[at];
            at += comptime!(units as usize);
        }
        let sum = cube_sum(sum, units);
        if UNIT_POS_X == 0 {
            sums[segment] = sum;
        }
        segment += CUBE_COUNT_X as usize;
    }
}

#[cube(launch_unchecked)]
fn repeat_segments(
    sums: &Tensor<f32>,
    offsets: &Tensor<u32>,
    out: &mut Tensor<f32>,
    segments: usize,
    #[comptime] units: u32,
) {
    let mut segment = CUBE_POS_X as usize;
    while segment < segments {
        let mut at = offsets[segment] as usize + UNIT_POS_X as usize;
        let end = offsets[segment + 1] as usize;
        while at < end {
            out[at] = sums[segment];
            at += comptime!(units as usize);
        }
        segment += CUBE_COUNT_X as usize;
    }
}
