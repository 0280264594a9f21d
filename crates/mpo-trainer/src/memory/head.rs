//! The head, whose logits are made a tile at a time.

use mpo_models::DecoderConfig;

use super::{Hardware, Passes, Storage};

/// Of the CPU's kernel (`vocabulary/head/native.rs`): runs of columns, each with a gradient of the hidden states of its own.
const RUNS: u64 = 16;
/// Of the CPU's kernel: columns of a tile, and logits of a block, which each thread has twice.
const COLUMNS: u64 = 256;
const BLOCK: u64 = 512 * COLUMNS;
/// Of the GPU's kernel (`vocabulary/head/cube.rs`): the most bytes of a tile of logits.
const TILE_BYTES: u64 = 256 << 20;

/// Bytes while its backward runs, beside its gradient: hidden states of the tokens that are scored, the gradients of these,
/// a tile of logits with its gradient, and on the CPU the logits that the forward kept. A pass's are gone before the next.
pub(super) fn at_work(model: &DecoderConfig, passes: &Passes, storage: Storage, hardware: Hardware) -> u64 {
    let (hidden, vocabulary) = (model.hidden_size as u64, model.vocab_size as u64);
    let rows = passes.largest.scored.max(passes.largest.compared) as u64;
    // The states, and their transpose or gradient.
    let states = rows * hidden;
    match hardware {
        Hardware::Cpu { threads } => {
            let tiles = threads as u64 * 2 * BLOCK.min(rows * vocabulary);
            let kept = storage.head_memory.min(4 * passes.largest.scored as u64 * vocabulary);
            4 * ((2 + RUNS) * states + tiles) + kept
        }
        Hardware::Gpu => {
            let columns = vocabulary.min(TILE_BYTES / (4 * rows.max(1)));
            let cast = if storage.casts_head(hardware) { columns * hidden * storage.computed() } else { 0 };
            2 * 4 * rows * columns + 3 * 4 * states + cast
        }
    }
}

/// Bytes while its gradient is added to the sum of an embedding's, a tile at a time: the tile of logits with its gradient, and
/// what it adds. On a GPU that is a quarter of a tile's bytes at most.
pub(super) fn adding(model: &DecoderConfig, passes: &Passes, storage: Storage, hardware: Hardware) -> u64 {
    let (hidden, vocabulary) = (model.hidden_size as u64, model.vocab_size as u64);
    let rows = (passes.largest.scored as u64).max(1);
    match hardware {
        Hardware::Cpu { threads } => {
            4 * threads as u64 * (2 * BLOCK.min(rows * vocabulary) + vocabulary.min(COLUMNS) * hidden)
        }
        Hardware::Gpu => {
            let columns = vocabulary.min(TILE_BYTES / 4 / (4 * hidden)).min(TILE_BYTES / (4 * rows));
            let cast = if storage.casts_head(hardware) { columns * hidden * storage.computed() } else { 0 };
            2 * 4 * rows * columns + 4 * columns * hidden + cast
        }
    }
}

#[cfg(test)]
mod tests {
    use mpo_models::Precision;

    use super::super::testing::{PLAIN, llama_8b, passes, tiny};
    use super::*;

    #[test]
    fn by_hand() {
        // Five rows of 16: the states and their transpose, sixteen gradients, and two tiles of 5·32 for each thread.
        let cpu = Hardware::Cpu { threads: 2 };
        assert_eq!(at_work(&tiny(), &passes(10, 5), PLAIN, cpu), 4 * (18 * 80 + 2 * 2 * 160));
        // All logits are kept, or as many as there is room for.
        let kept = |head_memory| at_work(&tiny(), &passes(10, 5), Storage { head_memory, ..PLAIN }, cpu);
        assert_eq!([kept(600) - kept(0), kept(10_000) - kept(0)], [600, 4 * 5 * 32]);
        // A tile of 2,000 rows of LLaMA 8B is cut at 256 MiB.
        let gpu = at_work(&llama_8b(), &passes(4_096, 2_000), PLAIN, Hardware::Gpu);
        assert_eq!(gpu, 2 * 4 * 2_000 * 33_554 + 3 * 4 * 2_000 * 4_096);
        let bf16 = Storage { precision: Precision::Bf16, ..PLAIN };
        let cast = at_work(&llama_8b(), &passes(4_096, 2_000), bf16, Hardware::Gpu) - gpu;
        assert_eq!(cast, 2 * 33_554 * 4_096);
    }

    #[test]
    fn adding_by_hand() {
        let cpu = Hardware::Cpu { threads: 2 };
        assert_eq!(adding(&tiny(), &passes(10, 5), PLAIN, cpu), 4 * 2 * (2 * 160 + 32 * 16));
        // Of LLaMA 8B's head 4,096 rows are 64 MiB.
        let gpu = adding(&llama_8b(), &passes(4_096, 2_000), PLAIN, Hardware::Gpu);
        assert_eq!(gpu, 2 * 4 * 2_000 * 4_096 + (64 << 20));
    }
}
