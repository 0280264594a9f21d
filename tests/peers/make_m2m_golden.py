"""Makes the golden numbers of a small M2M-100, which NLLB is too, as Transformers 5 computes it.

Usage: make_m2m_golden.py OUT_DIR
Weights and tokens are drawn from a fixed seed. Everything is f32 on the CPU with eager attention, each text by itself, without
padding and in evaluation mode (no dropout). Written are config.json (Transformers 5's form), model.safetensors,
goldens.safetensors and goldens.json. Prompts begin with a language's token and end as a text ends; answers begin with one.

`found` has, for each way to search, what `generate` appends to each prompt's start token, the end included where there is one,
and for beams the score that it ranks the best by.
"""

import argparse
import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor
from transformers import M2M100Config, M2M100ForConditionalGeneration
from transformers.utils.logging import disable_progress_bar

SEED = 21
NEW_TOKENS = 14
END_SCALE = 1.6
END, FIRST_WORD = 2, 8

# Chosen so that no size can stand in for another: the stacks differ in depth, heads and inner width.
SHAPE = {
    "vocab_size": 64,
    "d_model": 24,
    "encoder_layers": 3,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 40,
    "decoder_layers": 2,
    "decoder_attention_heads": 3,
    "decoder_ffn_dim": 56,
    "max_position_embeddings": 20,
    "scale_embedding": True,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": END,
    "decoder_start_token_id": END,
}
# Some prompts are longer than the table of positions, which grows.
LENGTHS = [(27, [11, 5]), (13, [7]), (4, [3]), (9, [2]), (18, [4])]

# How to search: beams, the power of the length that scores are divided by, the language's token.
SEARCHES = {
    "greedy": {"num_beams": 1, "forced_bos_token_id": 5},
    "greedy_free": {"num_beams": 1},
    "beam4": {"num_beams": 4, "forced_bos_token_id": 5},
    "beam4_free": {"num_beams": 4},
    "beam4_long": {"num_beams": 4, "length_penalty": 2.0, "forced_bos_token_id": 6},
    "beam4_short": {"num_beams": 4, "length_penalty": 0.3, "forced_bos_token_id": 6},
    "beam3": {"num_beams": 3, "forced_bos_token_id": 6},
}


def build() -> M2M100ForConditionalGeneration:
    """The model with random weights, large enough that no part of it is negligible."""
    config = M2M100Config(**SHAPE, architectures=["M2M100ForConditionalGeneration"], dtype="float32")
    config._attn_implementation = "eager"
    model = M2M100ForConditionalGeneration(config).float().eval()
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for part, weight in model.named_parameters():
            std, mean = (0.3, 1.0) if "norm.weight" in part else (0.1 if "shared" in part else 0.4, 0.0)
            weight.copy_(torch.randn(weight.shape, generator=generator) * std + mean)
        # Ends come early enough for beams to meet them.
        model.model.shared.weight[END] *= END_SCALE
    return model


def main() -> None:
    """Writes the folder, and refuses to if what is saved is not what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out_dir", type=Path)
    args = parser.parse_args()
    disable_progress_bar()
    # The order of a sum is part of its f32 result.
    torch.set_num_threads(1)
    model = build()
    draw = torch.Generator().manual_seed(SEED + 100)

    def tokens(language: int, length: int) -> Tensor:
        words = torch.randint(FIRST_WORD, SHAPE["vocab_size"], (1, length - 2), generator=draw)
        return torch.cat([torch.tensor([[language]]), words, torch.tensor([[END]])], dim=1)

    tensors, sums = {}, []
    found = {name: {"tokens": [], "scores": []} for name in SEARCHES}
    with torch.inference_mode():
        for p, (length, answers) in enumerate(LENGTHS):
            prompt = tokens(4, length)
            tensors[f"prompt{p}"] = prompt[0]
            for a, answer_length in enumerate(answers):
                answer = tokens(5, answer_length)
                out = model(input_ids=prompt, labels=answer, output_hidden_states=True, use_cache=False)
                sums.append(out.logits.log_softmax(-1).gather(-1, answer[..., None]).sum().item())
                key = f"{p}.{a}"
                tensors[f"answer{key}"] = answer[0]
                tensors[f"logits{key}"] = out.logits[0]
                last = out.decoder_hidden_states[-1]
                if not torch.equal(model.lm_head(last), out.logits):
                    raise SystemExit("unfit for a golden: the last states are not those that logits are made from")
                tensors[f"decoder_last{key}"] = last[0]
                tensors[f"decoder_first{key}"] = out.decoder_hidden_states[1][0]
            tensors[f"encoder_last{p}"] = out.encoder_last_hidden_state[0]
            tensors[f"encoder_first{p}"] = out.encoder_hidden_states[1][0]
            for name, how in SEARCHES.items():
                out = model.generate(
                    input_ids=prompt, max_new_tokens=NEW_TOKENS, do_sample=False, return_dict_in_generate=True,
                    output_scores=True, **how,
                )
                found[name]["tokens"].append(out.sequences[0, 1:].tolist())
                if how["num_beams"] > 1:
                    found[name]["scores"].append(out.sequences_scores[0].item())
    model.save_pretrained(args.out_dir)
    (args.out_dir / "generation_config.json").unlink(missing_ok=True)
    again = M2M100ForConditionalGeneration.from_pretrained(
        args.out_dir, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    with torch.inference_mode():
        of = again(input_ids=tensors["prompt0"][None], labels=tensors["answer0.0"][None], use_cache=False).logits[0]
    if not torch.equal(of, tensors["logits0.0"]):
        raise SystemExit("unfit for a golden: the saved model computes something else")
    report = {
        "transformers": transformers.__version__,
        "attn": "eager",
        "new_tokens": NEW_TOKENS,
        "logp_sums": sums,
        "searches": SEARCHES,
        "found": found,
    }
    (args.out_dir / "goldens.json").write_text(json.dumps(report, indent=1) + "\n")
    tensors = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    save_file(tensors, args.out_dir / "goldens.safetensors")
    for file in args.out_dir.iterdir():
        # safetensors creates files that only their owner may read.
        file.chmod(0o644)


if __name__ == "__main__":
    main()
