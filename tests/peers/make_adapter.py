"""Makes an adapter with PEFT, and the golden numbers of three MPO steps of it, for tests/adapter.rs.

Usage: make_adapter.py OUT_DIR [--base GOLDEN_DIR]
The base is a small model of tests/fixtures/goldens. The adapter has another rank and scale for some linear maps, and an
update that is not zero, so that every weight of it has a gradient from the first step on. Written are adapter_config.json
and adapter_model.safetensors as PEFT saves them, goldens.json (rows of token ids, and what each step came to) and
goldens.safetensors (logits, and the gradient of every weight of the adapter at each step).

The loss is MPO's in the paper's form: (gap of the target - gap of the dominant language under the reference)^2, gaps of mean
log-probabilities per token, plus the mean square of what the hidden state at the dominant prompt's last token has moved by.
The reference is the adapted model before the first step. AdamW as in PyTorch, without decay and clipping; one row a step.
Everything is f32 on the CPU with eager attention.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import peft
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

SEED = 5
STEPS = 3
LEARNING_RATE = 1e-2
PROMPT, ANSWERS = 6, (5, 7)


def random_ids(generator: torch.Generator, length: int) -> list[int]:
    return torch.randint(3, 320, (length,), generator=generator).tolist()


def make_row(generator: torch.Generator) -> dict[str, dict[str, list[int]]]:
    def pair() -> dict[str, list[int]]:
        lengths = {"prompt": PROMPT, "chosen": ANSWERS[0], "rejected": ANSWERS[1]}
        return {name: random_ids(generator, length) for name, length in lengths.items()}

    return {"dominant": pair(), "target": pair()}


def logits_of(model: PeftModel, ids: list[int]) -> Tensor:
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def mean_log_prob(model: PeftModel, prompt: list[int], answer: list[int]) -> Tensor:
    log_probs = logits_of(model, prompt + answer)[len(prompt) - 1 : -1].log_softmax(-1)
    return log_probs.gather(-1, torch.tensor(answer)[:, None]).mean()


def gap(model: PeftModel, pair: dict[str, list[int]]) -> Tensor:
    return mean_log_prob(model, pair["prompt"], pair["chosen"]) - mean_log_prob(model, pair["prompt"], pair["rejected"])


def last_state(model: PeftModel, prompt: list[int]) -> Tensor:
    decoder = model.get_base_model().model
    return decoder(input_ids=torch.tensor([prompt]), use_cache=False).last_hidden_state[0, -1]


def adapt(base_dir: Path) -> PeftModel:
    """The base with an adapter of two ranks and two scales, none of whose updates is zero."""
    base = AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32, attn_implementation="eager")
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=2,
        lora_alpha=5,
        target_modules="all-linear",
        rank_pattern={"layers.1.mlp.down_proj": 3},
        alpha_pattern={"v_proj": 3},
    )
    torch.manual_seed(SEED)
    model = get_peft_model(base, config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0.0, 0.1)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out_dir", type=Path)
    goldens = Path(__file__).parent.parent / "fixtures" / "goldens"
    parser.add_argument("--base", type=Path, default=goldens / "qwen2_untied")
    args = parser.parse_args()
    disable_progress_bar()
    # The order of a sum is part of its f32 result.
    torch.set_num_threads(1)

    model = adapt(args.base)
    args.out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        shutil.copy(Path(saved) / "adapter_model.safetensors", args.out_dir)
        config = json.loads((Path(saved) / "adapter_config.json").read_text())
    # Beside the adapter, so that the fixture can lie anywhere; and sets in one order.
    config["base_model_name_or_path"] = f"../{args.base.name}"
    config["target_modules"] = sorted(config["target_modules"])
    (args.out_dir / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")

    generator = torch.Generator().manual_seed(SEED)
    rows = [make_row(generator) for _ in range(STEPS)]
    ids = random_ids(generator, 12)
    with torch.inference_mode():
        tensors = {"logits": logits_of(model, ids)}
        gaps = [gap(model, row["dominant"]).item() for row in rows]
        held = [last_state(model, row["dominant"]["prompt"]) for row in rows]
    held = [state.clone() for state in held]

    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    steps = []
    for step, row in enumerate(rows):
        optimizer.zero_grad()
        target = gap(model, row["target"])
        retain = (last_state(model, row["dominant"]["prompt"]) - held[step]).square().mean()
        loss = (target - gaps[step]) ** 2 + retain
        loss.backward()
        for name, weight in trained.items():
            tensors[f"{step}.{name.replace('.default', '')}"] = weight.grad.clone()
        steps.append({"loss": loss.item(), "rg/target": target.item(), "rg/dominant": gaps[step], "loss/retain": retain.item()})
        optimizer.step()
    with torch.inference_mode():
        tensors["logits_after"] = logits_of(model, ids)

    report = {
        "peft": peft.__version__,
        "transformers": transformers.__version__,
        "learning_rate": LEARNING_RATE,
        "rows": rows,
        "ids": ids,
        "steps": steps,
    }
    (args.out_dir / "goldens.json").write_text(json.dumps(report) + "\n")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, args.out_dir / "goldens.safetensors")
    for file in args.out_dir.iterdir():
        # safetensors creates files that only their owner may read.
        file.chmod(0o644)


if __name__ == "__main__":
    main()
