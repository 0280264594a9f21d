"""Makes the golden numbers of a small encoder-decoder, as Transformers 5 computes it.

Usage: make_t5_golden.py MODEL OUT_DIR
MODEL is t5 (ReLU, a tied head that is given scaled states), flan (T5 1.1: gated, a head of its own) or mt5.
Weights and tokens are drawn from a fixed seed. Everything is f32 on the CPU with eager attention, each pair of a prompt and
an answer by itself, without padding and in evaluation mode (no dropout). Written are config.json (Transformers 5's form),
config_v4.json (the form of Transformers 4), model.safetensors, goldens.safetensors and goldens.json.

`grad_l2` are the gradient norms of the mean negative log-likelihood over all answer tokens of all pairs together.
`greedy` are the tokens that `generate` appends to each prompt's start token, the end included where there is one.
"""

import argparse
import json
import math
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    AutoModelForSeq2SeqLM,
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.utils.logging import disable_progress_bar

SEEDS = {"t5": 9, "flan": 6, "mt5": 7}
NEW_TOKENS = 12

# Chosen so that no size can stand in for another: heads · d_kv is not d_model, and the stacks differ in depth. Prompts are
# longer than the distances that buckets tell apart.
SHAPE = {
    "vocab_size": 96,
    "d_model": 32,
    "d_kv": 12,
    "d_ff": 40,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 3,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
    "decoder_start_token_id": 0,
    "pad_token_id": 0,
    "eos_token_id": 1,
}
LENGTHS = [(27, [11, 5]), (13, [7])]

MODELS = {
    "t5": (T5ForConditionalGeneration, T5Config, {"feed_forward_proj": "relu"}, True),
    "flan": (T5ForConditionalGeneration, T5Config, {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, False),
    "mt5": (MT5ForConditionalGeneration, MT5Config, {"feed_forward_proj": "gated-gelu"}, False),
}


def build(name: str) -> PreTrainedModel:
    """The model with random weights, large enough that no part of it is negligible."""
    of, config, changes, is_tied = MODELS[name]
    config = config(**(SHAPE | changes), architectures=[of.__name__], dtype="float32")
    config._attn_implementation = "eager"
    model = of(config).float().eval()
    if not is_tied:
        # Transformers 5 ties the head unless a checkpoint holds another.
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    generator = torch.Generator().manual_seed(SEEDS[name])
    with torch.no_grad():
        for part, weight in model.named_parameters():
            std, mean = (0.3, 1.0) if "norm" in part else (1.0, 0.0) if "relative" in part else (0.3 if is_tied else 0.15, 0.0)
            if part == "shared.weight":
                # A head that is tied to a large one says again what it was given.
                std = 0.3 if is_tied else 0.8
            weight.copy_(torch.randn(weight.shape, generator=generator) * std + mean)
    return model


def older_form(name: str, model: PreTrainedModel) -> dict:
    """What Transformers 4 wrote: it told a head of its own by `tie_word_embeddings`."""
    fields = json.loads(model.config.to_json_string())
    for key in ("dtype", "scale_decoder_outputs", "is_decoder"):
        fields.pop(key, None)
    return fields | {"tie_word_embeddings": MODELS[name][3], "transformers_version": "4.51.0", "torch_dtype": "float32"}


def norm(values: list[float]) -> float:
    return math.sqrt(math.fsum(value * value for value in values))


def main() -> None:
    """Writes the folder, and refuses to if what is saved is not what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("out_dir", type=Path)
    args = parser.parse_args()
    disable_progress_bar()
    # The order of a sum is part of its f32 result.
    torch.set_num_threads(1)
    model = build(args.model)
    draw = torch.Generator().manual_seed(SEEDS[args.model] + 100)

    def tokens(length: int) -> Tensor:
        return torch.randint(2, SHAPE["vocab_size"], (1, length), generator=draw)

    tensors, sums, greedy, nll, count = {}, [], [], torch.zeros(()), 0
    for p, (length, answers) in enumerate(LENGTHS):
        prompt = tokens(length)
        tensors[f"prompt{p}"] = prompt[0]
        for a, answer_length in enumerate(answers):
            answer = tokens(answer_length)
            out = model(input_ids=prompt, labels=answer, output_hidden_states=True, use_cache=False)
            log_probs = out.logits.log_softmax(-1).gather(-1, answer[..., None]).squeeze(-1)
            sums.append(log_probs.sum().item())
            nll, count = nll - log_probs.sum(), count + answer_length
            key = f"{p}.{a}"
            tensors[f"answer{key}"] = answer[0]
            tensors[f"logits{key}"] = out.logits[0].detach()
            tensors[f"decoder_last{key}"] = out.decoder_hidden_states[-1][0].detach()
            tensors[f"decoder_first{key}"] = out.decoder_hidden_states[1][0].detach()
        tensors[f"encoder_last{p}"] = out.encoder_last_hidden_state[0].detach()
        tensors[f"encoder_first{p}"] = out.encoder_hidden_states[1][0].detach()
        # With its cache, Transformers 5.24 takes the decoder to be as deep as the encoder.
        options = {"do_sample": False, "num_beams": 1, "use_cache": False}
        generated = model.generate(input_ids=prompt, max_new_tokens=NEW_TOKENS, **options)
        greedy.append(generated[0, 1:].tolist())
    (nll / count).backward()
    grad_l2 = {part: weight.grad.double().norm().item() for part, weight in model.named_parameters()}
    model.save_pretrained(args.out_dir)
    (args.out_dir / "generation_config.json").unlink(missing_ok=True)
    again = AutoModelForSeq2SeqLM.from_pretrained(args.out_dir, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.inference_mode():
        of = again(input_ids=tensors["prompt0"][None], labels=tensors["answer0.0"][None], use_cache=False).logits[0]
    if not torch.equal(of, tensors["logits0.0"]):
        raise SystemExit("unfit for a golden: the saved model computes something else")
    report = {
        "model": args.model,
        "transformers": transformers.__version__,
        "attn": "eager",
        "nll_mean": nll.item() / count,
        "logp_sums": sums,
        "grad_l2": grad_l2,
        "grad_l2_total": norm(list(grad_l2.values())),
        "greedy": greedy,
    }
    (args.out_dir / "config_v4.json").write_text(json.dumps(older_form(args.model, model), indent=1) + "\n")
    (args.out_dir / "goldens.json").write_text(json.dumps(report, indent=1) + "\n")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, args.out_dir / "goldens.safetensors")
    for file in args.out_dir.iterdir():
        # safetensors creates files that only their owner may read.
        file.chmod(0o644)


if __name__ == "__main__":
    main()
