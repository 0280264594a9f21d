//! What is compiled for a GPU, and what was found to be the fastest way to compute there.

use cubecl::config::cache::CacheConfig;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

/// Keeps both on disk from now on, in the user's cache folder: on CUDA a new model takes minutes of compiling and trying, and
/// the next run of it should not. A `cubecl.toml` says otherwise, as CubeCL's environment variables do.
///
/// For a whole program, before its first GPU.
pub fn keep_compiled() {
    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    config.compilation.cache = true;
    // CubeCL's own default is the build folder of whatever project it is run in.
    if let CacheConfig::Target = config.environment.path {
        config.environment.path = CacheConfig::Global;
    }
    CubeClRuntimeConfig::try_set(config);
}
