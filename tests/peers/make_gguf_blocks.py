"""Makes tests/fixtures/gguf_blocks.json: blocks of numbers as llama.cpp's Python package packs and unpacks them.

Usage: make_gguf_blocks.py
Needs gguf (made with 0.19.0). Bytes are random, but for the scales, which are finite. Every case has its type, the bytes of its
blocks and the numbers that they stand for, as those of f32 in little-endian; those of `packed` were made from `numbers` and stand for
others, `unpacked`. All in hexadecimal.
"""

import json
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

OUT = Path(__file__).parent.parent / "fixtures" / "gguf_blocks.json"

# Where the scales in f16 lie in a block.
SCALES = {"Q4_0": [0], "Q5_0": [0], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def unpacked(name: str, rng: np.random.Generator) -> dict[str, str]:
    kind = GGMLQuantizationType[name]
    _, size = GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (3, size), dtype=np.uint8)
    for at in SCALES[name]:
        scales = rng.normal(0, 0.01, (3, 1)).astype(np.float16)
        blocks[:, at : at + 2] = scales.view(np.uint8).reshape(3, 2)
    numbers = quants.dequantize(blocks, kind).astype(np.float32)
    return {"type": name, "bytes": blocks.tobytes().hex(), "numbers": numbers.tobytes().hex()}


def packed(name: str, numbers: np.ndarray) -> dict[str, str]:
    kind = GGMLQuantizationType[name]
    data = quants.quantize(numbers, kind)
    again = quants.dequantize(data, kind).astype(np.float32)
    return {
        "type": name,
        "numbers": numbers.tobytes().hex(),
        "bytes": data.tobytes().hex(),
        "unpacked": again.tobytes().hex(),
    }


def main() -> None:
    rng = np.random.default_rng(7)
    # Blocks of zeros, of one number alone, of halves that could be rounded either way, of large and of tiny numbers.
    numbers = rng.normal(0, 0.02, (6, 32)).astype(np.float32)
    numbers[0] = 0
    numbers[1] = 0
    numbers[1, 5] = -3
    numbers[2] = np.arange(-15.5, 16.5, 1, dtype=np.float32)
    numbers[2, 0] = 127
    numbers[3] *= 1e5
    numbers[4] *= 1e-5
    golden = {
        "unpacked": [unpacked(name, rng) for name in SCALES],
        "packed": [packed(name, numbers) for name in ["F16", "BF16", "Q8_0"]],
    }
    OUT.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
