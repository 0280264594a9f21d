//! Which model a command works with.

use clap::Args;
use mpo_chat::ModelFolder;
use mpo_data::{SystemMessage, TemplateArgument, TemplateChoice, TemplateOptions};
use mpo_models::CausalLm;
use mpo_trainer::{DeviceChoice, PrecisionChoice};

use crate::failure::Failure;
use crate::flags::{choices, devices};
use crate::session::Session;

/// A model, and where and how it reads text.
#[derive(Debug, Args)]
pub(crate) struct ModelArguments {
    /// Model: a folder in Hugging Face layout, or owner/name on the hub
    #[arg(long, value_name = "DIR|NAME", value_parser = super::home::model)]
    pub(crate) model: String,
    /// Chat template: auto (the model's own), llama3, gemma, qwen, plain, or a Jinja file
    #[arg(long, value_name = "NAME|FILE", default_value = "auto", value_parser = super::home::template)]
    pub(crate) template: TemplateChoice,
    /// Argument of the chat template, such as enable_thinking=false: JSON, else text; may be given several times
    #[arg(long = "template-arg", value_name = "NAME=VALUE")]
    pub(crate) template_args: Vec<TemplateArgument>,
    /// A system message that the chat template refuses or leaves out: keep (an error) or merge (into the first user turn)
    #[arg(long, value_name = "CHOICE", default_value = "keep")]
    pub(crate) system_message: SystemMessage,
    /// Let control tokens that texts spell out, such as </s>, be control tokens
    #[arg(long)]
    pub(crate) special_tokens_in_text: bool,
    /// Where to compute
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = devices())]
    pub(crate) device: DeviceChoice,
    /// What matrix products are made in
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = choices::<PrecisionChoice>())]
    pub(crate) precision: PrecisionChoice,
}

impl ModelArguments {
    /// How conversations are written.
    pub(crate) fn template_options(&self) -> TemplateOptions {
        TemplateOptions {
            template: self.template.clone(),
            arguments: self.template_args.iter().cloned().collect(),
            system_message: self.system_message,
            special_tokens_in_text: self.special_tokens_in_text,
        }
    }

    /// Reads the weights of a model that is asked, with its products made as wanted.
    pub(crate) fn load(&self, folder: &ModelFolder, session: &Session) -> Result<CausalLm, Failure> {
        Ok(folder.load_in(self.precision.into(), &session.device, session)?)
    }

    /// What the answers of a model are kept by: its hash, and its precision where that is not the usual one.
    pub(crate) fn answers_of(&self, hash: &str) -> String {
        match self.precision {
            PrecisionChoice::F32 => hash.to_owned(),
            PrecisionChoice::Bf16 => format!("{hash} in bf16"),
        }
    }
}
