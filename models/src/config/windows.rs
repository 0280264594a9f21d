//! Which layers attend to a window.

use super::ConfigError;
use super::fields::{COMPARE, Fields};

/// The window of the layers that slide; where the key is missing, as large as Transformers takes it.
pub(super) fn sliding_window(fields: &Fields<'_>) -> Result<Option<usize>, ConfigError> {
    if fields.has("sliding_window") { fields.optional_size("sliding_window") } else { Ok(Some(4096)) }
}

/// Of so many layers the last does not slide: in the file's words, or those of the last releases of Transformers 4, which
/// wrote a private attribute.
pub(super) fn period(fields: &Fields<'_>, default: usize) -> Result<usize, ConfigError> {
    let period = match fields.optional_size("sliding_window_pattern")? {
        Some(period) => Some(period),
        None => fields.optional_size("_sliding_window_pattern")?,
    };
    Ok(period.unwrap_or(default))
}

/// The window of each layer: as `layer_types` says where the file has it, else as the architecture's `slides` does.
pub(super) fn windows(
    fields: &Fields<'_>,
    num_layers: usize,
    window: Option<usize>,
    slides: impl Fn(usize) -> bool,
) -> Result<Vec<Option<usize>>, ConfigError> {
    let invalid = || {
        let expected = format!("{num_layers} of full_attention or sliding_attention, one per layer");
        fields.error("layer_types", expected, COMPARE)
    };
    let sliding: Vec<bool> = match fields.texts("layer_types")? {
        None => (0..num_layers).map(slides).collect(),
        Some(types) if types.len() == num_layers => types
            .into_iter()
            .map(|layer_type| match layer_type {
                "full_attention" => Ok(false),
                "sliding_attention" => Ok(true),
                _ => Err(invalid()),
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(invalid()),
    };
    if window.is_none() && sliding.contains(&true) {
        let expected = "a window in use, as some layers slide";
        return Err(fields.error("sliding_window", expected, COMPARE));
    }
    Ok(sliding.into_iter().map(|slides| window.filter(|_| slides)).collect())
}
