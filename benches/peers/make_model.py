"""Writes a model of random weights from a configuration: a model's shape to measure where its weights cannot be had."""

import argparse
import json
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel


def build(folder: Path) -> PreTrainedModel:
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if not config.is_encoder_decoder:
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model = AutoModelForSeq2SeqLM.from_config(config, dtype=torch.float32)
    fields = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not fields.get("tie_word_embeddings", True):
        # Transformers 5 ties the head whatever the file says, unless a checkpoint holds another.
        head = torch.randn_like(model.lm_head.weight) * config.initializer_factor
        model.lm_head.weight = torch.nn.Parameter(head)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="folder with a config.json")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    model = build(args.config)
    model.save_pretrained(args.out)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters in {args.out}")


if __name__ == "__main__":
    main()
