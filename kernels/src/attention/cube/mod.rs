//! Tiles of rows against blocks of the rows that they see, in shared memory and registers; f32 throughout.
//!
//! A cube takes a tile of 64 rows of one head and meets the other side in blocks of 64 (32 and 32 where shared memory is
//! 16 KiB, WebGPU's least). Its units multiply rows four by four: chunks of both sides' rows pass through shared memory
//! as f32, scores stay in registers, the weights made of them go through shared memory, and weighted rows are summed in
//! registers. So of a block of a head of 128 the forward reads 64 rows each of queries, keys and values for
//! 2 · 64 · 64 · 128 multiplications: 43 for each element that is loaded, and neither scores nor probabilities are ever
//! in memory. The backward makes both again from one log-sum-exp a row and head: three such products for the gradient of
//! the queries, four for those of keys and values. Each tile's sums are its own cube's, in a fixed order: no atomics, the
//! same bits in every run.
//!
//! A step of decoding has one row in a tile of 16, and one cube for each sequence and head.

mod backward;
mod forward;
mod schedule;
mod shape;
mod tile;

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use self::schedule::{Needs, Schedule, Side};
use self::shape::{SIDE, TileShape};
use super::kernel::AttentionKernel;
use super::{AttentionOptions, PackedLayout};
use crate::cube::{address_type, cubes, dims, empty};

pub(super) use self::schedule::Schedules;

/// Cubes in the second dimension, as many as every device takes.
const MAX_CUBES: usize = 65_535;

impl AttentionKernel for CubeBackend {
    fn packed_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        layout: PackedLayout,
        options: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [q, k, v] = [q, k, v].map(into_contiguous);
        let [tokens, width] = dims(&q);
        let out = empty(&q, [tokens, width], q.dtype);
        let log_sum_exp = empty(&q, [options.heads, tokens], DType::F32);
        let launch = Launch::new(Side::Queries, &q, &layout, &options);
        // SAFETY: a schedule's rows are rows of `q` and of `k`, every tensor is contiguous, and reads and writes beyond a
        // head's width or a tile's rows are left out.
        unsafe {
            forward::forward::launch_unchecked(
                &q.client,
                launch.cubes(options.heads),
                launch.dim(),
                address_type(&[&q, &k]),
                launch.vector(),
                q.clone().into_tensor_arg(),
                k.into_tensor_arg(),
                v.into_tensor_arg(),
                launch.schedule.numbers.clone().into_tensor_arg(),
                out.clone().into_tensor_arg(),
                log_sum_exp.clone().into_tensor_arg(),
                tokens,
                launch.schedule.tiles,
                options.heads / options.kv_heads,
                options.scale as f32,
                options.softcap.unwrap_or(1.0) as f32,
                schedule::window(options.window),
                options.softcap.is_some(),
                launch.shape,
                dtype_to_storage_type(q.dtype),
            );
        }
        (out, log_sum_exp)
    }

    fn packed_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        out: FloatTensor<Self>,
        log_sum_exp: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        layout: PackedLayout,
        options: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [q, k, v, out, log_sum_exp, grad] = [q, k, v, out, log_sum_exp, grad].map(into_contiguous);
        let ([tokens, width], [keys, kv_width]) = (dims(&q), dims(&k));
        assert_eq!(keys, tokens, "attention: a batch with cached keys has no backward");
        let statistics = statistics(out, &grad, log_sum_exp, &options);
        let q_grad = empty(&q, [tokens, width], q.dtype);
        let (k_grad, v_grad) = (empty(&k, [keys, kv_width], k.dtype), empty(&v, [keys, kv_width], v.dtype));
        let launch = Launch::new(Side::Queries, &q, &layout, &options);
        // SAFETY: as in the forward.
        unsafe {
            backward::query_gradient::launch_unchecked(
                &q.client,
                launch.cubes(options.heads),
                launch.dim(),
                address_type(&[&q, &k]),
                launch.vector(),
                q.clone().into_tensor_arg(),
                k.clone().into_tensor_arg(),
                v.clone().into_tensor_arg(),
                grad.clone().into_tensor_arg(),
                statistics.clone().into_tensor_arg(),
                launch.schedule.numbers.clone().into_tensor_arg(),
                q_grad.clone().into_tensor_arg(),
                tokens,
                launch.schedule.tiles,
                options.heads / options.kv_heads,
                options.scale as f32,
                options.softcap.unwrap_or(1.0) as f32,
                schedule::window(options.window),
                options.softcap.is_some(),
                launch.shape,
                dtype_to_storage_type(q.dtype),
            );
        }
        let launch = Launch::new(Side::Keys, &q, &layout, &options);
        // SAFETY: as above; tiles of keys cover every row of `k` and `v`.
        unsafe {
            backward::key_gradients::launch_unchecked(
                &q.client,
                launch.cubes(options.kv_heads),
                launch.dim(),
                address_type(&[&q, &k]),
                launch.vector(),
                q.clone().into_tensor_arg(),
                k.into_tensor_arg(),
                v.into_tensor_arg(),
                grad.into_tensor_arg(),
                statistics.into_tensor_arg(),
                launch.schedule.numbers.clone().into_tensor_arg(),
                k_grad.clone().into_tensor_arg(),
                v_grad.clone().into_tensor_arg(),
                tokens,
                launch.schedule.tiles,
                options.heads / options.kv_heads,
                options.scale as f32,
                options.softcap.unwrap_or(1.0) as f32,
                schedule::window(options.window),
                options.softcap.is_some(),
                launch.shape,
                dtype_to_storage_type(q.dtype),
            );
        }
        (q_grad, k_grad, v_grad)
    }
}

/// How tiles of one side are spread over a device.
struct Launch {
    shape: TileShape,
    schedule: Schedule,
}

impl Launch {
    fn new(side: Side, q: &CubeTensor, layout: &PackedLayout, options: &AttentionOptions) -> Self {
        let longest = layout.segments().iter().map(|segment| segment.rows.len()).max().unwrap_or_default();
        let sums = match side {
            Side::Queries => 1,
            Side::Keys => 2,
        };
        let shape = TileShape::of(options.head_dim, sums, longest, q);
        let needs = Needs { side, window: options.window, rows: shape.rows() };
        Self { shape, schedule: Schedules::of(layout, needs, q) }
    }

    /// Heads of a tile beside each other, since those of a group read the same keys.
    fn cubes(&self, heads: usize) -> CubeCount {
        let tiles = self.schedule.tiles;
        CubeCount::Static(heads as u32, tiles.min(MAX_CUBES) as u32, tiles.div_ceil(MAX_CUBES) as u32)
    }

    fn dim(&self) -> CubeDim {
        CubeDim::new_2d(self.shape.across as u32, self.shape.down as u32)
    }

    /// Elements of a load from memory.
    fn vector(&self) -> usize {
        vector(self.shape.head_dim)
    }
}

fn vector(head_dim: usize) -> usize {
    if head_dim.is_multiple_of(SIDE) { SIDE } else { 1 }
}

fn statistics(out: CubeTensor, grad: &CubeTensor, log_sum_exp: CubeTensor, options: &AttentionOptions) -> CubeTensor {
    let [tokens, _] = dims(&out);
    let units = crate::cube::units(&out) as usize;
    let lanes = backward::LANES.min(units);
    let rows = units / lanes;
    let statistics = empty(&out, [options.heads, tokens, 2], DType::F32);
    let vector = vector(options.head_dim);
    let dtype = dtype_to_storage_type(out.dtype);
    // SAFETY: all tensors are contiguous, with `tokens · heads` rows of a head.
    unsafe {
        backward::statistics::launch_unchecked(
            &grad.client,
            cubes((tokens * options.heads).div_ceil(rows)),
            CubeDim::new_2d(lanes as u32, rows as u32),
            address_type(&[&out]),
            vector,
            out.into_tensor_arg(),
            grad.clone().into_tensor_arg(),
            log_sum_exp.into_tensor_arg(),
            statistics.clone().into_tensor_arg(),
            tokens,
            options.heads,
            options.head_dim / vector,
            lanes,
            rows,
            dtype,
        );
    }
    statistics
}
