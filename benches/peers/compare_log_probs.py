"""Runs our `log_probs` bench and PyTorch's one after the other on the same cores, and prints a Markdown table.

Ours is the fused kernel; PyTorch's are the plain composition and the same by checkpointed chunks. The ratio is that of
the faster of the two to ours, for each pass by itself. Memory is the peak of forward and backward together, inputs and
gradients not counted: ours counted by the allocator, theirs as `torch_log_probs.py` says.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from compare_step import HERE, MANIFEST, pinning

CARGO_BENCH = ["cargo", "bench", "--manifest-path", str(MANIFEST), "--workspace", "--bench", "log_probs"]
PASSES = ("both", "forward", "backward")
OURS = "fused"
PEERS = ("torch", "torch-chunked")

# (shape as HxVxN, implementation, pass) to (seconds, peak MiB of the pass if it has one).
Numbers = dict[tuple[str, str, str], tuple[float, float | None]]


def run(command: list[str], name: str) -> Numbers:
    """Runs a program to its end and reads the JSON that it wrote; what it prints goes to standard error."""
    with tempfile.TemporaryDirectory() as folder:
        # Absolute, because Cargo runs a benchmark in its package's folder.
        path = Path(folder).resolve() / "report.json"
        command = [*command, "--json", str(path)]
        try:
            status = subprocess.run(command, stdout=sys.stderr).returncode
        except OSError as error:
            raise SystemExit(f"{name}: could not be started: {error}") from None
        if status != 0:
            raise SystemExit(f"{name}: expected exit status 0, got {status}: {shlex.join(command)}")
        if not path.exists():
            raise SystemExit(f"{name}: expected a JSON file, got none: {shlex.join(command)}")
        report = json.loads(path.read_text(encoding="utf-8"))
    numbers = {}
    for result in report["results"]:
        sizes = (result["shape"][size] for size in ("hidden_size", "vocabulary", "tokens"))
        peak = result["peak_extra_bytes"]
        key = ("x".join(map(str, sizes)), result["implementation"], result["pass"])
        numbers[key] = (result["seconds"], None if peak is None else peak / 2**20)
    return numbers


def table(numbers: Numbers) -> str:
    """Markdown; the ratio is how many times faster ours is."""
    lines = [
        "| H x V x N | pass | seconds: mpo-train | torch | torch-chunked | ratio "
        "| peak MiB: mpo-train | torch | torch-chunked |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    # A dictionary keeps the order in which the shapes were asked for.
    for shape in dict.fromkeys(shape for shape, _, _ in numbers):
        for name in PASSES:
            try:
                columns = [numbers[shape, implementation, name] for implementation in (OURS, *PEERS)]
            except KeyError as missing:
                raise SystemExit(f"expected a result of both programs, got none for {missing}") from None
            times = [seconds for seconds, _ in columns]
            cells = [f"{seconds:.4f}" for seconds in times]
            peaks = ["" if peak is None else f"{peak:.1f}" for _, peak in columns]
            row = [shape.replace("x", " x "), name, *cells, f"{min(times[1:]) / times[0]:.2f}", *peaks]
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def parse_args() -> argparse.Namespace:
    """What is given for the shapes and repetitions is handed on; the two programs have the same defaults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads of each program, on as many cores")
    parser.add_argument("--shape", action="append", default=[], metavar="HxVxN", help="may be repeated")
    parser.add_argument("--repetitions", type=int, help="timed runs, after one to warm up")
    parser.add_argument(
        "--ours",
        metavar="CMD",
        type=shlex.split,
        help="our program, to which the flags are added (default: cargo bench of the operation)",
    )
    return parser.parse_args()


def main() -> int:
    """Exits 1 when a program fails or leaves out a number."""
    args = parse_args()
    ours = args.ours
    if ours is None:
        # Built beforehand, on every core, so that what is measured is never the compiler.
        if subprocess.run([*CARGO_BENCH, "--no-run"], stdout=sys.stderr).returncode != 0:
            raise SystemExit("mpo-train: the bench does not build")
        ours = [*CARGO_BENCH, "--"]
    flags = [f"--threads={args.threads}", *(f"--shape={shape}" for shape in args.shape)]
    if args.repetitions is not None:
        flags.append(f"--repetitions={args.repetitions}")
    peer = [sys.executable, str(HERE / "torch_log_probs.py")]

    prefix = pinning(args.threads)
    numbers = run([*prefix, *ours, *flags, f"--implementations={OURS}"], "mpo-train")
    numbers |= run([*prefix, *peer, *flags, f"--implementations={','.join(PEERS)}"], "torch")
    print(table(numbers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
