"""Times PyTorch on `log_softmax(hidden @ head.T)[i, targets[i]]`, the operation of our `log_probs` bench.

Every implementation and shape gets fresh processes, so that none is warmed or fragmented by another. There its values
and gradients are first compared with the plain ones on a small shape: an implementation that cannot take one weight a
token, or does not run here, is skipped with a line on standard error. Both gradients are asked for, and are `None`
before every run, as after `zero_grad()`.

Memory is the peak of a forward and a backward pass beyond what was alive before, the gradients of `hidden` and `head`
not counted. On CUDA it is PyTorch's own count. On the CPU it is resident memory as the kernel saw it (Linux), in a
process whose C library hands every large block back when it is freed: what is alive is measured, as our bench counts
it, and not what the heap holds on to, which is more. Times are taken in another process, which has the usual heap.

When a gradient is `None`, autograd keeps the very buffer that the matrix product wrote: a gradient costs no temporary,
but is there only once the first product of the backward pass has run. So the peaks before and after that moment are
taken apart, and the gradients are subtracted from the later. Copies are counted: `torch-chunked` has up to three of
the head's gradient while it adds those of two chunks, and one of them is the gradient.
Where the products cannot be seen (`torch-compile`, `liger`, `cce`), the gradients are taken to be alive throughout the
backward pass; where they are not, as may be in `torch-compile`, the figure is too low, by their size at most.
"""

import argparse
import ctypes
import functools
import itertools
import json
import math
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK = 128
# glibc: blocks of this many bytes and more are mapped, and unmapped when freed. The number is mallopt's for it.
M_MMAP_THRESHOLD, LARGE_BLOCK = -3, 1 << 16
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
# Relative to the largest value; a gradient that mixes up the tokens' weights is off by a hundred times as much.
TOLERANCE = {"f32": 1e-3, "bf16": 3e-2}

Result = dict[str, Any]
LogProbs = Callable[[Tensor, Tensor, Tensor], Tensor]


class Skipped(Exception):
    """Why an implementation is not measured."""


@dataclass(frozen=True)
class Shape:
    """Sizes of the operation, under the names they have in the report."""

    hidden_size: int
    vocabulary: int
    tokens: int

    @classmethod
    def parse(cls, text: str) -> "Shape":
        """Reads `HxVxN`; what it raises, argparse reports."""
        sizes = [int(size) for size in text.split("x") if size.isdecimal()]
        if len(sizes) != 3 or text.count("x") != 2 or min(sizes) < 1:
            raise argparse.ArgumentTypeError(f"expected HxVxN such as 576x49152x1024, got {text}")
        return cls(*sizes)

    def __str__(self) -> str:
        return f"{self.hidden_size}x{self.vocabulary}x{self.tokens}"


DEFAULT_SHAPES = [Shape(576, 49_152, 1_024), Shape(640, 262_144, 512), Shape(4_096, 128_256, 256)]
# Two chunks, the second not full.
CHECKED_SHAPE = Shape(128, 1_024, 192)


def log_probs(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """The whole vocabulary at once: all logits and all log-probabilities are there together."""
    return (hidden @ head.T).log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1)


def chunked_log_probs(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """The same by chunks of tokens, recomputed in the backward pass: the logits of one chunk only are alive."""
    chunks = zip(hidden.split(CHUNK), targets.split(CHUNK), strict=True)
    # Nothing here is random, so PyTorch is spared saving the generators' states.
    options = {"use_reentrant": False, "preserve_rng_state": False}
    return torch.cat([checkpoint(log_probs, states, head, ids, **options) for states, ids in chunks])


def liger() -> LogProbs:
    """Liger's loss a token, made negative."""
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    loss = LigerFusedLinearCrossEntropyLoss(reduction="none")
    return lambda hidden, head, targets: -loss(head, hidden, targets)


def cce() -> LogProbs:
    """Apple's cut cross-entropy a token, made negative."""
    from cut_cross_entropy import linear_cross_entropy

    return lambda hidden, head, targets: -linear_cross_entropy(hidden, head, targets, reduction="none")


IMPLEMENTATIONS: dict[str, Callable[[], LogProbs]] = {
    "torch": lambda: log_probs,
    "torch-chunked": lambda: chunked_log_probs,
    # Otherwise the second shape it sees, the measured one, would get code for any shape.
    "torch-compile": lambda: torch.compile(log_probs, dynamic=False),
    "liger": liger,
    "cce": cce,
}


@dataclass
class Inputs:
    """Random inputs that give logits of unit variance, and the weights that the backward pass starts from."""

    hidden: Tensor
    head: Tensor
    targets: Tensor
    weights: Tensor

    @classmethod
    def random(cls, shape: Shape, args: argparse.Namespace) -> "Inputs":
        """The same for the same seed, device and dtype."""
        torch.manual_seed(args.seed)
        dtype = DTYPES[args.dtype]
        with torch.device(args.device):
            head = torch.randn(shape.vocabulary, shape.hidden_size).div_(math.sqrt(shape.hidden_size))
            return cls(
                hidden=torch.randn(shape.tokens, shape.hidden_size).to(dtype).requires_grad_(),
                head=head.to(dtype).requires_grad_(),
                targets=torch.randint(shape.vocabulary, (shape.tokens,)),
                weights=torch.rand(shape.tokens),
            )

    def forward(self, function: LogProbs) -> Tensor:
        """Runs `function` with gradients recorded."""
        return function(self.hidden, self.head, self.targets)

    def backward(self, out: Tensor) -> None:
        """Fills the gradients of `hidden` and `head`, which must have none."""
        out.backward(self.weights.to(out.dtype))

    def clear_gradients(self) -> None:
        """What `zero_grad()` does by default."""
        self.hidden.grad = self.head.grad = None

    def run(self, function: LogProbs) -> list[Tensor]:
        """Values and gradients, in f32."""
        self.clear_gradients()
        out = self.forward(function)
        self.backward(out)
        return [tensor.detach().float() for tensor in (out, self.hidden.grad, self.head.grad)]


def error(function: LogProbs, args: argparse.Namespace) -> float:
    """The largest difference from the plain function in f32, relative to the largest value of its tensor."""
    inputs = Inputs.random(CHECKED_SHAPE, args)
    hidden, head = (tensor.detach().float().requires_grad_() for tensor in (inputs.hidden, inputs.head))
    exact = Inputs(hidden, head, inputs.targets, inputs.weights)
    pairs = zip(inputs.run(function), exact.run(log_probs), strict=True)
    # Torch's maximum, unlike Python's, is NaN if any element is.
    return torch.stack([(mine - right).abs().max() / right.abs().max() for mine, right in pairs]).max().item()


def checked(implementation: str, args: argparse.Namespace) -> LogProbs:
    """The implementation, once it has been seen to be right."""
    try:
        function = IMPLEMENTATIONS[implementation]()
        off = error(function, args)
    # Any: libraries that lack a device or a dtype fail in ways of their own.
    except Exception as failure:
        raise Skipped(f"does not run here: {type(failure).__name__}: {failure}") from failure
    if not off <= TOLERANCE[args.dtype]:
        raise Skipped(f"wrong: off by {off:.1e}, allowed {TOLERANCE[args.dtype]:.0e}")
    return function


class PeakMemory:
    """Peak memory in bytes beyond what was alive when this was made."""

    def __init__(self, device: str) -> None:
        self.on_cuda = device == "cuda"
        self.before = torch.cuda.memory_allocated() if self.on_cuda else self.status("VmRSS")
        self.reset()

    def reset(self) -> None:
        """Starts a new peak from what is alive now."""
        if self.on_cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")

    def take(self) -> int:
        """The peak since this was made or last taken."""
        peak = torch.cuda.max_memory_allocated() if self.on_cuda else self.status("VmHWM")
        self.reset()
        return peak - self.before

    @staticmethod
    def status(key: str) -> int:
        """One of the kernel's figures for this process."""
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def products(out: Tensor) -> Iterator[torch.autograd.graph.Node]:
    """The nodes of the graph behind `out` that will write the gradients: those of its matrix products."""
    queue, seen = [out.grad_fn], {None}
    while queue:
        node = queue.pop()
        if node in seen:
            continue
        seen.add(node)
        queue.extend(parent for parent, _ in node.next_functions)
        if node.name() == "MmBackward0":
            yield node


def seconds(device: str, work: Callable[[], Any]) -> tuple[float, Any]:
    """How long `work` takes, the device waited for, and what it returns."""
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    result = work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started, result


def median_seconds(implementation: str, shape: Shape, args: argparse.Namespace) -> dict[str, float]:
    """Forward, backward and both, each the median of the repetitions. For a fresh process."""
    torch.set_num_threads(args.threads)
    function = checked(implementation, args)
    inputs = Inputs.random(shape, args)
    runs = []
    for _ in range(args.repetitions + 1):
        inputs.clear_gradients()
        forward, out = seconds(args.device, functools.partial(inputs.forward, function))
        backward, _ = seconds(args.device, functools.partial(inputs.backward, out))
        runs.append((forward, backward, forward + backward))
    # The first run is warm-up.
    medians = map(statistics.median, zip(*runs[1:], strict=True))
    return dict(zip(("forward", "backward", "both"), medians, strict=True))


def peak_extra_bytes(implementation: str, shape: Shape, args: argparse.Namespace) -> int:
    """The peak of one forward and backward pass; the module's docstring says of what. For a fresh process."""
    if args.device == "cpu":
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
    torch.set_num_threads(args.threads)
    function = checked(implementation, args)
    inputs = Inputs.random(shape, args)
    # Warm-up: what libraries allocate once and keep, such as space for packing, is not the operation's.
    inputs.run(function)
    inputs.clear_gradients()

    memory = PeakMemory(args.device)
    out = inputs.forward(function)
    without_gradients = [memory.take()]

    def before_product(_: tuple[Tensor, ...]) -> None:
        # After the first product of several there is a gradient.
        if len(without_gradients) == 1:
            without_gradients.append(memory.take())

    for node in products(out):
        node.register_prehook(before_product)
    inputs.backward(out)
    with_gradients = memory.take() - inputs.hidden.grad.nbytes - inputs.head.grad.nbytes
    return max(*without_gradients, with_gradients)


def measure(implementation: str, shape: Shape, args: argparse.Namespace) -> list[Result]:
    """The three results of one implementation and shape, measured in a process for the times and one for the peak."""
    # Spawned, not forked: a fork inherits the pages and the threads of its parent.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn, max_tasks_per_child=1) as pool:
        times = pool.submit(median_seconds, implementation, shape, args).result()
        peak = pool.submit(peak_extra_bytes, implementation, shape, args).result()
    return [
        {
            "shape": asdict(shape),
            "implementation": implementation,
            "pass": name,
            "seconds": taken,
            "peak_extra_bytes": peak if name == "both" else None,
        }
        for name, taken in times.items()
    ]


def measure_all(args: argparse.Namespace) -> list[Result]:
    """Measures everything asked for, one after the other."""
    results = []
    for shape, implementation in itertools.product(args.shape, args.implementations):
        try:
            results += measure(implementation, shape, args)
        except Skipped as reason:
            print(f"{implementation}, {shape}: skipped: {reason}", file=sys.stderr)
        except BrokenProcessPool:
            raise SystemExit(f"{implementation}, {shape}: the process was killed; out of memory?") from None
    return results


def table(results: list[Result]) -> str:
    """One line for each implementation and shape."""
    lines = [f"{'shape':<18}{'implementation':<16}{'forward s':>11}{'backward s':>12}{'both s':>10}{'peak MiB':>11}"]
    for forward, backward, both in zip(*[iter(results)] * 3, strict=True):
        times = f"{forward['seconds']:>11.4f}{backward['seconds']:>12.4f}{both['seconds']:>10.4f}"
        peak = both["peak_extra_bytes"] / 2**20
        lines.append(f"{Shape(**both['shape'])!s:<18}{both['implementation']:<16}{times}{peak:>11.1f}")
    return "\n".join(lines)


def implementations(text: str) -> list[str]:
    """Reads `a,b`; what it raises, argparse reports."""
    names = text.split(",")
    if unknown := [name for name in names if name not in IMPLEMENTATIONS]:
        raise argparse.ArgumentTypeError(f"expected some of {','.join(IMPLEMENTATIONS)}, got {unknown[0]}")
    return names


def parse_args() -> argparse.Namespace:
    """The flags are those of our own bench, as far as both have them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shape",
        type=Shape.parse,
        action="append",
        metavar="HxVxN",
        help=f"hidden size, vocabulary, tokens; may be repeated (default: {', '.join(map(str, DEFAULT_SHAPES))})",
    )
    parser.add_argument(
        "--implementations",
        type=implementations,
        default="torch,torch-chunked",
        help=f"some of {','.join(IMPLEMENTATIONS)} (default: %(default)s)",
    )
    parser.add_argument("--repetitions", type=int, default=3, help="timed runs, after one to warm up")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=tuple(DTYPES), default="f32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there instead of a table")
    args = parser.parse_args()
    if min(args.repetitions, args.threads) < 1:
        parser.error("--repetitions, --threads: expected 1 or more")
    args.shape = args.shape or DEFAULT_SHAPES
    return args


def main() -> int:
    """Exits 1 when nothing could be measured."""
    args = parse_args()
    results = measure_all(args)
    report = {
        "program": "torch",
        "version": torch.__version__,
        "device": args.device,
        "dtype": args.dtype,
        "threads": args.threads,
        "results": results,
    }
    if args.json:
        args.json.write_text(json.dumps(report, indent=2), encoding="utf-8")
    else:
        print(table(results))
    return 0 if results else 1


if __name__ == "__main__":
    sys.exit(main())
