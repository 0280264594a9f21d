//! NF4 beside bitsandbytes (`tests/peers/make_nf4.py`), and every architecture's fixture on a base in it.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

use mpo_kernels::{Nf4Data, Nf4Scales};
use serde_json::Value;

fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn floats(value: &Value) -> Vec<f32> {
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
    case.get("spread").map_or_else(|| floats(&case["numbers"]), |count| spread(count.as_u64().unwrap() as usize))
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
            assert_bits("the map", &map[..], &floats(&golden["map"]));
            assert_eq!(*codes, bytes(&case["scale_codes"]), "{name}");
            // PyTorch's mean of many numbers is rounded on the way, in an order that is the CPU's.
            let offset = offset.unwrap();
            assert!((our - offset).abs() <= 2.0 * f32::EPSILON * offset.abs(), "{name}: {our} {offset}");
            for (our, their) in absmax.iter().zip(floats(&case["nested_absmax"])) {
                assert!((our - their).abs() <= 2.0 * f32::EPSILON * offset.abs(), "{name}: {our} {their}");
            }
        } else {
            assert!(!double);
            assert_bits(&name, &ours.scales.values(), &floats(&case["scales"]));
        }
        // As they are in a checkpoint.
        let theirs = Nf4Data {
            codes: bytes(&case["codes"]),
            scales: match offset {
                None => Nf4Scales::Single(floats(&case["scales"])),
                Some(offset) => Nf4Scales::Double {
                    codes: bytes(&case["scale_codes"]),
                    absmax: floats(&case["nested_absmax"]),
                    map: Box::new(floats(&golden["map"]).try_into().unwrap()),
                    offset,
                },
            },
        };
        assert_bits(&name, &theirs.scales.values(), &floats(&case["scales"]));
        if let Some(values) = case.get("values") {
            assert_bits(&name, &theirs.values(numbers.len()), &floats(values));
        }
    }
}
