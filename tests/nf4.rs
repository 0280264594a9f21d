//! NF4 beside bitsandbytes (`tests/peers/make_nf4.py`), and every architecture's fixture on a base in it.

#![allow(clippy::unwrap_used, missing_docs)]

mod packed;

use burn::tensor::{Device, DeviceKind, Tensor};
use mpo_kernels::{Nf4Data, Nf4Scales};
use mpo_models::{
    Accumulator, Batch, CausalLm, LoraOptions, NamedGradients, NamedParameter, PassOptions, Quantization, RunAgain,
    SaveOptions,
};
use mpo_tests::golden::{Golden, fixtures};
use mpo_tests::{FIXTURES, assert_close, floats};
use packed::write_nf4;
use serde_json::Value;

fn list(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The numbers of `spread` in the generator.
fn spread(count: usize) -> Vec<f32> {
    let number = |place: u64| {
        let step = (((place * 2_654_435_761) % (1 << 32)) >> 8) as f32;
        let unit = (step - 8_388_608.0) / 8_388_608.0;
        unit * unit * unit * (1.0 + (place / 64 * 7_919 % 251) as f32)
    };
    (0..count as u64).map(number).collect()
}

fn numbers(case: &Value) -> Vec<f32> {
    case.get("spread").map_or_else(|| list(&case["numbers"]), |count| spread(count.as_u64().unwrap() as usize))
}

#[track_caller]
fn assert_bits(what: &str, ours: &[f32], theirs: &[f32]) {
    let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
    assert!(bits(ours) == bits(theirs), "{what}: {ours:?}, theirs {theirs:?}");
}

/// Codes, scales, codes of scales and their scales are equal, and so are the numbers that they stand for.
#[test]
fn codes_and_scales_are_those_of_bitsandbytes() {
    let golden: Value = serde_json::from_slice(&std::fs::read(fixtures().join("nf4.json")).unwrap()).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let (name, numbers, double) = (case["name"].as_str().unwrap(), numbers(case), case["double"] == true);
        let name = format!("{name}, double {double}");
        let ours = Nf4Data::quantize(&numbers, double);
        assert_eq!(ours.codes, bytes(&case["codes"]), "{name}");
        let offset = case["offset"].as_f64().map(|offset| offset as f32);
        if let Nf4Scales::Double { codes, absmax, map, offset: our } = &ours.scales {
            assert_bits("the map", &map[..], &list(&golden["map"]));
            assert_eq!(*codes, bytes(&case["scale_codes"]), "{name}");
            // PyTorch's mean of many numbers is rounded on the way, in an order that is the CPU's.
            let offset = offset.unwrap();
            assert!((our - offset).abs() <= 2.0 * f32::EPSILON * offset.abs(), "{name}: {our} {offset}");
            for (our, their) in absmax.iter().zip(list(&case["nested_absmax"])) {
                assert!((our - their).abs() <= 2.0 * f32::EPSILON * offset.abs(), "{name}: {our} {their}");
            }
        } else {
            assert!(!double);
            assert_bits(&name, &ours.scales.values(), &list(&case["scales"]));
        }
        // As they are in a checkpoint.
        let theirs = Nf4Data {
            codes: bytes(&case["codes"]),
            scales: match offset {
                None => Nf4Scales::Single(list(&case["scales"])),
                Some(offset) => Nf4Scales::Double {
                    codes: bytes(&case["scale_codes"]),
                    absmax: list(&case["nested_absmax"]),
                    map: Box::new(list(&golden["map"]).try_into().unwrap()),
                    offset,
                },
            },
        };
        assert_bits(&name, &theirs.scales.values(), &list(&case["scales"]));
        if let Some(values) = case.get("values") {
            assert_bits(&name, &theirs.values(numbers.len()), &list(values));
        }
    }
}

#[test]
fn a_checkpoint_of_bitsandbytes_computes_what_it_does_there() {
    let dir = fixtures().join("nf4");
    let golden: Value = serde_json::from_slice(&std::fs::read(dir.join("goldens.json")).unwrap()).unwrap();
    let theirs = list(&golden["token_log_probs"]);
    let batch = Golden::open("qwen2_untied").batch("");
    let double = Quantization::Nf4 { double: true };
    let (packed, config) = CausalLm::load_frozen(&dir, &Device::flex()).unwrap();
    assert_eq!((packed.quantization(), config.nf4), (Some(double), true));
    assert_close("packed", &floats(batch.token_log_probs(&packed)), &theirs, 1e-5);
    for load in [CausalLm::load, CausalLm::load_dense] {
        let (dense, _) = load(&dir, &Device::flex()).unwrap();
        assert_eq!(dense.quantization(), None);
        assert_close("dense", &floats(batch.token_log_probs(&dense)), &theirs, 1e-5);
    }
    // Ours of the same weights is another one in the last digit of the scales' mean at most.
    let dense = fixtures().join("goldens/qwen2_untied");
    let (ours, _) = CausalLm::load_quantized(&dense, &Device::flex(), double).unwrap();
    assert_close("ours", &floats(batch.token_log_probs(&ours)), &theirs, 1e-5);
    // It is trained with an adapter or not at all.
    let error = CausalLm::load(&dir, &Device::flex().autodiff()).unwrap_err();
    assert!(error.to_string().contains("got some in NF4") && error.hint().unwrap().contains("adapter"), "{error}");
    let home = tempfile::tempdir().unwrap();
    let error = packed.save(&home.path().join("whole"), &config, &SaveOptions::default()).unwrap_err();
    assert!(error.to_string().contains("got one in NF4") && error.hint().unwrap().contains("merge"), "{error}");
}

/// A model with an adapter that changes what it computes, the same each time.
fn adapted(base: CausalLm) -> CausalLm {
    let Ok(target) = "all-linear".parse();
    let options = LoraOptions { rank: 3, alpha: 6.0, use_rslora: false, targets: vec![target], seed: 5 };
    let model = base.with_adapter(&options, "base").unwrap();
    let mut changes = vec![];
    model.each_parameter(|NamedParameter { name, values, .. }| {
        let change = name.ends_with("lora_b").then(|| {
            let numbers = spread(values.dims()[0]).into_iter().map(|x| 1e-3 * x).collect::<Vec<_>>();
            Tensor::<1>::from_floats(&numbers[..], &values.device())
        });
        changes.push((name, change));
    });
    model.update(changes, |_, _, change| change)
}

/// Every architecture, with scales quantized and not: what a packed base computes is what the numbers do that it stands for,
/// and so are the gradients of an adapter beside it.
#[test]
fn a_packed_base_is_the_dense_one_of_its_numbers() {
    for (name, double) in FIXTURES.into_iter().flat_map(|name| [(name, false), (name, true)]) {
        let what = format!("{name}, double {double}");
        let golden = Golden::open(name);
        let (batch, home) = (golden.batch(""), tempfile::tempdir().unwrap());
        let stored = home.path().join("stored");
        write_nf4(&golden.dir, &stored, double);
        let quantization = Quantization::Nf4 { double };
        let device = Device::flex().autodiff();
        let (quantized, _) = CausalLm::load_quantized(&golden.dir, &device, quantization).unwrap();
        let (packed, _) = CausalLm::load_frozen(&stored, &device).unwrap();
        let (dense, _) = CausalLm::load_dense(&stored, &device).unwrap();
        assert_eq!((quantized.quantization(), packed.quantization()), (Some(quantization), Some(quantization)));
        let of = |model: &CausalLm| floats(batch.token_log_probs(model).inner());
        assert_eq!(of(&packed), of(&quantized), "{what}: as it is stored and as it is made");
        assert_close(&what, &of(&packed), &of(&dense), 1e-6);
        let (plain, _) = CausalLm::load_frozen(&golden.dir, &device).unwrap();
        assert!(of(&packed).iter().zip(of(&plain)).any(|(a, b)| (a - b).abs() > 1e-3), "{what}: rounding is felt");

        let gradients = |model: CausalLm| {
            let model = adapted(model);
            let mut gradients = batch.token_log_probs(&model).mean().backward();
            model.take_gradients(&mut gradients)
        };
        let (ours, theirs) = (gradients(packed), gradients(dense));
        let trained = |all: &NamedGradients| {
            let trained = all.iter().filter_map(|(name, gradient)| Some((name.clone(), floats(gradient.clone()?))));
            trained.collect::<Vec<_>>()
        };
        let (ours, theirs) = (trained(&ours), trained(&theirs));
        assert!(ours.len() == theirs.len() && !ours.is_empty());
        for ((path, our), (their_path, their)) in ours.iter().zip(&theirs) {
            assert!(path == their_path && path.contains(".adapter.lora_") && their.iter().any(|x| *x != 0.0), "{path}");
            assert_close(&format!("{what}, {path}"), our, their, 1e-5);
        }
    }
}

/// Layers that are run again unpack their matrices again, to the same numbers.
#[test]
fn layers_over_a_packed_base_are_run_again_to_the_bit() {
    for name in FIXTURES {
        let device = Device::flex().autodiff();
        let dir = Golden::open(name).dir;
        let (base, _) = CausalLm::load_quantized(&dir, &device, Quantization::Nf4 { double: true }).unwrap();
        let model = adapted(base);
        let gradients = |again| {
            let mut batch = Batch::default();
            let prompt = batch.prompt(&[1, 5, 9]);
            let answers = [batch.answer(prompt, &[4, 2, 30]), batch.answer(prompt, &[8, 2])];
            let scores = batch.want_scores(answers);
            let mut sums = Accumulator::default();
            for _ in 0..2 {
                let (outputs, pass) = model.forward_training(&batch, PassOptions { again, head_memory: 0 });
                sums.add(&model, outputs.scores(scores).sum.sum(), pass);
            }
            let (mut walk, mut all) = (sums.walk(), vec![]);
            while let Some(part) = walk.next(&model) {
                all.extend(part.into_iter().filter_map(|(name, gradient)| Some((name, floats(gradient?)))));
            }
            all
        };
        let kept = gradients(RunAgain::Nothing);
        assert!(!kept.is_empty() && kept.iter().all(|(_, gradient)| gradient.iter().any(|x| *x != 0.0)), "{name}");
        assert_eq!(kept, gradients(RunAgain::LayersAndHead), "{name}");
    }
}

/// On a GPU too, whose kernels unpack the matrix whole.
#[test]
fn a_gpu_computes_the_same() {
    let golden = Golden::open("qwen3");
    let batch = golden.batch("");
    let of = |device: &Device| {
        let (model, _) = CausalLm::load_quantized(&golden.dir, device, Quantization::Nf4 { double: true }).unwrap();
        floats(batch.token_log_probs(&model))
    };
    assert_close("software Vulkan", &of(&Device::wgpu(DeviceKind::Cpu)), &of(&Device::flex()), 1e-5);
}

/// What is wrong with a checkpoint in NF4 is said with the tensor's name.
#[test]
fn a_broken_checkpoint_is_refused() {
    let golden = Golden::open("qwen3");
    let home = tempfile::tempdir().unwrap();
    let good = home.path().join("good");
    write_nf4(&golden.dir, &good, true);
    let weights = std::fs::read(good.join("model.safetensors")).unwrap();
    let text = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = weights.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        let mut changed = weights.clone();
        changed[at..at + from.len()].copy_from_slice(to.as_bytes());
        changed
    };
    for (changed, expected) in [
        (text(r#""blocksize":64"#, r#""blocksize":32"#), "expected nf4 in blocks of 64, got nf4 in blocks of 32"),
        (text(r#""quant_type":"nf4""#, r#""quant_type":"fp4""#), "got fp4 in blocks"),
        (text(r#""nested_blocksize":256"#, r#""nested_blocksize":128"#), "expected nested blocks of 256"),
        (text(r#""nested_dtype":"float32""#, r#""nested_dtype":"float32 "#), "expected what NF4 is stored as in JSON"),
        (text(".weight.quant_map", ".weight.quant_mop"), ".weight.quant_map"),
    ] {
        std::fs::write(good.join("model.safetensors"), changed).unwrap();
        let error = CausalLm::load_frozen(&good, &Device::flex()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().is_some());
    }
}
