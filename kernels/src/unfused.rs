//! The CubeCL kernels without Burn's fusion: called on the backend itself, beside the native ones.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, DispatchDevice, Flex};
use burn::tensor::{DType, TensorData};
use burn_cubecl::CubeBackend;

use crate::adamw::{AdamWStep, kernel::AdamWKernel};
use crate::attention::{AttentionOptions, PackedLayout, kernel::AttentionKernel};
use crate::embedding::kernel::EmbeddingKernel;
use crate::glu::{Activation, kernel::GluKernel};
use crate::linear::kernel::LinearKernel;
use crate::nf4::Nf4Data;
use crate::nf4::kernel::Nf4Kernel;
use crate::nf4::layout::Layout;
use crate::rms_norm::kernel::RmsNormKernel;
use crate::rope::kernel::{Direction, RopeKernel};
use crate::testing::{gpu, random};
use crate::vocabulary::head::Wanted;
use crate::vocabulary::linear_kl::kernel::LinearKlKernel;
use crate::vocabulary::linear_log_probs::kernel::{LinearLogProbsKernel, Options};
use crate::vocabulary::sequence_log_probs::kernel::SegmentKernel;
use crate::vocabulary::token_log_probs::kernel::TokenLogProbsKernel;

/// Both gradients of a head's operation, and each by itself.
const WANTED: [Wanted; 3] =
    [Wanted { hidden: true, head: true }, Wanted { hidden: true, head: false }, Wanted { hidden: false, head: true }];

const SOFTCAP: Option<f64> = Some(3.0);

fn floats<B: Backend>(shape: &[usize], seed: u64, device: &B::Device) -> FloatTensor<B> {
    let values: Vec<f32> = random(shape, seed).values().iter().map(|&x| x as f32).collect();
    B::float_from_data(TensorData::new(values, shape.to_vec()), device)
}

fn values<B: Backend>(tensor: FloatTensor<B>) -> Vec<f32> {
    let data = burn::tensor::read_sync(B::float_into_data(tensor)).unwrap();
    data.try_to_vec::<f32>().unwrap()
}

/// Every output of every kernel, both directions.
fn run<B>(device: &B::Device) -> Vec<(&'static str, Vec<f32>)>
where
    B: TokenLogProbsKernel
        + LinearLogProbsKernel
        + LinearKlKernel
        + LinearKernel
        + Nf4Kernel
        + EmbeddingKernel
        + SegmentKernel
        + RmsNormKernel
        + RopeKernel
        + AttentionKernel
        + GluKernel
        + AdamWKernel,
{
    let float = |shape: &[usize], seed| floats::<B>(shape, seed, device);
    let targets = || B::int_from_data(TensorData::new(vec![3i32, -100, 36, 0, 7], [5]), device);
    let (hidden, head, grad) = (float(&[5, 8], 1), float(&[37, 8], 2), float(&[5], 3));
    let mut out = vec![];
    let mut keep = |name, tensor: FloatTensor<B>| out.push((name, values::<B>(tensor)));

    let logits = float(&[5, 37], 4);
    let (log_probs, softmax) = B::token_log_probs(logits.clone(), targets(), SOFTCAP);
    keep("token_log_probs", log_probs);
    // Once beside the logits, once over them.
    let kept = logits.clone();
    let apart = B::token_log_probs_backward(logits, targets(), softmax.clone(), grad.clone(), SOFTCAP);
    keep("token_log_probs_backward", apart);
    let over = B::token_log_probs_backward(kept, targets(), softmax, grad.clone(), SOFTCAP);
    keep("token_log_probs_backward in place", over);

    let options = Options { softcap: SOFTCAP, keep: 0 };
    let (log_probs, softmax, logits) = B::linear_token_log_probs(hidden.clone(), head.clone(), targets(), options);
    keep("linear_token_log_probs", log_probs);
    let sum = B::add_linear_token_log_probs_head_grad(
        float(&[20, 8], 28),
        10,
        hidden.clone(),
        head.clone(),
        targets(),
        softmax.clone(),
        grad.clone(),
        SOFTCAP,
    );
    keep("linear_token_log_probs: rows of the head", sum);
    for wanted in WANTED {
        let (hidden_grad, head_grad) = B::linear_token_log_probs_backward(
            hidden.clone(),
            head.clone(),
            targets(),
            softmax.clone(),
            logits.clone(),
            grad.clone(),
            options,
            wanted,
        );
        keep("linear_token_log_probs: hidden", hidden_grad);
        keep("linear_token_log_probs: head", head_grad);
    }

    let reference = || (float(&[5, 6], 5), float(&[37, 6], 6));
    let (r_hidden, r_head) = reference();
    let (kl, statistics) = B::linear_kl(hidden.clone(), head.clone(), r_hidden, r_head, SOFTCAP);
    keep("linear_kl", kl);
    for wanted in WANTED {
        let (r_hidden, r_head) = reference();
        let (hidden_grad, head_grad) = B::linear_kl_backward(
            hidden.clone(),
            head.clone(),
            r_hidden,
            r_head,
            statistics.clone(),
            grad.clone(),
            SOFTCAP,
            wanted,
        );
        keep("linear_kl: hidden", hidden_grad);
        keep("linear_kl: head", head_grad);
    }

    let (x, weight) = (float(&[21, 8], 23), float(&[37, 8], 24));
    keep("linear", B::linear_product(x.clone(), weight.clone()));
    keep("linear: x", B::linear_input_grad(weight, float(&[21, 37], 25)));
    keep("linear: weight", B::linear_weight_grad(x, float(&[21, 37], 25), DType::F32));

    for double in [false, true] {
        let weights: Vec<f32> = random(&[37, 8], 24).values().iter().map(|&x| x as f32).collect();
        let layout = Layout { shape: [37, 8], double };
        let (words, floats) = layout.pack(&Nf4Data::quantize(&weights, double));
        let packed = || {
            let (word_count, float_count) = (words.len(), floats.len());
            let words = B::int_from_data(TensorData::new(words.clone(), [word_count]), device);
            (words, B::float_from_data(TensorData::new(floats.clone(), [float_count]), device))
        };
        let (words, floats) = packed();
        keep("nf4", B::nf4_values(words, floats, layout));
        let (words, floats) = packed();
        keep("nf4: product", B::nf4_product(float(&[21, 8], 23), words, floats, layout));
        let (words, floats) = packed();
        keep("nf4: x", B::nf4_input_grad(float(&[21, 37], 25), words, floats, layout));
    }

    let ids = || vec![3, 0, 3, 7];
    keep("take_rows", B::take_rows(float(&[8, 12], 26), ids()));
    keep("add_rows", B::add_rows(float(&[8, 12], 26), float(&[4, 12], 27), ids()));

    keep("segment_sums", B::segment_sums(float(&[600], 7), vec![1, 299, 300]));
    keep("segment_repeat", B::segment_repeat(float(&[3], 8), vec![1, 299, 300]));

    let (y, inverse_rms) = B::rms_norm(float(&[5, 24], 9), float(&[24], 10), 1e-6, 1.0);
    keep("rms_norm", y);
    let (x_grad, weight_grad) =
        B::rms_norm_backward(float(&[5, 24], 9), float(&[24], 10), inverse_rms, float(&[5, 24], 11), 1.0);
    keep("rms_norm: x", x_grad);
    keep("rms_norm: weight", weight_grad);

    for direction in [Direction::Forward, Direction::Backward] {
        let (cos, sin) = (float(&[5, 4], 12), float(&[5, 4], 13));
        keep("rope", B::rope(float(&[5, 24], 14), cos, sin, direction));
    }
    let layout = PackedLayout::sequences(&[2, 3]);
    let options =
        AttentionOptions { heads: 4, kv_heads: 2, head_dim: 6, scale: 0.4, softcap: SOFTCAP, window: Some(2) };
    let (q, k, v) = (float(&[5, 24], 23), float(&[5, 12], 24), float(&[5, 12], 25));
    let (y, log_sum_exp) = B::packed_attention(q.clone(), k.clone(), v.clone(), layout.clone(), options.clone());
    keep("attention", y.clone());
    keep("attention: log-sum-exp", log_sum_exp.clone());
    let (q_grad, k_grad, v_grad) =
        B::packed_attention_backward(q, k, v, y, log_sum_exp, float(&[5, 24], 26), layout.clone(), options.clone());
    keep("attention: q", q_grad);
    keep("attention: k", k_grad);
    keep("attention: v", v_grad);
    let options = AttentionOptions { softcap: None, window: None, ..options };
    let layout = PackedLayout::both_ways(layout.segments().to_vec());
    let (q, k, v, bias) = (float(&[5, 24], 23), float(&[5, 12], 24), float(&[5, 12], 25), float(&[4, 6], 28));
    let (y, log_sum_exp) =
        B::biased_attention(q.clone(), k.clone(), v.clone(), bias.clone(), layout.clone(), options.clone(), 3);
    keep("biased attention", y.clone());
    keep("biased attention: log-sum-exp", log_sum_exp.clone());
    let grad = float(&[5, 24], 26);
    let (q_grad, k_grad, v_grad, bias_grad) =
        B::biased_attention_backward(q, k, v, bias, y, log_sum_exp, grad, layout, options, 3);
    keep("biased attention: q", q_grad);
    keep("biased attention: k", k_grad);
    keep("biased attention: v", v_grad);
    keep("biased attention: bias", bias_grad);
    for activation in [Activation::Silu, Activation::GeluTanh] {
        let (gate, up) = (float(&[5, 24], 15), float(&[5, 24], 16));
        keep("glu", B::glu(gate.clone(), up.clone(), activation));
        let (gate_grad, up_grad) = B::glu_backward(gate, up, float(&[5, 24], 17), activation);
        keep("glu: gate", gate_grad);
        keep("glu: up", up_grad);
    }

    let step = AdamWStep { lr: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-3, weight_decay: 0.1, step: 2, grad_scale: 0.5 };
    let variance = B::float_abs(float(&[50], 21));
    let (param, momentum, variance) = B::adamw(float(&[50], 18), float(&[50], 19), float(&[50], 20), variance, step);
    keep("adamw: param", param);
    keep("adamw: momentum", momentum);
    keep("adamw: variance", variance);
    out
}

#[test]
fn every_gpu_kernel_agrees_with_the_cpu_kernel() {
    let (device, _) = gpu().unwrap();
    let bound = 1e-5;
    let DispatchDevice::Cube(device) = device.as_dispatch() else {
        panic!("a GPU is a CubeCL device");
    };
    let ours = run::<CubeBackend>(device);
    let native = run::<Flex>(&Default::default());
    assert_eq!(ours.len(), native.len());
    for ((name, ours), (_, native)) in ours.iter().zip(&native) {
        assert_eq!(ours.len(), native.len(), "{name}");
        for (i, (ours, native)) in ours.iter().zip(native).enumerate() {
            let apart = (ours - native).abs();
            assert!(apart <= bound * (1.0 + native.abs()), "{name} [{i}]: {ours} {native}");
        }
    }
}
