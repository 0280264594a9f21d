"""One MPO training step in PyTorch, arranged as the authors' released trainer arranges it.

A frozen reference model stays in memory beside the policy and runs at every step, and every pair goes through the
vocabulary head whole. That cost is the point: `compare_step.py` measures our step against it. With an adapter the reference
is the policy without it, as is usual with PEFT. Where the model has an encoder, prompts go into that and answers into the
decoder, and what is held in place are the encoder's states. The numbers are checked
against the golden losses whenever the rows file carries them, so that the timing is of the right computation.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

IGNORED = -100
GOLDEN_STEPS = 3
# The paper's squared norm amplifies rounding: PyTorch is as far from itself with another number of threads.
GOLDEN_TOLERANCE = {"released": 1e-4, "paper": 1e-2}

Row = dict[str, Any]


@dataclass(frozen=True)
class PairBatch:
    """A chosen and a rejected sequence as one batch `[2, T]`, right-padded to the longer.

    An encoder is given the prompt twice; then labels have the length of the longer response.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor

    @classmethod
    def from_row(cls, row: Row, side: str, args: argparse.Namespace) -> "PairBatch":
        """Joins the prompt of `side` with both responses; prompt and padding carry no label."""
        prompt = row[f"{side}_prompt_ids"]
        responses = [row[f"{side}_chosen_ids"], row[f"{side}_rejected_ids"]]
        inputs = [prompt if args.has_encoder else prompt + response for response in responses]
        unlabelled = [] if args.has_encoder else [IGNORED] * len(prompt)

        def padded(rows: Sequence[list[int]], filler: int) -> Tensor:
            length = max(map(len, rows))
            return torch.tensor([ids + [filler] * (length - len(ids)) for ids in rows])

        return cls(
            input_ids=padded(inputs, args.pad_id),
            attention_mask=padded([[1] * len(ids) for ids in inputs], 0),
            labels=padded([unlabelled + response for response in responses], IGNORED),
        )


@dataclass(frozen=True)
class PairOutput:
    """What the loss needs of one pair: its reward gap (a scalar) and its last hidden states `[2, T, H]`, the encoder's if
    there is one."""

    reward_gap: Tensor
    hidden: Tensor


def mean_log_probs(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean log-probability of the labelled tokens of each sequence `[2]`, by a log-softmax over the whole logits."""
    labelled = labels != IGNORED
    log_probs = logits.log_softmax(-1).gather(2, labels.where(labelled, 0).unsqueeze(2)).squeeze(2)
    return (log_probs * labelled).sum(-1) / labelled.sum(-1)


def forward_pair(model: PreTrainedModel, batch: PairBatch) -> PairOutput:
    """Runs a pair through body and head, also where only the states are used: the authors' trainer does the same."""
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "use_cache": False}
    if model.config.is_encoder_decoder:
        # The answers from its start token on. As `labels` they would also cost a loss that nobody asked for.
        output = model(**inputs, decoder_input_ids=model.prepare_decoder_input_ids_from_labels(batch.labels))
        chosen, rejected = mean_log_probs(output.logits, batch.labels)
        hidden = output.encoder_last_hidden_state
    else:
        output = model(**inputs, output_hidden_states=True)
        chosen, rejected = mean_log_probs(output.logits[:, :-1], batch.labels[:, 1:])
        hidden = output.hidden_states[-1]
    return PairOutput(reward_gap=chosen - rejected, hidden=hidden)


def mpo_loss(policy: PreTrainedModel, reference: PreTrainedModel | None, row: Row, args: argparse.Namespace) -> Tensor:
    """(β·RG^t − RG^d)² plus the retain term of `args.mode`.

    `released` pools over every position, padding included, and averages over the hidden size; `paper` takes the last
    prompt token's state, for which the policy needs to see the prompt alone.
    """
    source = PairBatch.from_row(row, "source", args)
    target = PairBatch.from_row(row, "target", args)
    with torch.no_grad(), nullcontext() if reference else policy.disable_adapter():
        anchor = forward_pair(reference or policy, source)
    gap = (args.beta * forward_pair(policy, target).reward_gap - anchor.reward_gap).square()
    if args.mode == "released":
        retain = mse_loss(forward_pair(policy, source).hidden.mean(dim=1), anchor.hidden.mean(dim=1))
    else:
        prompt = torch.tensor([row["source_prompt_ids"]])
        model = policy.get_base_model() if reference is None else policy
        body = model.get_encoder() if args.has_encoder else model.base_model
        state = body(input_ids=prompt, use_cache=False).last_hidden_state[0, -1]
        retain = (state - anchor.hidden[0, prompt.shape[1] - 1]).square().sum()
    return gap + retain


def policy_tokens(row: Row, args: argparse.Namespace) -> int:
    """Tokens of the row that the objective asks of the policy, padding not counted; of the source pair only its prompt, where
    all that is held is the prompt's.

    A property of the rows, the mode and the kind of model alone, so that both programs divide the same number by their time.
    """

    def pair(side: str) -> int:
        prompt, chosen, rejected = (len(row[f"{side}_{part}_ids"]) for part in ("prompt", "chosen", "rejected"))
        return 2 * prompt + chosen + rejected

    holds_prompt = args.mode == "paper" or args.has_encoder
    return pair("target") + (len(row["source_prompt_ids"]) if holds_prompt else pair("source"))


def load(model_dir: Path) -> PreTrainedModel:
    """Loads in f32 whatever the stored type, and from disk only."""
    config = AutoConfig.from_pretrained(model_dir, local_files_only=True)
    kind = AutoModelForCausalLM
    if config.is_encoder_decoder:
        # Such a model drops a tenth in training, by its configuration, and nothing can be compared then.
        kind, config.dropout_rate = AutoModelForSeq2SeqLM, 0.0
    return kind.from_pretrained(model_dir, config=config, dtype=torch.float32, local_files_only=True)


def train(rows: Sequence[Row], args: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Takes one optimizer step a row; returns the losses and the seconds of every step."""
    if args.lora_rank:
        # Here and not above: only adapters need PEFT.
        from peft import LoraConfig, get_peft_model

        settings = LoraConfig(r=args.lora_rank, lora_alpha=2 * args.lora_rank, target_modules="all-linear")
        policy, reference = get_peft_model(load(args.model), settings), None
        if args.gradient_checkpointing:
            policy.enable_input_require_grads()
    else:
        policy, reference = load(args.model), load(args.model).requires_grad_(False)
    policy.train()
    if args.gradient_checkpointing:
        policy.activation_checkpointing_enable()
    trained = [weight for weight in policy.parameters() if weight.requires_grad]
    # Fused is what the Transformers trainer takes by default today: the fastest AdamW that PyTorch has on a CPU.
    optimizer = torch.optim.AdamW(
        trained, lr=args.lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, fused=True
    )
    losses, seconds = [], []
    for row in rows:
        started = time.perf_counter()
        loss = mpo_loss(policy, reference, row, args)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - started)
    return losses, seconds


def golden_losses(document: dict[str, Any], args: argparse.Namespace) -> list[float]:
    """The golden losses that this run must reproduce: none if the file has none for its model and settings."""
    settings = (args.model.resolve().name, args.beta, args.lr, args.pad_id)
    if settings != tuple(document.get(key) for key in ("model", "beta", "lr", "pad_id")):
        return []
    steps = document.get(f"train_{args.mode}", {}).get("steps", [])
    return [step["loss"] for step in steps[:GOLDEN_STEPS]]


def agrees_with_golden(losses: Sequence[float], golden: Sequence[float], tolerance: float) -> bool:
    """Says on standard error how far the first losses are from the golden ones, and whether that is near enough."""
    steps = min(len(losses), len(golden))
    difference = torch.tensor(losses[:steps], dtype=torch.float64) - torch.tensor(golden[:steps], dtype=torch.float64)
    # Torch's maximum, unlike Python's, is NaN if any element is.
    worst = difference.abs().max().item()
    verdict = "ok" if worst <= tolerance else "WRONG"
    print(f"golden losses, steps 1 to {steps}: off by {worst:.1e} at most: {verdict}", file=sys.stderr)
    return worst <= tolerance


def peak_rss_bytes() -> int:
    """The largest resident set this process has had; Linux counts it in KiB and macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def parse_args() -> argparse.Namespace:
    """The first five flags are those that our own step benchmark takes too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face model directory")
    parser.add_argument("--rows", type=Path, required=True, help='JSON file {"pad_id": …, "rows": [{…}]}')
    parser.add_argument("--steps", type=int, default=10, help="rows to train on; the first is not timed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mode", choices=("released", "paper"), default="released")
    parser.add_argument("--beta", type=float, default=1.0)
    parser.add_argument("--lr", type=float, default=1e-5)
    parser.add_argument("--lora-rank", type=int, help="train an adapter of this rank instead of the weights")
    parser.add_argument(
        "--gradient-checkpointing",
        action="store_true",
        help="recompute activations in the backward pass: less memory, more time",
    )
    args = parser.parse_args()
    if args.steps < 2:
        parser.error(f"--steps: expected 2 or more, the first being warm-up, got {args.steps}")
    return args


def main() -> int:
    """Prints one JSON line on standard output."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    disable_progress_bar()
    document = json.loads(args.rows.read_text(encoding="utf-8"))
    if "pad_id" not in document:
        raise SystemExit(f'{args.rows}: expected "pad_id" beside "rows", got none: padding enters the loss')
    args.pad_id = document["pad_id"]
    args.has_encoder = AutoConfig.from_pretrained(args.model, local_files_only=True).is_encoder_decoder
    rows = list(islice(cycle(document["rows"]), args.steps))

    losses, seconds = train(rows, args)
    timed = sum(seconds[1:])
    report = {
        "program": "pytorch",
        "mode": args.mode,
        "steps": args.steps,
        "seconds_per_row": timed / (args.steps - 1),
        "policy_tokens_per_second": sum(policy_tokens(row, args) for row in rows[1:]) / timed,
        "peak_rss_bytes": peak_rss_bytes(),
        "losses": losses,
    }
    print(json.dumps(report), flush=True)
    golden = golden_losses(document, args)
    return 0 if not golden or agrees_with_golden(losses, golden, GOLDEN_TOLERANCE[args.mode]) else 1


if __name__ == "__main__":
    sys.exit(main())
