//! The user's token, from where Hugging Face's own programs have it.

use std::path::PathBuf;
use std::{env, fs};

use hf_hub::hf_home;

/// That of `HF_TOKEN`, or of the file of a login.
pub(super) fn token() -> Option<String> {
    let file = |path: PathBuf| fs::read_to_string(path).ok();
    let given = |token: String| Some(token.trim().to_owned()).filter(|token| !token.is_empty());
    let variable = env::var("HF_TOKEN").ok();
    let named = || env::var_os("HF_TOKEN_PATH").and_then(|path| file(path.into()));
    let login = || file(hf_home().join("token"));
    variable.and_then(given).or_else(|| named().and_then(given)).or_else(|| login().and_then(given))
}
