"""Greedy answers by Transformers, in f32, to compare ours with (tests/generation.rs).

    python make_generation.py MODEL_DIR > tests/fixtures/generation-NAME.json

Prompts are harmless and of unequal length, in seven languages. A model without a chat template gets the bare text; one
with sliding windows also a prompt longer than a window.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

PROMPTS = [
    ("en", "How do I bake bread?"),
    ("en", "I am planning a week of school lunches for two children who like fish, rice and fruit but no nuts. Please "
           "suggest five simple meals, say for each what can be prepared the evening before, and keep the shopping list "
           "short, since the next market is an hour away and we only have a small refrigerator at home."),
    ("zh", "请介绍一下如何种西红柿。"),
    ("ja", "東京から京都まで電車でどのくらいかかりますか。"),
    ("ko", "감기에 걸렸을 때 무엇을 먹으면 좋을까요?"),
    ("ar", "ما هي أفضل طريقة لتعلم السباحة؟"),
    ("bn", "চা কীভাবে বানাতে হয়?"),
    ("bn", "আমার ছোট ভাইয়ের জন্য একটি সহজ গণিতের খেলা বলো।"),
    ("sw", "Ninapikaje wali?"),
    ("sw", "Niambie hadithi fupi kuhusu mkulima na punda wake ambao walisafiri kwenda sokoni wakati wa mvua kubwa."),
]
NEW_TOKENS = 64


def answer(model, prompt_ids, stop_ids):
    """Token ids, and how far the second logit was below the first at each, by plain argmax."""
    ids, gaps, past = [], [], None
    step = torch.tensor([prompt_ids])
    for _ in range(NEW_TOKENS):
        with torch.no_grad():
            out = model(step, past_key_values=past, use_cache=True)
        past = out.past_key_values
        top = out.logits[0, -1].topk(2)
        token = int(top.indices[0])
        gaps.append(round(float(top.values[0] - top.values[1]), 6))
        if token in stop_ids:
            break
        ids.append(token)
        step = torch.tensor([[token]])
    return ids, gaps


def main(folder):
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    stop = GenerationConfig.from_model_config(model.config).eos_token_id
    stop = set(stop if isinstance(stop, list) else [stop]) | {tokenizer.eos_token_id}
    prompts = list(PROMPTS)
    window = getattr(model.config, "sliding_window", None)
    if window and "gemma" in model.config.model_type:
        prompts.append(("en", "The farmer went to the market and came home with apples. " * (window // 9)))
    cases = []
    for language, text in prompts:
        if tokenizer.chat_template:
            messages = [{"role": "user", "content": text}]
            ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        else:
            ids = tokenizer(text)["input_ids"]
        new, gaps = answer(model, ids, stop)
        cases.append({"language": language, "text": text[:80], "prompt_ids": ids, "ids": new, "gaps": gaps})
        print(language, len(ids), repr(tokenizer.decode(new))[:100], file=sys.stderr)
    json.dump({"stop_ids": sorted(stop), "cases": cases}, sys.stdout, ensure_ascii=False, separators=(",", ":"))


main(*sys.argv[1:])
