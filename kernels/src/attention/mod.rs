//! Causal attention over packed rows: no padding, grouped heads, prefixes shared, scores never stored.

mod autodiff;
#[cfg(feature = "cube")]
mod cube;
pub(crate) mod kernel;
mod layout;
#[cfg(feature = "flex")]
mod native;
mod reference;
#[cfg(feature = "flex")]
mod tile;

use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};
pub use layout::{PackedLayout, Segment};

use crate::device::{has_kernel, is_native};

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

/// What is added to scores by how far a key is from its query, as T5 does.
#[derive(Debug, Clone)]
pub struct DistanceBias {
    /// `[heads, distances]`, in order of the key's position minus the query's.
    pub values: Tensor<2>,
    /// Which of them is distance 0.
    pub zero: usize,
}

/// The widest head that has a kernel on a GPU: rows of a wider one would not fit its registers.
const WIDEST_HEAD: usize = 256;

/// Softmax attention of `q` `[tokens, heads · head_dim]` over `k` and `v` `[keys, kv_heads · head_dim]`, every token
/// seeing what `layout` lets it see. Result `[tokens, heads · head_dim]`; a token that sees nothing gets zeros.
///
/// Differentiable in all three. The native kernel recomputes scores in the backward from one saved number per row and head.
pub fn attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    layout: &PackedLayout,
    options: &AttentionOptions,
) -> Tensor<2> {
    check(&q, &k, &v, layout, options);
    if is_native(&q) || has_kernel(&q) && options.head_dim <= WIDEST_HEAD {
        let (out, _) = <Dispatch as kernel::AttentionKernel>::packed_attention(
            q.into_dispatch(),
            k.into_dispatch(),
            v.into_dispatch(),
            layout.clone(),
            options.clone(),
        );
        return Tensor::from_dispatch(out);
    }
    if crate::device::is_native_once_wide(&q) {
        let dtype = q.dtype();
        let [q, k, v] = [q, k, v].map(|rows| rows.cast(DType::F32));
        return attention(q, k, v, layout, options).cast(dtype);
    }
    reference::attention(q, k, v, layout, options)
}

/// The same with `bias` added to scores before the softmax; differentiable in it too.
///
/// # Panics
/// If there is a soft-cap or a window, which nothing that has such a bias has beside it, or if the bias has no value for a
/// distance between a query and a key that it sees.
pub fn biased_attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    bias: &DistanceBias,
    layout: &PackedLayout,
    options: &AttentionOptions,
) -> Tensor<2> {
    check(&q, &k, &v, layout, options);
    assert!(
        options.softcap.is_none() && options.window.is_none(),
        "a bias stands beside neither a soft-cap nor a window"
    );
    let ([heads, distances], [before, behind]) = (bias.values.dims(), layout.reach());
    assert!(
        heads == options.heads && bias.zero >= before && bias.zero + behind < distances,
        "expected a bias of {} heads from {before} before to {behind} behind, got {heads} heads and {distances} distances, 0 at {}",
        options.heads,
        bias.zero
    );
    if is_native(&q) || has_kernel(&q) && options.head_dim <= WIDEST_HEAD {
        let (out, _) = <Dispatch as kernel::AttentionKernel>::biased_attention(
            q.into_dispatch(),
            k.into_dispatch(),
            v.into_dispatch(),
            bias.values.clone().cast(DType::F32).into_dispatch(),
            layout.clone(),
            options.clone(),
            bias.zero,
        );
        return Tensor::from_dispatch(out);
    }
    if crate::device::is_native_once_wide(&q) {
        let dtype = q.dtype();
        let [q, k, v] = [q, k, v].map(|rows| rows.cast(DType::F32));
        return biased_attention(q, k, v, bias, layout, options).cast(dtype);
    }
    reference::biased_attention(q, k, v, bias, layout, options)
}

fn check(q: &Tensor<2>, k: &Tensor<2>, v: &Tensor<2>, layout: &PackedLayout, options: &AttentionOptions) {
    assert_eq!(
        (q.dims(), k.dims(), v.dims()),
        (
            [layout.tokens(), options.heads * options.head_dim],
            [layout.keys(), options.kv_heads * options.head_dim],
            [layout.keys(), options.kv_heads * options.head_dim]
        ),
        "attention: q, k, v must be [tokens, heads · head_dim] for {options:?}"
    );
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, Tensor};

    use super::{AttentionOptions, DistanceBias, PackedLayout, Segment, attention, biased_attention, reference};
    use crate::testing::{Input, check_gradients, check_kernel, everywhere, random, rounds_factors};

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
        let device = Device::flex();
        let column = |values: [f32; 2]| Tensor::<1>::from_data(values, &device).reshape([2, 1]);
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

    fn check(layout: &PackedLayout, options: &AttentionOptions, scale: f64) {
        let (n, q, kv) = (layout.tokens(), options.heads * options.head_dim, options.kv_heads * options.head_dim);
        check_kernel(
            &everywhere(),
            &[random(&[n, q], 1).scaled(scale), random(&[n, kv], 2), random(&[n, kv], 3)],
            |t| attention(t[0].d2(), t[1].d2(), t[2].d2(), layout, options),
            |t| reference::attention(t[0].d2(), t[1].d2(), t[2].d2(), layout, options),
        );
    }

    #[test]
    fn no_worse_than_the_composition() {
        for layout in layouts() {
            for options in options() {
                check(&layout, &options, 1.0);
            }
        }
    }

    #[test]
    fn heads_of_any_width_and_number() {
        let layout = &layouts()[2];
        for (heads, kv_heads, head_dim) in [(3, 3, 64), (6, 2, 80), (5, 1, 96), (2, 1, 128), (3, 1, 256), (1, 1, 257)] {
            let scale = f64::from(head_dim as u32).powf(-0.5);
            let plain = AttentionOptions { heads, kv_heads, head_dim, scale, softcap: None, window: None };
            check(layout, &plain, 1.0);
            check(layout, &AttentionOptions { softcap: Some(2.0), window: Some(20), ..plain }, 1.0);
        }
    }

    fn both_ways(lengths: &[usize]) -> PackedLayout {
        PackedLayout::both_ways(PackedLayout::sequences(lengths).segments().to_vec())
    }

    /// Of an encoder, and of a decoder that reads what an encoder made, with more queries than keys and with fewer.
    fn without_order() -> Vec<PackedLayout> {
        vec![
            both_ways(&[1]),
            both_ways(&[70, 3, 9]),
            // a sequence, another, padding after the first
            PackedLayout::both_ways(vec![
                Segment { rows: 0..66, context: vec![], attends_itself: true },
                Segment { rows: 66..70, context: vec![], attends_itself: true },
                Segment { rows: 70..73, context: vec![0..66], attends_itself: false },
            ]),
            PackedLayout::across(12, [(3, 0..7), (80, 7..12), (2, 0..7)]),
            PackedLayout::across(90, [(1, 0..1), (5, 1..90)]),
        ]
    }

    #[test]
    fn no_worse_than_the_composition_without_order() {
        for layout in without_order() {
            for options in options().into_iter().filter(|options| options.window.is_none()) {
                let (n, keys) = (layout.tokens(), layout.keys());
                let (q, kv) = (options.heads * options.head_dim, options.kv_heads * options.head_dim);
                check_kernel(
                    &everywhere(),
                    &[random(&[n, q], 1), random(&[keys, kv], 2), random(&[keys, kv], 3)],
                    |t| attention(t[0].d2(), t[1].d2(), t[2].d2(), &layout, &options),
                    |t| reference::attention(t[0].d2(), t[1].d2(), t[2].d2(), &layout, &options),
                );
            }
        }
    }

    #[test]
    fn without_order_a_query_sees_what_is_behind_it() {
        // Equal scores: every token gets the mean of the values of its own sequence.
        let both_ways = both_ways(&[2, 1]);
        let across = PackedLayout::across(3, [(1, 0..2), (1, 2..3), (1, 0..2)]);
        let options = AttentionOptions { heads: 1, kv_heads: 1, head_dim: 1, scale: 1.0, softcap: None, window: None };
        for device in devices() {
            let zeros = || Tensor::zeros([3, 1], &device);
            let values = || Tensor::<1>::from_data([2.0, 4.0, 9.0], &device).reshape([3, 1]);
            for (layout, expected) in [(&both_ways, [3.0, 3.0, 9.0]), (&across, [3.0, 9.0, 3.0])] {
                let out = attention(zeros(), zeros(), values(), layout, &options);
                assert_eq!(out.into_data().try_to_vec::<f32>().unwrap(), expected, "{device:?}");
            }
        }
    }

    /// Options that a bias stands beside.
    fn biased_options() -> Vec<AttentionOptions> {
        let plain = AttentionOptions { heads: 4, kv_heads: 2, head_dim: 6, scale: 0.4, softcap: None, window: None };
        vec![AttentionOptions { heads: 3, kv_heads: 3, head_dim: 64, scale: 1.0, ..plain.clone() }, plain]
    }

    /// Layouts with a bias of as many distances as they need, and of more. None of a single token, whose one key has all the
    /// weight whatever is added to its score.
    fn biased_layouts() -> Vec<(PackedLayout, usize, usize)> {
        let all = layouts().into_iter().chain(without_order().into_iter().take(3));
        all.filter(|layout| layout.tokens() > 1)
            .enumerate()
            .map(|(number, layout)| {
                let [before, behind] = layout.reach();
                (layout, before + number, before + behind + 1 + 2 * number)
            })
            .collect()
    }

    fn with_bias(t: &[Input], zero: usize) -> DistanceBias {
        DistanceBias { values: t[3].d2(), zero }
    }

    #[test]
    fn a_bias_is_no_worse_than_the_composition() {
        for (layout, zero, distances) in biased_layouts() {
            for options in biased_options() {
                let n = layout.tokens();
                let (q, kv) = (options.heads * options.head_dim, options.kv_heads * options.head_dim);
                let bias = random(&[options.heads, distances], 4).scaled(2.0);
                check_kernel(
                    &everywhere(),
                    &[random(&[n, q], 1).scaled(0.3), random(&[n, kv], 2), random(&[n, kv], 3), bias],
                    |t| biased_attention(t[0].d2(), t[1].d2(), t[2].d2(), &with_bias(t, zero), &layout, &options),
                    |t| {
                        let bias = with_bias(t, zero);
                        reference::biased_attention(t[0].d2(), t[1].d2(), t[2].d2(), &bias, &layout, &options)
                    },
                );
            }
        }
    }

    #[test]
    fn a_bias_by_hand() {
        // Equal scores, but for a key just before its query, which counts three times: weights 3/4 and 1/4 over values 0 and 8.
        let options = AttentionOptions { heads: 1, kv_heads: 1, head_dim: 1, scale: 1.0, softcap: None, window: None };
        for device in devices() {
            let zeros = || Tensor::zeros([2, 1], &device);
            let values = || Tensor::<1>::from_data([0.0, 8.0], &device).reshape([2, 1]);
            let bias = Tensor::<1>::from_data([3f32.ln(), 0.0, 0.0], &device).reshape([1, 3]);
            let bias = DistanceBias { values: bias, zero: 1 };
            for (layout, first) in [(both_ways(&[2]), 4.0), (PackedLayout::sequences(&[2]), 0.0)] {
                let out = biased_attention(zeros(), zeros(), values(), &bias, &layout, &options);
                let out = out.into_data().try_to_vec::<f32>().unwrap();
                assert!((out[0] - first).abs() < 1e-5 && (out[1] - 2.0).abs() < 1e-5, "{device:?}: {out:?}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "from 1 before to 1 behind")]
    fn a_bias_without_a_distance_is_refused() {
        let zeros = |shape| Tensor::<2>::zeros(shape, &Device::flex());
        let options = AttentionOptions { heads: 1, kv_heads: 1, head_dim: 1, scale: 1.0, softcap: None, window: None };
        let bias = DistanceBias { values: zeros([1, 2]), zero: 1 };
        biased_attention(zeros([2, 1]), zeros([2, 1]), zeros([2, 1]), &bias, &both_ways(&[2]), &options);
    }

    /// In its gradient's own direction, what the kernel itself gives changes by the gradient's norm, on every device.
    #[test]
    fn a_bias_gradient_is_the_kernels_finite_difference() {
        for (layout, zero, distances) in biased_layouts() {
            let options = &biased_options()[0];
            for device in devices() {
                let width = options.heads * options.head_dim;
                let on = |seed| random(&[layout.tokens(), width], seed).scaled(0.3).on(&device).d2();
                let [q, k, v, weights] = [1, 2, 3, 5].map(on);
                let value = |values: Tensor<2>| {
                    let [q, k, v] =
                        [&q, &k, &v].map(|t| if values.is_autodiff() { t.clone().autodiff() } else { t.clone() });
                    let weights = if values.is_autodiff() { weights.clone().autodiff() } else { weights.clone() };
                    let bias = DistanceBias { values, zero };
                    (biased_attention(q, k, v, &bias, &layout, options) * weights).sum()
                };
                let bias = random(&[options.heads, distances], 4).on(&device).d2();
                let leaf = bias.clone().autodiff().require_grad();
                let gradient = leaf.grad(&value(leaf.clone()).backward()).unwrap();
                let norm: f32 = gradient.clone().square().sum().sqrt().into_scalar();
                assert!(norm > 0.1, "{device:?}: a gradient reaches the bias");
                let step = 0.05;
                let moved = |by: f32| value(bias.clone() + gradient.clone().mul_scalar(by / norm)).into_scalar::<f32>();
                let difference = (moved(step) - moved(-step)) / (2.0 * step);
                assert!((difference - norm).abs() < 5e-3 * norm, "{device:?}: {difference} {norm}");
            }
        }
    }

    #[test]
    fn a_bias_has_the_same_bits_in_every_run() {
        let layout = &both_ways(&[70, 3, 9]);
        for device in devices() {
            let device = device.autodiff();
            let options = &biased_options()[0];
            let once = || -> Vec<f32> {
                let on = |rows, width, seed| random(&[rows, width], seed).on(&device).d2().require_grad();
                let width = options.heads * options.head_dim;
                let [q, k, v] = [1, 2, 3].map(|seed| on(layout.tokens(), width, seed));
                let values = on(options.heads, 139, 4);
                let bias = DistanceBias { values: values.clone(), zero: 69 };
                let out = biased_attention(q, k, v, &bias, layout, options);
                let gradient = values.grad(&(out.clone() * out).sum().backward()).unwrap();
                gradient.into_data().try_to_vec().unwrap()
            };
            assert_eq!(once(), once(), "{device:?}");
        }
    }

    #[test]
    fn scores_of_tens() {
        for options in options() {
            check(&layouts()[2], &options, 20.0);
        }
    }

    #[test]
    fn the_same_bits_in_every_run() {
        let layout = &layouts()[2];
        for case in everywhere() {
            let device = case.device.autodiff();
            for options in options() {
                let once = || -> Vec<Vec<f32>> {
                    let widths = [options.heads, options.kv_heads, options.kv_heads].map(|n| n * options.head_dim);
                    let [q, k, v] = widths.map(|width| {
                        random(&[layout.tokens(), width], width as u64).on(&device).d2().cast(case.dtype).require_grad()
                    });
                    let out = attention(q.clone(), k.clone(), v.clone(), layout, &options);
                    let mut gradients = (out.clone() * out.clone()).sum().backward();
                    let gradients = [q, k, v].map(|input| input.grad_remove(&mut gradients).unwrap());
                    let numbers = |t: Tensor<2>| t.into_data().convert::<f32>().try_to_vec().unwrap();
                    std::iter::once(out.inner()).chain(gradients).map(numbers).collect()
                };
                let first = once();
                assert!(first.iter().flatten().all(|x| x.is_finite()), "{:?}", case.dtype);
                assert_eq!(first, once(), "{:?}", case.dtype);
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
    fn reference_gradient_of_a_bias_is_the_finite_difference() {
        let options = AttentionOptions { heads: 2, kv_heads: 1, head_dim: 2, scale: 0.7, softcap: None, window: None };
        let causal = PackedLayout::new(vec![
            Segment { rows: 0..2, context: vec![], attends_itself: true },
            Segment { rows: 2..4, context: vec![0..2], attends_itself: true },
            Segment { rows: 4..5, context: vec![0..2, 2..4], attends_itself: false },
        ]);
        for layout in [causal, both_ways(&[4, 1])] {
            let inputs = [random(&[5, 4], 4), random(&[5, 2], 5), random(&[5, 2], 6), random(&[2, 9], 7)];
            check_gradients(&inputs, |t| {
                reference::biased_attention(t[0].d2(), t[1].d2(), t[2].d2(), &with_bias(t, 4), &layout, &options)
            });
        }
    }

    /// Every device in f32.
    fn devices() -> Vec<Device> {
        everywhere().into_iter().filter(|case| case.dtype == DType::F32).map(|case| case.device).collect()
    }

    fn apart(a: Tensor<2>, b: Tensor<2>) -> f32 {
        (a - b).abs().max().into_scalar()
    }

    #[test]
    fn a_shared_prefix_changes_nothing() {
        // [prompt a b | answer c | answer d] packed once = the sequences abc and abd apart.
        for device in devices() {
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
                let pick = |t: &Tensor<2>| t.clone().select(0, Tensor::from_data(rows, &device));
                let alone = attention(pick(&q), pick(&k), pick(&v), &PackedLayout::sequences(&[3]), options);
                let apart = apart(alone.narrow(0, 2, 1), packed.clone().narrow(0, row, 1));
                assert!(apart < 1e-6, "{device:?}: {apart}");
            }
        }
    }

    #[test]
    fn cached_keys_change_nothing() {
        // Tokens at once = the last one after the others as cached keys, in a cache with room left.
        for device in devices() {
            for (options, tokens) in options().into_iter().flat_map(|options| [(options.clone(), 3), (options, 150)]) {
                let (q_width, kv_width) = (options.heads * options.head_dim, options.kv_heads * options.head_dim);
                let tensor = |width: usize, seed| random(&[tokens, width], seed).on(&device).d2();
                let (q, k, v) = (tensor(q_width, 1), tensor(kv_width, 2), tensor(kv_width, 3));
                let whole = attention(q.clone(), k.clone(), v.clone(), &PackedLayout::sequences(&[tokens]), &options);
                let cached = |keys: Tensor<2>| {
                    let room = random(&[4, kv_width], 4).on(&device).d2();
                    Tensor::cat(vec![room.clone(), keys, room], 0)
                };
                let last = tokens + 3;
                let layout = |context| {
                    let segment = Segment { rows: last..last + 1, context, attends_itself: true };
                    PackedLayout::in_cache(tokens + 8, vec![segment])
                };
                let composed = if rounds_factors(&device) { 5e-3 } else { 1e-6 };
                for (kernel, layout, most) in [
                    (attention as fn(_, _, _, &_, &_) -> _, layout(vec![4..last]), 1e-6),
                    (attention, layout(vec![4..5, 5..last]), 1e-6),
                    (reference::attention, layout(vec![4..last]), composed),
                ] {
                    let q = q.clone().narrow(0, tokens - 1, 1);
                    let out: Tensor<2> = kernel(q, cached(k.clone()), cached(v.clone()), &layout, &options);
                    let apart = apart(out, whole.clone().narrow(0, tokens - 1, 1));
                    assert!(apart < most, "{device:?}, {options:?}: {apart}");
                }
            }
        }
    }
}
