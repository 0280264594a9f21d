//! What is compiled for a GPU.

use cubecl::config::cache::CacheConfig;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

/// Keeps it on disk from now on, in the user's cache folder: the next run of a model should not compile its kernels again. A `cubecl.toml` says otherwise, as CubeCL's environment variables do.
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
