//! The plain composition, segment by segment. Under autodiff every segment's scores stay alive until the backward.

use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Int, Tensor, TensorData};

use super::layout::Sight;
use super::{AttentionOptions, DistanceBias, PackedLayout, Segment};

pub(super) fn attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    layout: &PackedLayout,
    options: &AttentionOptions,
) -> Tensor<2> {
    all([q, k, v], None, layout, options)
}

pub(super) fn biased_attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    bias: &DistanceBias,
    layout: &PackedLayout,
    options: &AttentionOptions,
) -> Tensor<2> {
    all([q, k, v], Some(bias), layout, options)
}

fn all(
    rows: [Tensor<2>; 3],
    bias: Option<&DistanceBias>,
    layout: &PackedLayout,
    options: &AttentionOptions,
) -> Tensor<2> {
    let segments = layout.queries();
    Tensor::cat(segments.map(|(first, segment)| attend(&rows, bias, layout, segment, first, options)).collect(), 0)
}

fn attend(
    [q, k, v]: &[Tensor<2>; 3],
    bias: Option<&DistanceBias>,
    layout: &PackedLayout,
    segment: &Segment,
    first: usize,
    options: &AttentionOptions,
) -> Tensor<2> {
    let AttentionOptions { heads, kv_heads, head_dim, .. } = *options;
    let (context, length) = (segment.context_len(), segment.rows.len());
    let keys = context + if segment.attends_itself { length } else { 0 };
    let device = q.device();
    if keys == 0 {
        return Tensor::zeros([length, heads * head_dim], (&device, q.dtype()));
    }
    let gather = |t: &Tensor<2>| -> Tensor<3> {
        let mut parts: Vec<_> = segment.context.iter().map(|r| t.clone().narrow(0, r.start, r.len())).collect();
        if segment.attends_itself {
            parts.push(t.clone().narrow(0, segment.rows.start, length));
        }
        // Each key head serves `heads / kv_heads` query heads that stand next to each other.
        let parts: Tensor<4> = Tensor::cat(parts, 0).reshape([keys, kv_heads, 1, head_dim]);
        let parts = parts.repeat_dim(2, heads / kv_heads);
        parts.reshape([keys, heads, head_dim]).swap_dims(0, 1)
    };
    let (k, v) = (gather(k), gather(v));
    let q: Tensor<3> = q.clone().narrow(0, first, length).reshape([length, heads, head_dim]).swap_dims(0, 1);
    let mut scores = q.matmul(k.transpose()).mul_scalar(options.scale);
    if let Some(cap) = options.softcap {
        scores = scores.div_scalar(cap).tanh().mul_scalar(cap);
    }
    if let Some(DistanceBias { values, zero }) = bias {
        let distances = (0..length).flat_map(|i| (0..keys).map(move |key| (zero + key) as i32 - (context + i) as i32));
        // A key that is not seen may lie beyond the table; what is added to it is hidden with it.
        let last = values.dims()[1] as i32 - 1;
        let distances: Vec<i32> = distances.map(|distance| distance.clamp(0, last)).collect();
        let distances = Tensor::<1, Int>::from_data(TensorData::new(distances, [length * keys]), &device);
        let added: Tensor<3> = values.clone().select(1, distances).reshape([heads, length, keys]);
        let dtype = scores.dtype();
        scores = scores + added.cast(dtype);
    }
    let hidden: Vec<bool> = (0..length)
        .flat_map(|i| {
            let position = context + i;
            let newest = if layout.sight() == Sight::Back { position } else { keys };
            let oldest = options.window.map_or(0, |window| (position + 1).saturating_sub(window));
            (0..keys).map(move |key| key > newest || key < oldest)
        })
        .collect();
    let blind: Vec<bool> = hidden.chunks(keys).map(|row| row.iter().all(|&h| h)).collect();
    let mask = |values: Vec<bool>, shape: [usize; 3]| -> Tensor<3, Bool> {
        Tensor::<3, Bool>::from_data(TensorData::new(values, shape), &device).expand([heads, shape[1], shape[2]])
    };
    // Finite, since WGSL has no infinity literal and a row of infinities would give NaN.
    let probabilities = softmax(scores.mask_fill(mask(hidden, [1, length, keys]), -1e30), 2);
    let out = probabilities.matmul(v).swap_dims(0, 1).reshape([length, heads * head_dim]);
    if blind.iter().any(|&b| b) {
        let seen: Vec<f32> = blind.iter().map(|&b| if b { 0.0 } else { 1.0 }).collect();
        let seen = Tensor::<2>::from_data(TensorData::new(seen, [length, 1]), (&device, out.dtype()));
        return out * seen;
    }
    out
}
