"""Makes tests/fixtures/nf4.json: numbers in NF4 as bitsandbytes packs them on the CPU.

Usage: make_nf4.py
Needs torch and bitsandbytes (made with 0.50.2). Every case has its numbers (or how many of those that `spread` makes), the codes
in hexadecimal, the scales and, for short ones, the numbers again; with double quantization also the codes of the scales, their
scales and the offset, and once for all the map.
"""

import json
from pathlib import Path

import bitsandbytes
import numpy as np
import torch
from bitsandbytes.functional import create_dynamic_map, dequantize_4bit, quantize_4bit
from torch import Tensor


def spread(count: int) -> Tensor:
    """Numbers whose blocks have other scales, computed exactly in f32: thirds of a multiplicative sequence, cubed."""
    place = np.arange(count, dtype=np.uint64)
    steps = ((place * 2654435761) % 2**32 >> 8).astype(np.float32)
    unit = (steps - np.float32(2**23)) * np.float32(2**-23)
    scale = np.float32(1) + ((place // 64 * 7919) % 251).astype(np.float32)
    return torch.from_numpy(unit * unit * unit * scale)


def packed(numbers: Tensor, *, double: bool) -> dict[str, object]:
    """What bitsandbytes makes of the numbers."""
    codes, state = quantize_4bit(numbers, quant_type="nf4", blocksize=64, compress_statistics=double)
    values = dequantize_4bit(codes, state).flatten()
    case: dict[str, object] = {"codes": bytes(codes.flatten().tolist()).hex(), "double": double}
    if double:
        case["scale_codes"] = bytes(state.absmax.tolist()).hex()
        case["nested_absmax"] = state.state2.absmax.tolist()
        case["offset"] = state.offset.item()
        nested = state.state2.absmax.repeat_interleave(256)[: len(state.absmax)]
        case["scales"] = (state.state2.code[state.absmax.int()] * nested + state.offset).tolist()
    else:
        case["scales"] = state.absmax.tolist()
    scales = torch.tensor(case["scales"]).repeat_interleave(64)[: len(numbers)]
    fractions = torch.stack([codes.flatten() >> 4, codes.flatten() & 15], 1).flatten()[: len(numbers)]
    if not torch.equal(state.code[fractions.int()] * scales, values):
        raise ValueError("expected the values to be the codes' fractions of the scales")
    if len(numbers) < 1000:
        case["values"] = values.tolist()
    return case


def main() -> None:
    """Writes the file."""
    random = torch.randn(64 * 3 + 17, generator=torch.Generator().manual_seed(1))
    state = quantize_4bit(torch.zeros(64), quant_type="nf4", blocksize=64)[1]
    bounds = (state.code[1:] + state.code[:-1]) / 2
    up, down = (torch.nextafter(bounds, torch.tensor(to)) for to in (2.0, -2.0))
    ties = torch.cat([bounds, up, down, torch.tensor([1.0]), torch.zeros(18)])
    outlier = random[:64].clone()
    outlier[5] = 1e4
    cases = {
        "random, and a short last block of odd length": random,
        "rounded to bf16": random[:128].bfloat16().float(),
        "zeros": torch.zeros(128),
        "a short block of zeros": torch.zeros(10),
        "one number": torch.tensor([-3.0]),
        "ties": ties,
        "ties of another scale": ties * 0.75,
        "an outlier": outlier,
        "all the same": torch.full((66,), 0.3),
        "huge and tiny": torch.cat([torch.tensor([3e38, -3e38, 1e30, 0.0] * 16), torch.tensor([1e-40, -1e-41, 0.0, 2e-39] * 16)]),
    }
    made = [
        {"name": name, "numbers": numbers.tolist(), **packed(numbers, double=double)}
        for name, numbers in cases.items()
        for double in (False, True)
    ]
    many = 64 * 260 + 10
    made.append({"name": "more than 256 blocks", "spread": many, **packed(spread(many), double=True)})
    path = Path(__file__).parent.parent / "fixtures" / "nf4.json"
    file = {"bitsandbytes": bitsandbytes.__version__, "map": create_dynamic_map().tolist(), "cases": made}
    path.write_text(json.dumps(file) + "\n")
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
