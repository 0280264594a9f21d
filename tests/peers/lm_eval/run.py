"""lm-evaluation-harness on the files of prepare.py.

    python run.py MODEL_DIR OUT_DIR mmlu mgsm

Writes OUT_DIR/harness-TASK.json: for each question the choice and its log-likelihoods, or the text generated.
"""

import json
import sys
from pathlib import Path

import lm_eval
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM

TASKS = {
    "mmlu": {
        "output_type": "multiple_choice",
        "doc_to_choice": list("ABCD"),
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc"}],
    },
    "mgsm": {
        "output_type": "generate_until",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {
            "do_sample": False,
            "until": ["Question:", "</s>", "<|im_end|>"],
            "max_gen_toks": 256,
        },
        "filter_list": [
            {
                "name": "flexible-extract",
                "filter": [
                    {"function": "regex", "group_select": -1, "regex_pattern": r"(-?[$0-9.,]{2,})|(-?[0-9]+)"},
                    {"function": "take_first"},
                ],
            }
        ],
        "metric_list": [{"metric": "exact_match", "ignore_case": True, "ignore_punctuation": True}],
    },
}


def main(model_dir, out, *names):
    model = HFLM(pretrained=model_dir, dtype="float32", device="cpu", batch_size=1)
    for name in names:
        config = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": f"{out}/{name}.jsonl"}},
            "test_split": "test",
            "doc_to_text": "{{prompt}}",
            "target_delimiter": " ",
            "num_fewshot": 0,
            **TASKS[name],
        }
        results = lm_eval.simple_evaluate(model=model, tasks=[ConfigurableTask(config=config)], log_samples=True)
        (samples,) = results["samples"].values()
        lines = [{"id": s["doc"]["id"], "answer": s["doc"]["answer"], "resps": s["resps"],
                  "filtered": s["filtered_resps"], "score": s.get("acc", s.get("exact_match"))} for s in samples]
        Path(out, f"harness-{name}.json").write_text(json.dumps(lines, ensure_ascii=False, indent=1))
        print(name, results["results"])


main(*sys.argv[1:])
