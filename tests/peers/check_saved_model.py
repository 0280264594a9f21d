"""Checks that Transformers reads a model we saved and computes from it what we computed.

Usage: check_saved_model.py MODEL_DIR REFERENCE.safetensors
The reference holds `input_ids` [B, T] and our f32 `logits` [B, T, V] for them; where prompts go into an encoder,
`decoder_input_ids` [B, T] that the logits are for. Exits 1 when they disagree.
"""

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.utils.logging import disable_progress_bar

TOLERANCE = 1e-4


def transformers_logits(model_dir: Path, inputs: dict[str, Tensor]) -> Tensor:
    """Logits in f32; a tensor that is not in the files is an error, for Transformers would make it up at random."""
    # Eager attention is the one that every architecture defines in full: Gemma 2's soft-cap has no other.
    kind = AutoModelForSeq2SeqLM if "decoder_input_ids" in inputs else AutoModelForCausalLM
    model, loading = kind.from_pretrained(
        model_dir,
        dtype=torch.float32,
        attn_implementation="eager",
        local_files_only=True,
        output_loading_info=True,
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if keys := loading.get(problem):
            names = ", ".join(sorted(map(str, keys)))
            raise SystemExit(f"{model_dir}: {problem.replace('_', ' ')}: {names}")
    with torch.inference_mode():
        return model(**inputs, use_cache=False).logits


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """‖actual − expected‖ / ‖expected‖, summed in f64 so that the sum adds no error of its own."""
    actual, expected = actual.double(), expected.double()
    return ((actual - expected).norm() / expected.norm()).item()


def main() -> int:
    """Prints the relative error and compares it with the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("reference", type=Path)
    args = parser.parse_args()

    disable_progress_bar()
    reference = load_file(args.reference)
    ours = reference.pop("logits")
    theirs = transformers_logits(args.model_dir, {name: ids.long() for name, ids in reference.items()})
    if ours.shape != theirs.shape:
        raise SystemExit(f"logits: expected shape {tuple(theirs.shape)}, got {tuple(ours.shape)}")
    error = relative_error(ours, theirs)
    print(f"relative error {error:.2e}, allowed {TOLERANCE:.0e}")
    # Written so that a NaN fails.
    return 0 if error <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
