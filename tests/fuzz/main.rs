//! Damaged files of every kind that the program reads: whatever they hold, reading ends in a value or an error.
//!
//! Each reader is given files of ours with random changes. It must not panic, end the process, take more than ten
//! seconds or more than 2 GB. Every run of the tests tries a few; `MPO_FUZZ_SECONDS=3600 cargo test --release -p
//! mpo-tests --test fuzz READER -- --nocapture` tries for an hour, and `MPO_FUZZ_SEED` tries others.

#![allow(clippy::unwrap_used)]

mod campaign;
mod mutate;
mod seeds;

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use campaign::Campaign;
use mpo_chat::{ChatError, ChatModel, Listener, Reply};
use mpo_data::{
    ChatTemplate, Message, ReadOptions, SpecialTokens, TemplateOptions, TemplateSource, TextTokenizer, read,
};
use mpo_eval::{BENCHMARKS, ChatJudge, Exchange, Judge};
use mpo_models::{CausalLm, Checkpoint, ModelConfig};
use mpo_progress::Silent;
use mpo_trainer::{EventLog, Identity, Kind, LogTo, RunFolder, TrainOptions};

#[test]
fn rows() {
    let options = ReadOptions::default();
    let lenient = ReadOptions { skip_bad_rows: true, ..ReadOptions::default() };
    for (name, seeds) in seeds::rows() {
        Campaign::new("rows", name).run(seeds, |path| {
            let strict = outcome(read(path, &options));
            format!("{strict}; {}", outcome(read(path, &lenient)))
        });
    }
}

#[test]
fn configuration() {
    Campaign::new("configuration", "run.yaml")
        .run(seeds::yaml(), |path| outcome(TrainOptions::from_file(path).and_then(TrainOptions::resolve)));
}

#[test]
fn templates() {
    let conversation = [Message::user("How do I boil an egg?")];
    Campaign::new("templates", "chat_template.jinja").run(seeds::templates(), |path| {
        let source = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let template = ChatTemplate::new(
            TemplateSource { file: "chat_template.jinja".into(), text: source }.into(),
            &SpecialTokens::default(),
            &TemplateOptions::default(),
        );
        outcome(template.and_then(|template| template.render(&conversation[..], true)))
    });
}

#[test]
fn tokenizers() {
    Campaign::new("tokenizers", "tokenizer.json").beside("tokenizer_config.json", &seeds::tokenizer_settings()[0]).run(
        seeds::tokenizers(),
        |path| {
            let tokenizer = TextTokenizer::from_dir(folder(path), &TemplateOptions::default());
            outcome(tokenizer.and_then(|tokenizer| tokenizer.encode_prompt(&[Message::user("Sema jambo, world! 123")])))
        },
    );
}

#[test]
fn tokenizer_settings() {
    Campaign::new("tokenizer_settings", "tokenizer_config.json").beside("tokenizer.json", &seeds::tokenizers()[0]).run(
        seeds::tokenizer_settings(),
        |path| {
            let tokenizer = TextTokenizer::from_dir(folder(path), &TemplateOptions::default());
            outcome(tokenizer.and_then(|tokenizer| tokenizer.encode_response("Ndiyo.")))
        },
    );
}

#[test]
fn model_configuration() {
    Campaign::new("model_configuration", "config.json")
        .beside("model.safetensors", &seeds::fixture("model.safetensors"))
        .run(seeds::model_configurations(), |path| {
            let folder = folder(path);
            match ModelConfig::from_dir(folder) {
                Ok(_) => outcome(CausalLm::load_frozen(folder, &Device::flex())),
                Err(error) => error.to_string(),
            }
        });
}

#[test]
fn weights() {
    Campaign::new("weights", "model.safetensors").run(seeds::weights(), |path| {
        outcome(Checkpoint::open(folder(path)).and_then(|checkpoint| {
            checkpoint.names().try_for_each(|name| checkpoint.tensor_f32(name, &[2, 3]).map(drop))
        }))
    });
}

#[test]
fn shards() {
    Campaign::new("shards", "model.safetensors.index.json")
        .beside("a.safetensors", &seeds::weights()[0])
        .run(seeds::indices(), |path| outcome(Checkpoint::open(folder(path))));
}

#[test]
fn benchmarks() {
    for benchmark in BENCHMARKS {
        let file = seeds::benchmark(benchmark.name);
        let campaign = Campaign::new("benchmarks", file.name);
        let campaign = match file.beside {
            Some((name, text)) => campaign.beside(name, text.as_bytes()),
            None => campaign,
        };
        campaign.run(file.seeds, |path| {
            let opened = path.ancestors().nth(file.levels).unwrap();
            outcome(benchmark.items(opened, &[], None))
        });
    }
}

#[test]
fn events() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("run");
    let run = RunFolder::create(&folder, Kind::Train, Identity::default()).unwrap();
    // The log is one that the run began itself.
    drop(EventLog::open(&run, 0, None, &Silent).unwrap());
    Campaign::new("events", "events.jsonl").run(seeds::events(), |path| {
        fs::copy(path, run.events_file()).unwrap();
        outcome(EventLog::open(&run, 1, Some(LogTo::Tensorboard), &Silent))
    });
}

#[test]
fn replies() {
    Campaign::new("replies", "reply.txt").run(seeds::replies(), |path| {
        let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let mut says = Says(text);
        let mut judge = ChatJudge::new(&mut says, "judge");
        let exchange = [Exchange { language: "sw".parse().ok(), prompt: "Naweza kuogelea?", answer: "Ndiyo." }];
        let safety = judge.safety(&exchange, &Silent).unwrap();
        let refusal = judge.refusal(&exchange, &Silent).unwrap();
        format!("read: {:?}, {:?}", safety[0].verdict, refusal[0].verdict)
    });
}

/// What a reader came to, in words.
fn outcome<T, E: std::fmt::Display>(result: Result<T, E>) -> String {
    match result {
        Ok(_) => "read".into(),
        Err(error) => error.to_string(),
    }
}

fn folder(file: &Path) -> &Path {
    file.parent().unwrap()
}

/// A judge that says the same whatever it is asked.
struct Says(String);

impl ChatModel for Says {
    fn identity(&self) -> String {
        "one who repeats itself".into()
    }

    fn answer(&mut self, conversations: &[Vec<Message>], listener: &mut dyn Listener) -> Result<(), ChatError> {
        for number in 0..conversations.len() {
            let reply = Reply::Answer { text: self.0.clone(), complete: true, usage: Default::default() };
            listener.reply(number, &reply);
        }
        Ok(())
    }
}
