//! The plain composition, segment by segment. Under autodiff every segment's scores stay alive until the backward.

use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Tensor, TensorData};

use super::{AttentionOptions, PackedLayout, Segment};

pub(super) fn attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    layout: &PackedLayout,
    options: &AttentionOptions,
) -> Tensor<2> {
    let rows = layout.queries().map(|(first, segment)| attend(&q, &k, &v, segment, first, options)).collect();
    Tensor::cat(rows, 0)
}

fn attend(
    q: &Tensor<2>,
    k: &Tensor<2>,
    v: &Tensor<2>,
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
    let hidden: Vec<bool> = (0..length)
        .flat_map(|i| {
            let position = context + i;
            let oldest = options.window.map_or(0, |window| (position + 1).saturating_sub(window));
            (0..keys).map(move |key| key > position || key < oldest)
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
