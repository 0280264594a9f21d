//! What training takes from a model's folder.

use mpo_chat::ModelFolder;
use mpo_trainer::Base;

/// A model, whose content hash is `hash`, as a run begins with it.
pub fn base<'a>(folder: &'a ModelFolder, hash: &'a str) -> Base<'a> {
    Base {
        path: folder.base_dir(),
        tokenizer: folder.tokenizer_dir(),
        adapter: folder.adapter.as_ref(),
        config: &folder.config,
        hash,
        pad_token: folder.pad_token(),
        chat_template: folder.template_to_save(),
    }
}
