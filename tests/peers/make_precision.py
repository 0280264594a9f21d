"""Makes autocast.json in every folder of tests/fixtures/goldens: what PyTorch computes under torch.autocast(bfloat16).

Usage: make_precision.py [GOLDEN_DIR ...]
On the CPU, with eager attention and the weights and ids of the folder. Written are the log-prob of every predicted token of
both sequences, under autocast and in f32 (`token_log_probs`, `token_log_probs_f32`); how far autocast moves each weight's
gradient of their mean, relative to its norm in f32 (`grad_error`); and of the folder's ids and of others drawn at random the
mean's negative at each of ten steps of AdamW (`runs`). Where rounding takes ten steps is chance: from ids to ids the distance
differs by a factor of three, so that one run says little.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils.logging import disable_progress_bar


def token_log_probs(model: PreTrainedModel, ids: Tensor, *, autocast: bool) -> Tensor:
    """log p of every token but the first after those before it, [sequences, length - 1], f32."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        logits = model(input_ids=ids, use_cache=False).logits
    return logits[:, :-1].float().log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)


def forward_and_backward(model: PreTrainedModel, ids: Tensor, *, autocast: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """The log-probs, and the gradients of their mean by the weights' names."""
    model.zero_grad()
    log_probs = token_log_probs(model, ids, autocast=autocast)
    log_probs.mean().backward()
    return log_probs.detach(), {name: weight.grad.double() for name, weight in model.named_parameters()}


def losses(folder: Path, ids: Tensor, *, autocast: bool) -> list[float]:
    """The mean negative log-prob before each of ten steps, all weights trained in f32 and gradients clipped to norm 1."""
    model = load(folder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0)
    seen = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = -token_log_probs(model, ids, autocast=autocast).mean()
        seen.append(loss.item())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return seen


def drawn(ids: Tensor) -> list[Tensor]:
    """Other ids of the same shape."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(3, 250, ids.shape, generator=generator) for _ in range(5)]


def run(folder: Path, ids: Tensor) -> dict[str, list]:
    """Ten steps on these ids, in both types."""
    both = {"losses": True, "losses_f32": False}
    return {"ids": ids.tolist()} | {key: losses(folder, ids, autocast=autocast) for key, autocast in both.items()}


def load(folder: Path) -> PreTrainedModel:
    """The folder's model in f32."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def main() -> None:
    """Writes the files."""
    goldens = Path(__file__).parent.parent / "fixtures" / "goldens"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", default=sorted(path.parent for path in goldens.glob("*/model.safetensors")))
    args = parser.parse_args()
    disable_progress_bar()
    # The order of a sum is part of its result.
    torch.set_num_threads(1)
    for folder in args.folders:
        ids = load_file(folder / "goldens.safetensors")["input_ids"]
        model = load(folder)
        log_probs, gradients = forward_and_backward(model, ids, autocast=True)
        exact, exact_gradients = forward_and_backward(model, ids, autocast=False)
        numbers = {
            "torch": torch.__version__,
            "token_log_probs": log_probs.flatten().tolist(),
            "token_log_probs_f32": exact.flatten().tolist(),
            "grad_error": {
                name: ((gradients[name] - exact).norm() / exact.norm()).item()
                for name, exact in exact_gradients.items()
            },
        }
        # A line each.
        runs = [json.dumps(run(folder, ids)) for ids in [ids, *drawn(ids)]]
        text = json.dumps(numbers, indent=1).removesuffix("\n}") + ',\n "runs": [\n  ' + ",\n  ".join(runs) + "\n ]\n}\n"
        (folder / "autocast.json").write_text(text)
        print(folder.name, f"rounding moves log-probs by {(log_probs - exact).norm() / exact.norm():.1e}")


if __name__ == "__main__":
    main()
