//! The table of memory and time, which `mpo-train plan` makes of the models' shapes in `benches/models`.

use std::fmt::Write;

use serde_json::Value;

use crate::binary::mpo_train;
use crate::made;
use crate::page::root;

/// Names of models, and the folders of their shapes.
const MODELS: [(&str, &str); 8] = [
    ("SmolLM2-135M", "smollm2-135m"),
    ("Gemma 3 270M", "gemma-3-270m"),
    ("Qwen2.5-0.5B", "qwen2.5-0.5b"),
    ("Qwen2.5-1.5B", "qwen2.5-1.5b"),
    ("Qwen2.5-7B", "qwen2.5-7b"),
    ("LLaMA 3.1 8B", "llama-3.1-8b"),
    ("Gemma 2 9B", "gemma-2-9b"),
    ("Aya-101 13B", "aya-101"),
];

/// What is trained, and flags for it.
const WAYS: [(&str, &[&str]); 5] = [
    ("everything", &[]),
    ("everything, moments in bf16", &["--optimizer-state", "bf16"]),
    ("everything, moments on the host", &["--optimizer-state", "host"]),
    ("adapter", &["--adapter", "lora"]),
    ("adapter, base in NF4", &["--adapter", "lora", "--quantization", "nf4"]),
];

/// What all have: a card that is not there, of which nothing is measured, so that numbers are the same everywhere.
const SHARED: &str = "--row-tokens 960 --rows 1000 --epochs 2 --batch-size 8 \\\n  --precision bf16 --recompute on \
                      --micro-batch-tokens 4096 --device cuda --memory 80GB --teraflops 100";

fn plan(model: &str, flags: &[&str]) -> Value {
    let mut command = mpo_train();
    command.args(["plan", "--json", "--quiet", "--model"]).arg(root().join("benches/models").join(model));
    let output = command.args(SHARED.split_whitespace().filter(|word| *word != "\\")).args(flags).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Bytes as gigabytes.
fn gigabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e9)
}

/// Bytes on the card and beside it at the fullest point of a run. What the program takes before anything is loaded is left out,
/// for it is measured and not the same everywhere.
fn bytes(planned: &Value) -> (u64, u64) {
    let phases = planned["phases"].as_array().unwrap().iter();
    let most = |on_host: bool| {
        let of = |phase: &Value| -> u64 {
            let shares = phase["shares"].as_array().unwrap().iter();
            let shares = shares.filter(|share| share["on_host"] == on_host && share["part"] != "program");
            shares.map(|share| share["bytes"].as_u64().unwrap()).sum()
        };
        phases.clone().map(of).max().unwrap()
    };
    (most(false), most(true))
}

fn table() -> String {
    let mut table = format!(
        "```sh\nmpo-train plan --model benches/models/llama-3.1-8b --adapter lora {SHARED}\n```\n\n\
         | model | trained | GB on the card | beside it | minutes |\n|---|---|---:|---:|---:|\n"
    );
    for (name, model) in MODELS {
        for (way, flags) in WAYS {
            let planned = plan(model, flags);
            let (card, beside) = bytes(&planned);
            assert_eq!(card, planned["peak_bytes"].as_u64().unwrap(), "the program lies beside a card");
            let minutes = planned["time"]["seconds"].as_f64().unwrap() / 60.0;
            let digits = usize::from(minutes < 10.0);
            let beside = if beside < 50_000_000 { "–".to_owned() } else { gigabytes(beside) };
            _ = writeln!(table, "| {name} | {way} | {} | {beside} | {minutes:.digits$} |", gigabytes(card));
        }
    }
    table
}

#[test]
fn the_table_is_what_plan_says() {
    made::check("docs/plans.md", "plans", &table());
}

/// The shapes are those of the models: their parameters are counted elsewhere.
#[test]
fn shapes_have_as_many_parameters_as_their_models() {
    for (model, parameters) in [
        ("smollm2-135m", 134_515_008_u64),
        ("gemma-3-270m", 268_098_176),
        ("qwen2.5-0.5b", 494_032_768),
        ("qwen2.5-1.5b", 1_543_714_304),
        ("qwen2.5-7b", 7_615_616_512),
        ("llama-3.1-8b", 8_030_261_248),
        ("gemma-2-9b", 9_241_705_984),
        ("aya-101", 12_921_057_280),
    ] {
        assert_eq!(plan(model, &[])["parameters"], parameters, "{model}");
    }
}
