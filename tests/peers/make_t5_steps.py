"""Makes three MPO steps of the small mT5 of tests/fixtures/goldens/mt5, in plain PyTorch on Transformers' model.

Usage: make_t5_steps.py OUT.json
One row a step, AdamW (1e-3, betas 0.9 and 0.999, eps 1e-8, no decay), gradients clipped to a norm of 1, f32 on the CPU, no
dropout. The loss is (RG_target - RG_dominant of the reference)² + the mean square between policy and reference of what the
encoder makes of the dominant prompt:
- `last_token`: at its last token;
- `mean_pool`: its mean over the prompt and padding up to a multiple of 8, which sees the prompt and is not seen.
RG is the mean log-probability per token of the safe answer, minus that of the unsafe one.
"""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor
from transformers import MT5ForConditionalGeneration, PreTrainedModel

SEED, ROWS, LR = 12, 3, 1e-3
PAD, MULTIPLE = 0, 8


def load(folder: Path) -> PreTrainedModel:
    return MT5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def gap(model: PreTrainedModel, prompt: list[int], chosen: list[int], rejected: list[int]) -> Tensor:
    def mean(answer: list[int]) -> Tensor:
        labels = torch.tensor([answer])
        logits = model(input_ids=torch.tensor([prompt]), labels=labels, use_cache=False).logits
        return logits.log_softmax(-1).gather(-1, labels[..., None]).mean()

    return mean(chosen) - mean(rejected)


def held(model: PreTrainedModel, prompt: list[int], retain: str) -> Tensor:
    missing = -len(prompt) % MULTIPLE if retain == "mean_pool" else 0
    mask = [1] * len(prompt) + [0] * missing
    ids = torch.tensor([prompt + [PAD] * missing])
    states = model.encoder(input_ids=ids, attention_mask=torch.tensor([mask])).last_hidden_state[0]
    return states.mean(0) if retain == "mean_pool" else states[-1]


def run(folder: Path, rows: list[dict], retain: str) -> list[dict]:
    policy, reference = load(folder), load(folder)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=LR, weight_decay=0.0)
    steps = []
    for row in rows:
        target, dominant = ([row[f"{side}_{part}_ids"] for part in ("prompt", "chosen", "rejected")] for side in ("target", "source"))
        with torch.no_grad():
            goal, before = gap(reference, *dominant), held(reference, dominant[0], retain)
        of_target = gap(policy, *target)
        retained = (held(policy, dominant[0], retain) - before).square().mean()
        loss = (of_target - goal).square() + retained
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        steps.append({"loss": loss.item(), "rg_t": of_target.item(), "rg_d": goal.item(), "grad_norm": norm.item()})
    return steps


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(__file__).parent.parent / "fixtures" / "goldens" / "mt5"
    draw = torch.Generator().manual_seed(SEED)

    def ids(least: int, most: int) -> list[int]:
        length = int(torch.randint(least, most, (1,), generator=draw))
        return torch.randint(2, 96, (length,), generator=draw).tolist()

    def row() -> dict:
        sides = {}
        for side in ("source", "target"):
            sides |= {f"{side}_prompt_ids": ids(5, 20), f"{side}_chosen_ids": ids(3, 9), f"{side}_rejected_ids": ids(3, 9)}
        return sides

    rows = [row() for _ in range(ROWS)]
    report = {"rows": rows} | {retain: run(folder, rows, retain) for retain in ("last_token", "mean_pool")}
    Path(sys.argv[1]).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
