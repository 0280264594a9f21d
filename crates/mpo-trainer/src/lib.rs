//! The run: configuration, reference cache, step, optimizer, schedule, checkpoints, events.
//!
//! The smallest program that trains a model on a file of pairs in two languages:
//!
//! ```no_run
//! use std::path::Path;
//!
//! use burn::tensor::Device;
//! use mpo_data::TextTokenizer;
//! use mpo_models::{CausalLm, Checkpoint, ModelError};
//! use mpo_progress::Silent;
//! use mpo_trainer::{
//!     Base, Identity, Kind, Run, RunFolder, TrainError, TrainOptions, read_data,
//! };
//!
//! let config = TrainOptions {
//!     model: Some("models/qwen".into()),
//!     data: Some("rows.jsonl".into()),
//!     output: Some("runs/first".into()),
//!     ..TrainOptions::default()
//! }
//! .resolve()?;
//! let path = Path::new(&config.model);
//! let tokenizer = TextTokenizer::from_dir(path, &config.template_options())?;
//! let data = read_data(&config, config.pivot, &Silent)?;
//! let (rows, _) = data.rows.tokenize(&tokenizer, config.tokenize_options()?)?;
//!
//! let (model, model_config) = CausalLm::load(path, &Device::default().autodiff())?;
//! let hash = Checkpoint::open(path).and_then(|checkpoint| checkpoint.content_hash()).map_err(ModelError::from)?;
//! let pad_token = tokenizer.pad_id();
//! let base = Base {
//!     path,
//!     tokenizer: path,
//!     adapter: None,
//!     config: &model_config,
//!     hash: &hash,
//!     pad_token,
//!     chat_template: None,
//! };
//! let folder = RunFolder::create(&config.output, Kind::Train, Identity::new(config.deciding()?))?;
//! let run = Run { config: &config, folder: &folder, base, prompts: None, watch: None };
//! let trained = run.train(model, rows, &Silent, &mut |event| println!("{event:?}"))?;
//! run.save(&trained.model, None, &Silent)?;
//! # Ok::<(), TrainError>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batches;
mod checkpoint;
mod consistency;
mod early_stop;
mod error;
mod events;
mod extend;
mod folder;
mod harm_note;
mod held_out;
mod lowered;
pub mod memory;
mod mlflow;
mod optimizer;
mod pairs;
mod ranks;
mod reference;
mod rows;
mod run;
mod score;
mod settings;
mod step;
mod tasks;
mod tensorboard;
mod time_left;
mod train;
mod warnings;

pub use consistency::{ConsistencyTerm, check_consistency};
pub use error::TrainError;
pub use events::{Event, EventLog, LoggedEvent, MeasuredEvent, RowValues, StartedEvent, StepEvent};
pub use extend::Extension;
pub use folder::{
    BEFORE_FILE, CHECKPOINTS, CONFIG_FILE, EVENTS_FILE, Identity, Kind, REPORT_FILE, RESULTS_FILE, RunFolder,
    check_ours, check_page, check_writable, is_edited, is_marked, is_written, read_checked, read_file, share,
    write_atomically,
};
pub use harm_note::with_harm_notes;
pub use held_out::{HeldOut, SampledAnswer, Sampler, Watch, check_held_out};
pub use lowered::warn_of_lowered_gaps;
pub use pairs::{PairParts, PairScores};
pub use ranks::{check_alike, program, told_by_first};
pub use reference::{AnswerToScore, Reference};
pub use rows::{check_pairs, consistency_rows, pivoted, read_data, read_options, read_rows, warn_of_one_class};
pub use run::{Base, Run, saved_dtype};
pub use score::{ScoredRow, score_rows, score_rows_among};
pub use settings::{
    AdapterKind, Choice, ConsistencyKind, Decides, DeviceChoice, HyperParameter, HyperParameters, LogTo, LoraTargets,
    Measure, Method, OptimizerState, OurFlag, Places, PrecisionChoice, QuantizationChoice, Recipe, Recompute, SETTINGS,
    SaveDtype, Schedule, Setting, Shares, Sources, Takes, TrainConfig, TrainOptions, at_home, flag_elsewhere,
    hyper_parameters, typed_value,
};
pub use tasks::{
    MicroBatch, Reduction, Shared, Task, Work, assumed_row_size, build_task, check_rows, digest_rows, prompt_sizes,
    row_sizes,
};
pub use train::{Trained, Trainer};
