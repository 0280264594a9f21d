"""Runs our MPO step and PyTorch's one after the other on the same rows and cores, and prints a Markdown table.

Both take the same flags and print the same JSON line; the peak memory of both is read here, the same way. The largest
difference between their losses is printed too: a speed means nothing if the two computed different things.
"""

import argparse
import json
import math
import os
import random
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MANIFEST = HERE.parents[1] / "Cargo.toml"
CARGO_BENCH = ["cargo", "bench", "--manifest-path", str(MANIFEST), "--workspace", "--bench", "step"]

# The paper's squared norm amplifies rounding from step to step.
LOSS_TOLERANCE = {"released": 1e-3, "paper": 5e-2}
MAX_PROMPT = 512
MAX_RESPONSE = 512
# The shortest and the longest, as in the rows of the authors' that docs/benchmarks.md has measured others by.
RANDOM_LENGTHS = {
    "source_prompt_ids": (42, 65),
    "source_chosen_ids": (9, 96),
    "source_rejected_ids": (9, 96),
    "target_prompt_ids": (69, 128),
    "target_chosen_ids": (96, 96),
    "target_rejected_ids": (96, 96),
}
# Those before it are padding and the like.
FIRST_TOKEN = 4

Report = dict[str, Any]


def token_ids(tokenizer: Any, text: str, limit: int, ending: list[int]) -> list[int]:
    """Ids of `text` and `ending`, cut to `limit` from the start as the authors do: an ending past the limit is lost."""
    return (tokenizer(text, add_special_tokens=False)["input_ids"] + ending)[:limit]


def long_row(tokenizer: Any, record: dict[str, Any]) -> dict[str, list[int]]:
    """Tokenises one record of the authors' data; prompt and responses apart, as they do."""
    row = {}
    for side in ("source", "target"):
        messages = [{"role": "user", "content": turn["value"]} for turn in record[f"{side}_conversations"]]
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        row[f"{side}_prompt_ids"] = token_ids(tokenizer, prompt, MAX_PROMPT, [])
        for answer in ("chosen", "rejected"):
            text = record[f"{side}_{answer}"]["value"]
            row[f"{side}_{answer}_ids"] = token_ids(tokenizer, text, MAX_RESPONSE, [tokenizer.eos_token_id])
    return row


def write_long_rows(args: argparse.Namespace) -> None:
    """Writes `args.rows`: records spread evenly over the data, because its languages lie in blocks."""
    # Here and not above: only --long needs Transformers in this process.
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(args.model, local_files_only=True)
    records = json.loads(args.data.read_text(encoding="utf-8"))
    chosen = records[:: max(1, len(records) // args.steps)][: args.steps]
    pad_id = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    rows = [long_row(tokenizer, record) for record in chosen]
    args.rows.write_text(json.dumps({"pad_id": pad_id, "rows": rows}), encoding="utf-8")


def write_random_rows(args: argparse.Namespace) -> None:
    """Writes `args.rows`: random tokens, for a model whose weights are random too."""
    config = json.loads((args.model / "config.json").read_text(encoding="utf-8"))
    draw = random.Random(0)

    def ids(lengths: tuple[int, int]) -> list[int]:
        return [draw.randrange(FIRST_TOKEN, config["vocab_size"]) for _ in range(draw.randint(*lengths))]

    rows = [{part: ids(lengths) for part, lengths in RANDOM_LENGTHS.items()} for _ in range(args.steps)]
    args.rows.write_text(json.dumps({"pad_id": config["pad_token_id"], "rows": rows}), encoding="utf-8")


def pinning(threads: int) -> list[str]:
    """A `taskset` prefix that gives both programs the same cores; the last ones, as interrupts favour the first."""
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    return ["taskset", "--cpu-list", ",".join(map(str, cores))]


def run(command: list[str]) -> Report:
    """Runs a program to its end and returns the last JSON line it printed, with its peak memory as the kernel saw it.

    `wait4` accounts for the child and all it waited for, so a program that Cargo started is measured too. The figure
    cannot fall below this process's own size, which is far less than either model.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    with process.stdout as stream:
        lines = stream.read().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    # Told, or Popen would wait for a child that is gone.
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{shlex.join(command)}: expected exit status 0, got {process.returncode}")
    report = next((line for line in reversed(lines) if line.startswith("{")), None)
    if report is None:
        raise SystemExit(f"{shlex.join(command)}: expected a JSON line on standard output, got none")
    return json.loads(report) | {"peak_rss_bytes": usage.ru_maxrss * 1024}


def loss_difference(ours: Report, theirs: Report) -> float:
    """The largest difference between the losses of the same step, relative where the loss is above one."""
    pairs = zip(ours["losses"], theirs["losses"], strict=True)
    differences = [abs(mine - peer) / max(1.0, abs(peer)) for mine, peer in pairs]
    # A NaN counts as the largest; a plain maximum would pass over it.
    return max(differences, key=lambda difference: (math.isnan(difference), difference))


def table(ours: Report, theirs: Report) -> str:
    """Markdown; the last column is how many times better ours is."""
    seconds = (ours["seconds_per_row"], theirs["seconds_per_row"])
    tokens = (ours["policy_tokens_per_second"], theirs["policy_tokens_per_second"])
    gibibytes = (ours["peak_rss_bytes"] / 2**30, theirs["peak_rss_bytes"] / 2**30)
    return "\n".join(
        [
            f"| {ours['mode']}, {ours['steps']} steps | mpo-train | PyTorch | ratio |",
            "|---|---:|---:|---:|",
            f"| seconds per row | {seconds[0]:.3f} | {seconds[1]:.3f} | {seconds[1] / seconds[0]:.2f} |",
            f"| policy tokens per second | {tokens[0]:.0f} | {tokens[1]:.0f} | {tokens[0] / tokens[1]:.2f} |",
            f"| peak memory, GiB | {gibibytes[0]:.2f} | {gibibytes[1]:.2f} | {gibibytes[1] / gibibytes[0]:.2f} |",
        ]
    )


def parse_args() -> argparse.Namespace:
    """Paths are made absolute because Cargo runs a benchmark in its package's folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face model directory")
    parser.add_argument("--rows", type=Path, required=True, help="rows file; with --long or --random, where to write it")
    parser.add_argument("--steps", type=int, default=10, help="rows to train on; the first is not timed")
    parser.add_argument("--threads", type=int, default=1, help="threads of each program, on as many cores")
    parser.add_argument("--mode", choices=("released", "paper"), default="released")
    parser.add_argument("--lora-rank", type=int, help="train an adapter of this rank in both instead of the weights")
    parser.add_argument(
        "--ours",
        metavar="CMD",
        type=shlex.split,
        help="our program, to which the flags above are added (default: cargo bench of the step)",
    )
    parser.add_argument("--gradient-checkpointing", action="store_true", help="switch it on in PyTorch")
    parser.add_argument("--long", action="store_true", help=f"make rows with up to {MAX_RESPONSE} response tokens")
    parser.add_argument("--data", type=Path, help="the authors' data file, for --long")
    parser.add_argument("--random", action="store_true", help="make rows of random tokens")
    args = parser.parse_args()
    if args.long != (args.data is not None):
        parser.error("--long and --data: expected both or neither, got one")
    if args.long and args.random:
        parser.error("--long and --random: expected one of them, got both")
    args.model, args.rows = args.model.resolve(), args.rows.resolve()
    return args


def main() -> int:
    """Exits 1 when the two programs' losses disagree."""
    args = parse_args()
    if args.long:
        write_long_rows(args)
    if args.random:
        write_random_rows(args)
    ours = args.ours
    if ours is None:
        # Built beforehand, on every core, so that what is measured is never the compiler.
        subprocess.run([*CARGO_BENCH, "--no-run"], check=True)
        ours = [*CARGO_BENCH, "--"]
    flags = [f"--{name}={getattr(args, name)}" for name in ("model", "rows", "steps", "threads", "mode")]
    if args.lora_rank:
        flags.append(f"--lora-rank={args.lora_rank}")
    peer = [sys.executable, str(HERE / "torch_step.py")]
    if args.gradient_checkpointing:
        peer.append("--gradient-checkpointing")

    prefix = pinning(args.threads)
    results = [run([*prefix, *program, *flags]) for program in (ours, peer)]
    print(table(*results))
    difference = loss_difference(*results)
    allowed = LOSS_TOLERANCE[args.mode]
    print(f"\nLargest loss difference: {difference:.1e} (allowed {allowed:.0e}).")
    return 0 if difference <= allowed else 1


if __name__ == "__main__":
    sys.exit(main())
