"""Makes the golden numbers of a small model in the layout of the other folders under tests/fixtures/goldens.

Usage: make_golden.py ARCHITECTURE OUT_DIR [--like GOLDEN_DIR]
ARCHITECTURE is one of ARCHITECTURES below.
Weights are drawn from a fixed seed; the input ids are those of GOLDEN_DIR, so that every model reads the same tokens.
Everything is f32 on the CPU with eager attention. Written are config.json (Transformers 5's form), config_v4.json (the
form of Transformers 4), model.safetensors, goldens.safetensors and goldens.json.

`nll_mean` is the mean over all predicted tokens of both sequences together, not a mean of the sequences' means; a token
counts if it is real, so a sequence of n real tokens predicts n - 1. `grad_l2` are the gradient norms of that mean.
"""

import argparse
import json
import math
from collections.abc import Iterable
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    Cohere2Config,
    Cohere2ForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    MistralConfig,
    MistralForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    Olmo3Config,
    Olmo3ForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)
from transformers.utils.logging import disable_progress_bar

SEED = 3
ROPE_THETA, ROPE_LOCAL_THETA, ROPE_FACTOR = 1_000_000.0, 10_000.0, 8.0
SLIDING_WINDOW_PATTERN = 3

# Chosen so that no size can stand in for another: heads · head_dim is not the hidden size, nor the scale a head's.
SHAPE = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 24,
    "sliding_window": 8,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": True,
}

# The same for models that are smaller still; the first has heads that make up the hidden size.
SMALL_WHOLE = SHAPE | {"hidden_size": 32, "intermediate_size": 36, "head_dim": 8}
SMALL = SMALL_WHOLE | {"hidden_size": 24}


class Gemma3:
    """Layers local, local, global, local; the global one with linearly scaled positions of a larger base."""

    model, config = Gemma3ForCausalLM, Gemma3TextConfig
    # Norms multiply by 1 + weight: weights around zero would hide a 1 left out, small ones the weight itself.
    norm_mean = 0.0
    rope = {
        "full_attention": {"rope_type": "linear", "factor": ROPE_FACTOR, "rope_theta": ROPE_THETA},
        "sliding_attention": {"rope_type": "default", "rope_theta": ROPE_LOCAL_THETA},
    }
    fields = SHAPE | {"query_pre_attn_scalar": 20, "sliding_window_pattern": SLIDING_WINDOW_PATTERN, "rope_parameters": rope}
    plain = {name: {"rope_type": "default", "rope_theta": of["rope_theta"]} for name, of in rope.items()}
    variants = {
        "no_window": {"sliding_window": 512},
        "window_one_less": {"sliding_window": SHAPE["sliding_window"] - 1},
        "scale_by_head_dim": {"query_pre_attn_scalar": SHAPE["head_dim"]},
        "no_rope_scaling": {"rope_parameters": plain},
        "global_rope_everywhere": {
            "rope_parameters": {"full_attention": rope["full_attention"], "sliding_attention": rope["full_attention"]}
        },
    }
    # One scaling for the global layers, a base for the local ones.
    older = {
        "rope_theta": ROPE_THETA,
        "rope_local_base_freq": ROPE_LOCAL_THETA,
        "rope_scaling": {"rope_type": "linear", "factor": ROPE_FACTOR},
        "sliding_window_pattern": SLIDING_WINDOW_PATTERN,
    }
    newer = ()


class Mistral:
    """Every layer local, and a head of its own."""

    model, config = MistralForCausalLM, MistralConfig
    norm_mean = 1.0
    rope = {"rope_type": "default", "rope_theta": ROPE_THETA}
    fields = SHAPE | {"tie_word_embeddings": False, "rope_parameters": rope}
    variants = {
        "no_window": {"sliding_window": None},
        "window_one_less": {"sliding_window": SHAPE["sliding_window"] - 1},
        "other_base": {"rope_parameters": rope | {"rope_theta": ROPE_LOCAL_THETA}},
    }
    older = {"rope_theta": ROPE_THETA}
    newer = ()


class SmolLM3:
    """Every third layer knows of no positions, and slides."""

    model, config = SmolLM3ForCausalLM, SmolLM3Config
    norm_mean = 1.0
    rope = {"rope_type": "default", "rope_theta": ROPE_THETA}
    fields = SMALL | {"no_rope_layer_interval": 3, "use_sliding_window": True, "rope_parameters": rope}
    variants = {
        "no_window": {"use_sliding_window": False},
        "window_one_less": {"sliding_window": SHAPE["sliding_window"] - 1},
        "rope_everywhere": {"no_rope_layers": [1, 1, 1, 1], "layer_types": ["full_attention"] * 4},
        "other_layers": {"no_rope_layer_interval": 2},
        "other_base": {"rope_parameters": rope | {"rope_theta": ROPE_LOCAL_THETA}},
    }
    # The layers are those of the interval.
    older = {"rope_theta": ROPE_THETA}
    newer = ("no_rope_layers",)


class Olmo2:
    """Norms after attention and feed-forward block, and one on all heads of queries or keys together."""

    model, config = Olmo2ForCausalLM, Olmo2Config
    norm_mean = 1.0
    rope = {"rope_type": "default", "rope_theta": ROPE_THETA}
    fields = SMALL | {"tie_word_embeddings": False, "rope_parameters": rope}
    variants = {"other_base": {"rope_parameters": rope | {"rope_theta": ROPE_LOCAL_THETA}}}
    older = {"rope_theta": ROPE_THETA}
    newer = ()


class Olmo3:
    """Layers local, local, local, global; the global one alone with positions that YaRN scales.

    There are biases in attention, which no published model has.
    """

    model, config = Olmo3ForCausalLM, Olmo3Config
    norm_mean = 1.0
    base = 500_000.0
    yarn = {
        "rope_type": "yarn",
        "factor": ROPE_FACTOR,
        "attention_factor": 1.2,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "original_max_position_embeddings": 64,
    }
    local = {"rope_type": "default", "rope_theta": base}
    scaled = yarn | {"rope_theta": base}
    fields = SMALL | {
        "tie_word_embeddings": False,
        "attention_bias": True,
        "rope_parameters": {"full_attention": scaled, "sliding_attention": local},
    }
    variants = {
        "no_window": {"sliding_window": 512},
        "window_one_less": {"sliding_window": SHAPE["sliding_window"] - 1},
        "no_rope_scaling": {"rope_parameters": {"full_attention": local, "sliding_attention": local}},
        "rope_scaling_everywhere": {"rope_parameters": {"full_attention": scaled, "sliding_attention": scaled}},
    }
    older = {"rope_theta": base, "rope_scaling": yarn}
    newer = ()


class Phi3:
    """Every layer local, as in Phi-3-mini, and heads that are rotated whole."""

    model, config = Phi3ForCausalLM, Phi3Config
    norm_mean = 1.0
    rope = {"rope_type": "default", "rope_theta": ROPE_THETA, "partial_rotary_factor": 1.0}
    fields = SMALL | {"tie_word_embeddings": False, "rope_parameters": rope}
    variants = {
        "no_window": {"sliding_window": None},
        "window_one_less": {"sliding_window": SHAPE["sliding_window"] - 1},
        "other_base": {"rope_parameters": rope | {"rope_theta": ROPE_LOCAL_THETA}},
        "half_heads": {"rope_parameters": rope | {"partial_rotary_factor": 0.5}},
    }
    older = {"rope_theta": ROPE_THETA}
    newer = ()


class Phi3Long:
    """Heads that are rotated in part, by frequencies that LongRoPE scales, as in Phi-4-mini."""

    model, config = Phi3ForCausalLM, Phi3Config
    norm_mean = 1.0
    # Of 8 numbers of a head 6 are rotated, by three frequencies.
    partial = 0.75
    long = {"rope_type": "longrope", "short_factor": [1.1, 1.9, 3.5], "long_factor": [2.0, 6.0, 30.0]}
    original = {"original_max_position_embeddings": 64}
    rope = long | original | {"rope_theta": ROPE_LOCAL_THETA, "partial_rotary_factor": partial}
    fields = SMALL_WHOLE | original | {"sliding_window": None, "rope_parameters": rope}
    plain = {"rope_type": "default", "rope_theta": ROPE_LOCAL_THETA, "partial_rotary_factor": partial}
    variants = {
        "no_rope_scaling": {"rope_parameters": plain},
        "long_factors": {"rope_parameters": rope | {"short_factor": long["long_factor"]}},
        "less_sharpened": {"rope_parameters": rope | {"attention_factor": 1.0}},
        "whole_heads": {
            "rope_parameters": rope | {
                "partial_rotary_factor": 1.0,
                "short_factor": [*long["short_factor"], 4.0],
                "long_factor": [*long["long_factor"], 40.0],
            }
        },
    }
    older = original | {
        "rope_theta": ROPE_LOCAL_THETA,
        "partial_rotary_factor": partial,
        "rope_scaling": long | {"type": "longrope"},
    }
    newer = ()


class Cohere:
    """Aya: neighbours rotated together, and logits scaled."""

    model, config = CohereForCausalLM, CohereConfig
    norm_mean = 1.0
    rope = {"rope_type": "default", "rope_theta": ROPE_THETA}
    fields = SMALL | {"logit_scale": 0.3, "rope_parameters": rope}
    variants = {
        "other_scale": {"logit_scale": 0.25},
        "other_base": {"rope_parameters": rope | {"rope_theta": ROPE_LOCAL_THETA}},
    }
    older = {"rope_theta": ROPE_THETA}
    newer = ()


class Cohere2:
    """Layers local, local, global, local; the global one knows of no positions."""

    model, config = Cohere2ForCausalLM, Cohere2Config
    norm_mean = 1.0
    rope = {"rope_type": "default", "rope_theta": ROPE_THETA}
    fields = SMALL_WHOLE | {"logit_scale": 0.3, "sliding_window_pattern": SLIDING_WINDOW_PATTERN, "rope_parameters": rope}
    variants = {
        "no_window": {"sliding_window": 512},
        "window_one_less": {"sliding_window": SHAPE["sliding_window"] - 1},
        "other_layers": {"sliding_window_pattern": 2},
        "other_base": {"rope_parameters": rope | {"rope_theta": ROPE_LOCAL_THETA}},
    }
    older = {"rope_theta": ROPE_THETA, "sliding_window_pattern": SLIDING_WINDOW_PATTERN}
    newer = ()


ARCHITECTURES = {
    "gemma3": Gemma3,
    "mistral": Mistral,
    "smollm3": SmolLM3,
    "olmo2": Olmo2,
    "olmo3": Olmo3,
    "phi3": Phi3,
    "phi3_long": Phi3Long,
    "cohere": Cohere,
    "cohere2": Cohere2,
}


def configuration(of: type, **changes: object) -> PretrainedConfig:
    return of.config(**(of.fields | changes), architectures=[of.model.__name__], dtype="float32")


def older_form(of: type, config: PretrainedConfig) -> dict:
    """What Transformers 4 wrote: no layer types, and rope in keys of its own."""
    fields = json.loads(config.to_json_string())
    newer = ("rope_parameters", "layer_types", "dtype", "_sliding_window_pattern")
    for key in (*newer, *of.newer):
        fields.pop(key, None)
    version = {"transformers_version": "4.51.0", "torch_dtype": "float32"}
    return fields | {"architectures": [of.model.__name__]} | version | of.older


def build(of: type, config: PretrainedConfig, state: dict[str, Tensor] | None = None) -> PreTrainedModel:
    """The model, with `state` for weights or else random ones, large enough that no part of it is negligible."""
    config._attn_implementation = "eager"
    model = of.model(config).float().eval()
    if state is not None:
        model.load_state_dict(state)
        return model
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            std, mean = (0.3, of.norm_mean) if "norm" in name else (0.15, 0.0)
            weight.copy_(torch.randn(weight.shape, generator=generator) * std + mean)
    return model


def token_log_probs(logits: Tensor, ids: Tensor) -> Tensor:
    """log p of every token but the first after those before it, [sequences, length - 1]."""
    return logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)


def norm(values: Iterable[float]) -> float:
    return math.sqrt(math.fsum(value * value for value in values))


def measure(model: PreTrainedModel, ids: Tensor, mask: Tensor) -> tuple[dict[str, Tensor], dict]:
    """Tensors and numbers of one forward and backward."""
    model.zero_grad()
    hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    predicted = mask[:, 1:].to(logits.dtype)
    sums = (token_log_probs(logits, ids) * predicted).sum(-1)
    nll = -sums.sum() / predicted.sum()
    nll.backward()
    grad_l2 = {name: weight.grad.double().norm().item() for name, weight in model.named_parameters()}
    tensors = {"logits": logits.detach(), "last_hidden": hidden.detach()}
    numbers = {
        "nll_mean": nll.item(),
        "logp_sums": sums.tolist(),
        "grad_l2": grad_l2,
        "grad_l2_total": norm(grad_l2.values()),
    }
    return tensors, numbers


def logits_of(model: PreTrainedModel, ids: Tensor, mask: Tensor) -> Tensor:
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=mask, use_cache=False).logits


def main() -> None:
    """Writes the folder, and refuses to if a feature it is there for does not show in the logits."""
    goldens = Path(__file__).parent.parent / "fixtures" / "goldens"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architecture", choices=ARCHITECTURES)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--like", type=Path, default=goldens / "gemma2")
    args = parser.parse_args()
    disable_progress_bar()
    # The order of a sum is part of its f32 result.
    torch.set_num_threads(1)

    names = ("input_ids", "attention_mask", "input_ids_padded", "attention_mask_padded")
    inputs = {name: tensor for name, tensor in load_file(args.like / "goldens.safetensors").items() if name in names}
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    of = ARCHITECTURES[args.architecture]
    model = build(of, configuration(of))
    state = model.state_dict()
    tensors, numbers = measure(model, ids, mask)
    padded_tensors, padded_numbers = measure(model, inputs["input_ids_padded"], inputs["attention_mask_padded"])
    logits = tensors["logits"]

    def difference(other: PreTrainedModel) -> float:
        return (logits_of(other, ids, mask) - logits).abs().max().item()

    older = older_form(of, model.config)
    sensitivity = {name: difference(build(of, configuration(of, **changes), state)) for name, changes in of.variants.items()}
    older_difference = difference(build(of, of.config(**older), state))
    if older_difference != 0.0 or min(sensitivity.values()) < 1e-2:
        raise SystemExit(f"unfit for a golden: older form off by {older_difference}, features show by {sensitivity}")

    double = build(of, configuration(of), state).double()
    report = {
        "arch": args.architecture,
        "transformers": transformers.__version__,
        "attn": "eager",
        "notes": [],
        **numbers,
        **{f"{name}_padded": value for name, value in padded_numbers.items()},
        "max_abs_logit": logits.abs().max().item(),
        "f32_vs_f64_max_abs_logit_diff": difference(double),
        "config_v4_same_logits_max_diff": older_difference,
        "sensitivity_max_abs_logit_change": sensitivity,
        "layer_types": getattr(model.config, "layer_types", None),
    }
    model.save_pretrained(args.out_dir)
    (args.out_dir / "generation_config.json").unlink(missing_ok=True)
    (args.out_dir / "config_v4.json").write_text(json.dumps(older, indent=1) + "\n")
    (args.out_dir / "goldens.json").write_text(json.dumps(report, indent=1) + "\n")
    padded = {f"{name}_padded": tensor for name, tensor in padded_tensors.items()}
    save_file(
        {name: tensor.contiguous() for name, tensor in (inputs | tensors | padded).items()},
        args.out_dir / "goldens.safetensors",
    )
    for file in args.out_dir.iterdir():
        # safetensors creates files that only their owner may read.
        file.chmod(0o644)


if __name__ == "__main__":
    main()
