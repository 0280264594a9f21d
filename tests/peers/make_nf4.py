"""Makes tests/fixtures/nf4.json and tests/fixtures/nf4: numbers and a model in NF4 as bitsandbytes packs them on the CPU.

Usage: make_nf4.py
Needs transformers and bitsandbytes (made with 0.50.2). Every case has its numbers (or how many of those that `spread` makes), the codes
in hexadecimal, the scales and, for short ones, the numbers again; with double quantization also the codes of the scales, their
scales and the offset, and once for all the map.

The model is goldens/qwen2_untied, quantized twice and saved by Transformers, and beside it the log-prob of every predicted token
of that folder's sequences (`token_log_probs`), computed in f32 from the numbers that
bitsandbytes unpacks.
"""

import json
from copy import copy
from pathlib import Path

import bitsandbytes
import numpy as np
import torch
import transformers
from bitsandbytes.functional import create_dynamic_map, dequantize_4bit, quantize_4bit
from bitsandbytes.nn import Linear4bit, Params4bit
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.utils.logging import disable_progress_bar

FIXTURES = Path(__file__).parent.parent / "fixtures"


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


def unpacked(weight: Params4bit) -> Tensor:
    """The matrix. It is unpacked as one row, in the order in which it was packed: on the CPU bitsandbytes takes every row for whole
    blocks, which those of 112 numbers are not."""
    state = copy(weight.quant_state)
    shape, state.shape = state.shape, torch.Size([state.shape.numel()])
    return dequantize_4bit(weight.data, state).reshape(shape)


def save_model() -> None:
    """Writes the folder of the model."""
    disable_progress_bar()
    # The order of a sum is part of its result.
    torch.set_num_threads(1)
    source, folder = FIXTURES / "goldens" / "qwen2_untied", FIXTURES / "nf4"
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    model = AutoModelForCausalLM.from_pretrained(
        source, quantization_config=settings, dtype=torch.float32, attn_implementation="eager"
    )
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    # The products of bitsandbytes on the CPU take fewer shapes, so its numbers are put into the dense model.
    packed = {name: module.weight for name, module in model.named_modules() if isinstance(module, Linear4bit)}
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, attn_implementation="eager").eval()
    for name, weight in packed.items():
        model.get_submodule(name).weight.data = unpacked(weight)
    ids = load_file(source / "goldens.safetensors")["input_ids"]
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits
    log_probs = logits[:, :-1].float().log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
    numbers = {
        "bitsandbytes": bitsandbytes.__version__,
        "transformers": transformers.__version__,
        "token_log_probs": log_probs.flatten().tolist(),
    }
    (folder / "goldens.json").write_text(json.dumps(numbers, indent=1) + "\n")


def main() -> None:
    """Writes the file and the folder."""
    save_model()
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
    path = FIXTURES / "nf4.json"
    file = {"bitsandbytes": bitsandbytes.__version__, "map": create_dynamic_map().tolist(), "cases": made}
    path.write_text(json.dumps(file) + "\n")
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
