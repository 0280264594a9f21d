//! Gradients: those of a step's passes added up, and those of the pass at work.

use mpo_models::DecoderConfig;

use super::{Hardware, Passes, Storage, Tuning, parameters};
use crate::settings::OptimizerState;

/// Bytes of a gradient.
const F32: u64 = 4;

/// Bytes on the device when the backward of a step's last pass begins, with the head's gradient just made; when it reaches the
/// layers; and when it ends.
pub(super) fn around_backward(
    model: &DecoderConfig,
    passes: &Passes,
    storage: Storage,
    hardware: Hardware,
) -> [u64; 3] {
    let all = storage.tuning.numbers(model);
    let (embeddings, head) = match storage.tuning {
        Tuning::Full => (parameters::embeddings(model), parameters::embedding(model)),
        // Frozen weights have none.
        Tuning::Adapter { .. } => (0, 0),
    };
    let layers = model.num_layers + model.encoder.map_or(0, |encoder| encoder.num_layers);
    let layer = (all - embeddings) / (layers as u64).max(1);
    let again = u64::from(passes.accumulates);
    // Where distributions are compared they give the head another one.
    let begin = head * (1 + u64::from(passes.largest.compared > 0));
    let [begin, layers, end] = if !storage.recompute {
        let begin = begin + again * all;
        [begin, begin, all + again * all]
    } else if storage.tuning != Tuning::Full {
        // Each pass's are added to the sums before the next begins.
        [again * all, again * all, all + again * layer]
    } else if storage.defers_head() {
        if passes.largest.compared > 0 {
            // Distributions give the head one in every pass, and that of the scores is added to it.
            [head * (1 + again), head + (1 + again) * layer, head]
        } else {
            // That of a head of its own comes first in a walk, and is used or gone before the layers; that of a tied one comes
            // with the embedding's, when they are past.
            let own = embeddings - embeddings.min(head);
            [own, (1 + again) * layer, head]
        }
    } else {
        // Passes before this one have given the head's.
        let begin = begin + again * head;
        let end = if is_dropped(storage, hardware) || storage.ranks > 1 {
            // A layer's is used or gone before the next comes; the embedding's stay to the end.
            embeddings + (1 + again) * layer
        } else {
            all + again * layer
        };
        [begin, begin, end]
    };
    // Of layers that are run again ranks keep the parts that are theirs, which come to be one after another.
    let kept = if storage.ranks > 1 && storage.recompute { storage.own(model) } else { 0 };
    [begin, layers, end + kept].map(|numbers| F32 * numbers)
}

/// Whether gradients of layers that are run again leave the device one layer at a time.
fn is_dropped(storage: Storage, hardware: Hardware) -> bool {
    match storage.optimizer_state {
        OptimizerState::Device => !storage.clips,
        OptimizerState::Bf16 => true,
        OptimizerState::Host => !storage.clips || hardware == Hardware::Gpu,
    }
}

#[cfg(test)]
mod tests {
    use super::super::RowSize;
    use super::super::testing::{PLAIN, adapter, passes, tiny};
    use super::*;

    #[test]
    fn by_hand() {
        let (model, cpu) = (tiny(), Hardware::Cpu { threads: 2 });
        let around = |passes: &Passes, storage| around_backward(&model, passes, storage, cpu);
        let (all, head) = (model.num_parameters() * 4, 512 * 4);
        // A layer, and its part of the final norm.
        let layer = (2_304 + 32 + 8) * 4;
        let one = passes(10, 5);
        let several = Passes { accumulates: true, ..one };
        // The same until the backward reaches the layers, but where the head's gradient comes in the walk.
        let twice = |begin, end| [begin, begin, end];
        assert_eq!(around(&one, PLAIN), twice(head, all));
        assert_eq!(around(&several, PLAIN), twice(head + all, 2 * all));
        let again = Storage { recompute: true, ..PLAIN };
        assert_eq!(around(&several, again), twice(2 * head, all + layer));
        let kl = Passes { largest: RowSize { compared: 3, ..one.largest }, ..one };
        assert_eq!(around(&kl, PLAIN), twice(2 * head, all));
        let bf16 = Storage { optimizer_state: OptimizerState::Bf16, ..again };
        let dropped = Storage { clips: false, ..again };
        assert_eq!(around(&one, dropped), twice(head, 2 * head + layer));
        assert_eq!(around(&several, dropped), twice(2 * head, 2 * head + 2 * layer));
        // The head's is made and used at once, and the embedding's at the end.
        assert_eq!(around(&one, bf16), [head, layer, head]);
        assert_eq!(around(&several, bf16), [head, 2 * layer, head]);
        let tied = DecoderConfig { tie_word_embeddings: true, ..tiny() };
        assert_eq!(around_backward(&tied, &one, bf16, cpu), [0, layer, head]);
        assert_eq!(around(&kl, bf16), [head, head + layer, head]);
        let several_of_kl = Passes { accumulates: true, ..kl };
        assert_eq!(around(&several_of_kl, bf16), [2 * head, head + 2 * layer, head]);
        let adapter = Storage { tuning: adapter(700), ..PLAIN };
        assert_eq!(around(&one, adapter), twice(0, 700 * 4));
        for state in [OptimizerState::Device, OptimizerState::Bf16] {
            let again = Storage { recompute: true, optimizer_state: state, ..adapter };
            assert_eq!(around(&several, again), twice(700 * 4, (700 + 700 / 2) * 4));
        }
        // On the host gradients wait apart from a GPU, and beside the weights where both are one.
        let host = Storage { optimizer_state: OptimizerState::Host, ..again };
        assert_eq!(around(&one, host), twice(head, all));
        assert_eq!(around_backward(&model, &one, host, Hardware::Gpu), twice(head, 2 * head + layer));
        // Of two ranks each keeps half of what is past, and what is not run again lies there whole.
        assert_eq!(around(&one, again.among(2)), twice(head, 2 * head + layer + all / 2));
        assert_eq!(around(&one, PLAIN.among(2)), twice(head, all));
        assert_eq!(around(&one, bf16.among(2)), [head, layer, head + all / 2]);
    }
}
