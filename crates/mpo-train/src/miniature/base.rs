//! The model that the miniature starts from: carried by the program, and made by it.
//!
//! To make it again: `mpo-train miniature-model --output runs/base`, then copy `runs/base/model/` over
//! `crates/mpo-train/miniature/model/`.

use std::path::Path;

use mpo_chat::ModelFolder;
use mpo_data::{LabelledAnswer, Message, TokenizedRows};
use mpo_eval::base;
use mpo_models::{CausalLm, Initializer};
use mpo_progress::Progress as _;
use mpo_trainer::{Identity, Kind, Run, RunFolder, SaveDtype, TrainOptions};
use serde_json::json;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, TokenizerBuilder};

use super::corpus::Corpus;
use super::corpus::origin;
use super::path_text;
use crate::failure::Failure;
use crate::progress::Lines;
use crate::session::Session;

/// Longest sequence, in tokens: more than any text of the corpus takes.
const MAX_TOKENS: usize = 256;

const FILES: [(&str, &[u8]); 4] = [
    ("config.json", include_bytes!("../../miniature/model/config.json")),
    ("model.safetensors", include_bytes!("../../miniature/model/model.safetensors")),
    ("tokenizer.json", include_bytes!("../../miniature/model/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../../miniature/model/tokenizer_config.json")),
];

const SEED: u64 = 42;
/// Times the demonstrations are gone through.
const ROUNDS: u64 = 8;
const VOCABULARY: usize = 2_048;
/// In the order of their ids.
const SPECIAL: [&str; 4] = ["<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"];
const TEMPLATE: &str = "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\
    {% if message.role == 'assistant' %}<|end|>{% endif %}{% endfor %}\
    {% if add_generation_prompt %}<|assistant|>{% endif %}";

/// Writes the carried model to a folder in a run's.
pub(super) fn unpack(run: &RunFolder, dir: &Path) -> Result<(), Failure> {
    for (name, contents) in FILES {
        run.start(&dir.join(name), contents)?;
    }
    Ok(())
}

/// Trains the model from nothing on the corpus's demonstrations, in the run folder `output`.
pub(crate) fn build(output: &Path, session: &Session) -> Result<(), Failure> {
    let corpus = Corpus::embedded();
    let run = RunFolder::create(output, Kind::MiniatureModel, Identity::default())?;
    let start = output.join("start");
    train_tokenizer(&corpus, &run, &start)?;
    let config = architecture();
    let text = serde_json::to_vec_pretty(&config).map_err(|error| Failure::io(&start)(error.into()))?;
    run.start(&start.join("config.json"), &text)?;

    let folder = ModelFolder::without_weights(start.clone(), &Default::default())?;
    // Answers are drawn anew each time round: a model shown the same draw twice would learn by heart which prompts to
    // refuse, instead of how often.
    let demonstrations = (SEED..SEED + ROUNDS)
        .flat_map(|seed| corpus.demonstrations(seed))
        .zip(1..)
        .map(|(row, number)| {
            Ok(LabelledAnswer {
                language: row.language,
                prompt: folder.encode_prompt(&[Message::user(row.prompt)])?,
                answer: folder.tokenizer.encode_response(&row.response)?,
                desirable: true,
                is_benign: false,
                origin: origin(number),
            })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let config = TrainOptions {
        model: Some(path_text(&start)?),
        data: Some("miniature".into()),
        output: Some(output.to_owned()),
        max_tokens: Some(MAX_TOKENS),
        method: "sft".parse().ok(),
        save_dtype: Some(SaveDtype::F16),
        lr: Some(3e-3),
        weight_decay: Some(0.1),
        batch_size: Some(64),
        epochs: Some(1.0),
        shuffle: Some(false),
        micro_batch_tokens: Some(8192),
        seed: Some(SEED),
        checkpoint_every: Some(200),
        ..TrainOptions::default()
    }
    .resolve()?;
    run.start(&run.config_file(), config.to_yaml()?.as_bytes())?;
    let device = session.device.clone().autodiff();
    device.seed(SEED);
    let decoder = folder.config.decoder.clone();
    let Ok(model) = CausalLm::new(decoder.clone(), &mut Initializer::new(decoder.norm.offset), &device);
    let work = Run { config: &config, folder: &run, base: base(&folder, "initialized"), prompts: None, watch: None };
    let mut lines = Lines::new(session);
    let trained =
        work.train(model, TokenizedRows::Unpaired(demonstrations), session, &mut |event| lines.event(event))?;
    work.save(&trained.model, None, session)?;
    session.note(&format_args!("the model is in {}", run.model_dir().display()));
    Ok(())
}

/// 1.6 million parameters, of which 0.3 million embeddings.
fn architecture() -> serde_json::Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": 160,
        "intermediate_size": 432,
        "num_hidden_layers": 4,
        "num_attention_heads": 5,
        "num_key_value_heads": 5,
        "head_dim": 32,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": MAX_TOKENS,
        "hidden_act": "silu",
        "tie_word_embeddings": true,
        "attention_bias": false,
        "mlp_bias": false,
        "pad_token_id": 0,
        "eos_token_id": 3,
        "torch_dtype": "float32",
    })
}

/// Byte-level BPE over the corpus, as `tokenizer.json` and `tokenizer_config.json`.
fn train_tokenizer(corpus: &Corpus, run: &RunFolder, dir: &Path) -> Result<(), Failure> {
    let failed = |error: tokenizers::Error| Failure::io(&dir.join("tokenizer.json"))(std::io::Error::other(error));
    let special = SPECIAL.map(|token| AddedToken::from(token, true)).to_vec();
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(VOCABULARY)
        .min_frequency(2)
        .show_progress(false)
        .special_tokens(special)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let byte_level = ByteLevel::default().add_prefix_space(false);
    let mut tokenizer = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None::<tokenizers::NormalizerWrapper>)
        .with_pre_tokenizer(Some(byte_level))
        .with_post_processor(None::<tokenizers::PostProcessorWrapper>)
        .with_decoder(Some(byte_level))
        .build()
        .map_err(failed)?;
    tokenizer.train(&mut trainer, corpus.text()).map_err(failed)?;
    let tokenizer = tokenizer.to_string(false).map_err(failed)?;
    run.start(&dir.join("tokenizer.json"), tokenizer.as_bytes())?;
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIAL[3],
        "pad_token": SPECIAL[0],
        "chat_template": TEMPLATE,
        "model_max_length": MAX_TOKENS,
    });
    let config = serde_json::to_vec_pretty(&config).map_err(|error| Failure::io(dir)(error.into()))?;
    Ok(run.start(&dir.join("tokenizer_config.json"), &config)?)
}
