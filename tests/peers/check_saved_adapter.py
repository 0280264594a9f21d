"""Checks that PEFT reads an adapter we saved and computes from it what we computed.

Usage: check_saved_adapter.py SAVED_DIR
The folder holds `adapter`, whose base is named in it, and `reference.safetensors` with `input_ids` [B, T] and our f32
`logits` [B, T, V] for them. Exits 1 when they disagree.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

TOLERANCE = 1e-4


def main() -> int:
    """Prints the relative error and compares it with the tolerance; every weight of the adapter must be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("saved_dir", type=Path)
    args = parser.parse_args()

    disable_progress_bar()
    adapter = args.saved_dir / "adapter"
    base = json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    model = PeftModel.from_pretrained(model, adapter)
    theirs = {name.replace(".default", ""): weight for name, weight in model.named_parameters() if "lora_" in name}
    ours = load_file(adapter / "adapter_model.safetensors")
    if theirs.keys() != ours.keys() or any(not torch.equal(theirs[name], ours[name]) for name in ours):
        raise SystemExit(f"{adapter}: PEFT has {sorted(theirs)}, the file {sorted(ours)}, or other numbers")
    reference = load_file(args.saved_dir / "reference.safetensors")
    with torch.inference_mode():
        logits = model(input_ids=reference["input_ids"], use_cache=False).logits.double()
        with model.disable_adapter():
            plain = model(input_ids=reference["input_ids"], use_cache=False).logits.double()
    expected = reference["logits"].double()
    error = ((logits - expected).norm() / expected.norm()).item()
    felt = ((plain - expected).norm() / expected.norm()).item()
    print(f"{len(ours)} weights, relative error {error:.2e}, allowed {TOLERANCE:.0e}; without the adapter {felt:.2e}")
    # Written so that a NaN fails.
    return 0 if error <= TOLERANCE and felt > 0.01 else 1


if __name__ == "__main__":
    sys.exit(main())
