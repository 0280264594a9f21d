//! Causal attention over packed rows: no padding, grouped heads, prefixes shared, scores never stored.

#[cfg(feature = "flex")]
mod autodiff;
#[cfg(feature = "flex")]
mod kernel;
mod layout;
#[cfg(feature = "flex")]
mod native;
mod reference;
#[cfg(feature = "flex")]
mod tile;

use burn::tensor::Tensor;
pub use layout::{PackedLayout, Segment};

/// The shape of the heads and what happens to their scores.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionOptions {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Factor on the scores, usually `1 / sqrt(head_dim)`.
    pub scale: f64,
    /// Gemma 2: scores become `cap · tanh(score / cap)` before the softmax.
    pub softcap: Option<f64>,
    /// Sliding window: a token sees itself and the `window − 1` positions before it.
    pub window: Option<usize>,
}

/// Softmax attention of `q` `[tokens, heads · head_dim]` over `k` and `v` `[keys, kv_heads · head_dim]`, every token
/// seeing what `layout` lets it see. Result `[tokens, heads · head_dim]`; a token that sees nothing gets zeros.
///
/// Differentiable in all three, unless keys are cached. The native kernel recomputes scores in the backward from one saved
/// number per row and head.
pub fn attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    layout: &PackedLayout,
    options: &AttentionOptions,
) -> Tensor<2> {
    assert_eq!(
        (q.dims(), k.dims(), v.dims()),
        (
            [layout.tokens(), options.heads * options.head_dim],
            [layout.keys(), options.kv_heads * options.head_dim],
            [layout.keys(), options.kv_heads * options.head_dim]
        ),
        "attention: q, k, v must be [tokens, heads · head_dim] for {options:?}"
    );
    #[cfg(feature = "flex")]
    if crate::device::is_native(&q) {
        use burn::backend::Dispatch;
        let (out, _) = <Dispatch as kernel::AttentionKernel>::packed_attention(
            q.into_dispatch(),
            k.into_dispatch(),
            v.into_dispatch(),
            layout.clone(),
            options.clone(),
        );
        return Tensor::from_dispatch(out);
    }
    reference::attention(q, k, v, layout, options)
}

#[cfg(test)]
mod tests {
    use super::{AttentionOptions, PackedLayout, Segment, attention, reference};
    use crate::testing::{check_gradients, check_kernel, native, random};

    fn layouts() -> Vec<PackedLayout> {
        vec![
            PackedLayout::sequences(&[1]),
            PackedLayout::sequences(&[70, 3, 9]),
            // a prompt, two answers to it, padding after the second
            PackedLayout::new(vec![
                Segment { rows: 0..5, context: vec![], attends_itself: true },
                Segment { rows: 5..9, context: vec![0..5], attends_itself: true },
                Segment { rows: 9..75, context: vec![0..5], attends_itself: true },
                Segment { rows: 75..78, context: vec![0..5, 9..75], attends_itself: false },
            ]),
        ]
    }

    fn options() -> Vec<AttentionOptions> {
        let plain = AttentionOptions { heads: 4, kv_heads: 2, head_dim: 6, scale: 0.4, softcap: None, window: None };
        vec![
            plain.clone(),
            AttentionOptions { softcap: Some(2.0), ..plain.clone() },
            AttentionOptions { window: Some(4), ..plain.clone() },
            AttentionOptions { heads: 1, kv_heads: 1, head_dim: 1, ..plain },
        ]
    }

    #[test]
    fn by_hand() {
        // Scores of the second token against keys 0 and 1 are 0 and ln 3: weights 1/4 and 3/4 over values 0 and 8.
        let device = burn::tensor::Device::flex();
        let column = |values: [f32; 2]| burn::tensor::Tensor::<1>::from_data(values, &device).reshape([2, 1]);
        let options = AttentionOptions { heads: 1, kv_heads: 1, head_dim: 1, scale: 1.0, softcap: None, window: None };
        let out = attention(
            column([5.0, 1.0]),
            column([0.0, 3f32.ln()]),
            column([0.0, 8.0]),
            &PackedLayout::sequences(&[2]),
            &options,
        );
        let out = out.into_data().try_to_vec::<f32>().unwrap();
        assert!(out[0].abs() < 1e-6 && (out[1] - 6.0).abs() < 1e-5, "{out:?}");
    }

    #[test]
    fn native_is_no_worse_than_the_composition() {
        for layout in layouts() {
            for options in options() {
                let (n, q, kv) =
                    (layout.tokens(), options.heads * options.head_dim, options.kv_heads * options.head_dim);
                check_kernel(
                    &native(),
                    &[random(&[n, q], 1), random(&[n, kv], 2), random(&[n, kv], 3)],
                    |t| attention(t[0].d2(), t[1].d2(), t[2].d2(), &layout, &options),
                    |t| reference::attention(t[0].d2(), t[1].d2(), t[2].d2(), &layout, &options),
                );
            }
        }
    }

    #[test]
    fn reference_gradient_is_the_finite_difference() {
        let layout = PackedLayout::new(vec![
            Segment { rows: 0..2, context: vec![], attends_itself: true },
            Segment { rows: 2..4, context: vec![0..2], attends_itself: true },
            Segment { rows: 4..5, context: vec![0..2, 2..4], attends_itself: false },
        ]);
        let options =
            AttentionOptions { heads: 2, kv_heads: 1, head_dim: 2, scale: 0.7, softcap: Some(3.0), window: Some(3) };
        check_gradients(&[random(&[5, 4], 4), random(&[5, 2], 5), random(&[5, 2], 6)], |t| {
            reference::attention(t[0].d2(), t[1].d2(), t[2].d2(), &layout, &options)
        });
    }

    #[test]
    fn a_shared_prefix_changes_nothing() {
        // [prompt a b | answer c | answer d] packed once = the sequences abc and abd apart.
        let device = burn::tensor::Device::flex();
        let options = &options()[0];
        let tensor = |width: usize, seed| random(&[4, width], seed).on(&device).d2();
        let (q, k, v) = (tensor(24, 1), tensor(12, 2), tensor(12, 3));
        let shared = PackedLayout::new(vec![
            Segment { rows: 0..2, context: vec![], attends_itself: true },
            Segment { rows: 2..3, context: vec![0..2], attends_itself: true },
            Segment { rows: 3..4, context: vec![0..2], attends_itself: true },
        ]);
        let packed = attention(q.clone(), k.clone(), v.clone(), &shared, options);
        for (row, rows) in [(2, [0, 1, 2]), (3, [0, 1, 3])] {
            let pick =
                |t: &burn::tensor::Tensor<2>| t.clone().select(0, burn::tensor::Tensor::from_data(rows, &device));
            let apart = attention(pick(&q), pick(&k), pick(&v), &PackedLayout::sequences(&[3]), options);
            let difference: f32 = (apart.narrow(0, 2, 1) - packed.clone().narrow(0, row, 1)).abs().max().into_scalar();
            assert!(difference < 1e-6, "{difference}");
        }
    }

    #[test]
    fn cached_keys_change_nothing() {
        // Three tokens at once = two, then the third with the first two as cached keys, in a cache with room left.
        let device = burn::tensor::Device::flex();
        for options in options() {
            let (q_width, kv_width) = (options.heads * options.head_dim, options.kv_heads * options.head_dim);
            let tensor = |width: usize, seed| random(&[3, width], seed).on(&device).d2();
            let (q, k, v) = (tensor(q_width, 1), tensor(kv_width, 2), tensor(kv_width, 3));
            let whole = attention(q.clone(), k.clone(), v.clone(), &PackedLayout::sequences(&[3]), &options);
            let cached = |keys: burn::tensor::Tensor<2>| {
                let room = random(&[4, kv_width], 4).on(&device).d2();
                burn::tensor::Tensor::cat(vec![room.clone(), keys, room], 0)
            };
            let third = |context| {
                let segment = Segment { rows: 6..7, context, attends_itself: true };
                PackedLayout::in_cache(11, vec![segment])
            };
            for (kernel, layout) in [
                (attention as fn(_, _, _, &_, &_) -> _, third(vec![4..6])),
                (attention, third(vec![4..5, 5..6])),
                (reference::attention, third(vec![4..6])),
            ] {
                let out: burn::tensor::Tensor<2> =
                    kernel(q.clone().narrow(0, 2, 1), cached(k.clone()), cached(v.clone()), &layout, &options);
                let apart: f32 = (out - whole.clone().narrow(0, 2, 1)).abs().max().into_scalar();
                assert!(apart < 1e-6, "{apart}");
            }
        }
    }
}
