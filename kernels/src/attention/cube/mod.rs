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
mod bias;
mod forward;
mod params;
mod queries;
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

use self::params::ParamsLaunch;
use self::schedule::{Needs, Schedule, Side};
use self::shape::{SIDE, TileShape};
use super::kernel::AttentionKernel;
use super::layout::Sight;
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
        forward([q, k, v], None, &layout, &options)
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
        let ([q, k, v], _) = backward([q, k, v], None, [out, log_sum_exp, grad], &layout, &options);
        (q, k, v)
    }

    fn biased_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        layout: PackedLayout,
        options: AttentionOptions,
        zero: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        forward([q, k, v], Some(Bias { values: into_contiguous(bias), zero }), &layout, &options)
    }

    fn biased_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        out: FloatTensor<Self>,
        log_sum_exp: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        layout: PackedLayout,
        options: AttentionOptions,
        zero: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let bias = Some(Bias { values: into_contiguous(bias), zero });
        let ([q, k, v], bias) = backward([q, k, v], bias, [out, log_sum_exp, grad], &layout, &options);
        (q, k, v, bias.expect("a bias has a gradient"))
    }
}

/// What is added to scores by distance, `[heads, distances]`, and which of them is distance 0.
struct Bias {
    values: CubeTensor,
    zero: usize,
}

fn forward(
    rows: [CubeTensor; 3],
    bias: Option<Bias>,
    layout: &PackedLayout,
    options: &AttentionOptions,
) -> (CubeTensor, CubeTensor) {
    let [q, k, v] = rows.map(into_contiguous);
    let [tokens, width] = dims(&q);
    let out = empty(&q, [tokens, width], q.dtype);
    let log_sum_exp = empty(&q, [options.heads, tokens], DType::F32);
    let launch = Launch::new(Side::Queries, &q, layout, options, bias.as_ref());
    // SAFETY: a schedule's rows are rows of `q` and of `k`, every tensor is contiguous, reads and writes beyond a head's width
    // or a tile's rows are left out, and a distance is brought among those of the bias.
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
            launch.bias(),
            launch.schedule.numbers.clone().into_tensor_arg(),
            out.clone().into_tensor_arg(),
            log_sum_exp.clone().into_tensor_arg(),
            launch.params(),
            dtype_to_storage_type(q.dtype),
        );
    }
    (out, log_sum_exp)
}

/// The gradients of queries, keys and values, and that of the bias, where there is one.
fn backward(
    rows: [CubeTensor; 3],
    bias: Option<Bias>,
    forward: [CubeTensor; 3],
    layout: &PackedLayout,
    options: &AttentionOptions,
) -> ([CubeTensor; 3], Option<CubeTensor>) {
    let ([q, k, v], [out, log_sum_exp, grad]) = (rows.map(into_contiguous), forward.map(into_contiguous));
    let ([tokens, width], [keys, kv_width]) = (dims(&q), dims(&k));
    let statistics = statistics(out, &grad, log_sum_exp, options);
    let q_grad = empty(&q, [tokens, width], q.dtype);
    let (k_grad, v_grad) = (empty(&k, [keys, kv_width], k.dtype), empty(&v, [keys, kv_width], v.dtype));
    let launch = Launch::new(Side::Queries, &q, layout, options, bias.as_ref());
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
            launch.bias(),
            statistics.clone().into_tensor_arg(),
            launch.schedule.numbers.clone().into_tensor_arg(),
            q_grad.clone().into_tensor_arg(),
            launch.params(),
            dtype_to_storage_type(q.dtype),
        );
    }
    let bias_grad = bias.is_some().then(|| bias_gradient([&q, &k, &v, &grad], &statistics, &launch));
    let launch = Launch::new(Side::Keys, &q, layout, options, bias.as_ref());
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
            launch.bias(),
            statistics.into_tensor_arg(),
            launch.schedule.numbers.clone().into_tensor_arg(),
            k_grad.clone().into_tensor_arg(),
            v_grad.clone().into_tensor_arg(),
            launch.params(),
            dtype_to_storage_type(q.dtype),
        );
    }
    ([q_grad, k_grad, v_grad], bias_grad)
}

/// By the tiles of queries that `launch` spreads.
fn bias_gradient([q, k, v, grad]: [&CubeTensor; 4], statistics: &CubeTensor, launch: &Launch<'_>) -> CubeTensor {
    let (heads, distances, tiles) = (launch.options.heads, launch.distances(), launch.schedule.tiles);
    let sums = empty(q, [heads, tiles, distances], DType::F32);
    let out = empty(q, [heads, distances], DType::F32);
    let all = heads * distances;
    let units = crate::cube::units(q);
    // SAFETY: as in the forward; a cube writes the sums of its own tile and head, of distances that there are.
    unsafe {
        bias::tile_sums::launch_unchecked(
            &q.client,
            launch.cubes(heads),
            launch.dim(),
            address_type(&[q, k, &sums]),
            launch.vector(),
            q.clone().into_tensor_arg(),
            k.clone().into_tensor_arg(),
            v.clone().into_tensor_arg(),
            grad.clone().into_tensor_arg(),
            launch.bias(),
            statistics.clone().into_tensor_arg(),
            launch.schedule.numbers.clone().into_tensor_arg(),
            sums.clone().into_tensor_arg(),
            launch.params(),
            dtype_to_storage_type(q.dtype),
        );
        bias::sum_tiles::launch_unchecked(
            &q.client,
            cubes(all.div_ceil(units as usize)),
            CubeDim::new_1d(units),
            address_type(&[&sums]),
            sums.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            tiles,
            distances,
            all,
        );
    }
    out
}

/// How tiles of one side are spread over a device.
struct Launch<'a> {
    shape: TileShape,
    schedule: Schedule,
    layout: &'a PackedLayout,
    options: &'a AttentionOptions,
    bias: Option<&'a Bias>,
}

impl<'a> Launch<'a> {
    fn new(
        side: Side,
        q: &CubeTensor,
        layout: &'a PackedLayout,
        options: &'a AttentionOptions,
        bias: Option<&'a Bias>,
    ) -> Self {
        let longest = layout.segments().iter().map(|segment| segment.rows.len()).max().unwrap_or_default();
        let sums = match side {
            Side::Queries => 1,
            Side::Keys => 2,
        };
        let shape = TileShape::of(options.head_dim, sums, longest, q);
        let needs = Needs { side, window: options.window, rows: shape.rows() };
        Self { shape, schedule: Schedules::of(layout, needs, q), layout, options, bias }
    }

    fn bias(&self) -> ComptimeOptionArgs<&'static Tensor<f32>> {
        self.bias.map(|bias| bias.values.clone().into_tensor_arg()).into()
    }

    /// How many have a bias.
    fn distances(&self) -> usize {
        self.bias.map_or(0, |bias| dims(&bias.values)[1])
    }

    fn params(&self) -> ParamsLaunch {
        let AttentionOptions { heads, kv_heads, scale, softcap, window, .. } = *self.options;
        ParamsLaunch::new(
            self.layout.tokens(),
            self.schedule.tiles,
            heads / kv_heads,
            scale as f32,
            softcap.unwrap_or(1.0) as f32,
            schedule::window(window),
            self.distances(),
            self.bias.map_or(0, |bias| bias.zero as i32),
            self.layout.sight() == Sight::Everywhere,
            softcap.is_some(),
            self.shape,
        )
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
