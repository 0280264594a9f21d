"""Question by question: our choices and numbers beside the harness's.

    python compare.py OUT OURS

OUT is the folder of run.py, OURS that of `mpo-train eval`.
"""

import json
import re
import sys
from pathlib import Path


def number(text):
    """The harness's flexible extraction, without its punctuation."""
    found = re.findall(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", text)
    last = [part for groups in found for part in groups if part]
    return last[-1].strip("$.,").replace(",", "") if last else None


def main(theirs, ours):
    for name in ["mmlu", "mgsm"]:
        harness, samples = Path(theirs, f"harness-{name}.json"), Path(ours, "samples", f"{name}.jsonl")
        if not (harness.exists() and samples.exists()):
            continue
        mine = {sample["id"]: sample for sample in map(json.loads, samples.read_text().splitlines())}
        same = right = 0
        lines = json.loads(harness.read_text())
        for line in lines:
            sample = mine[line["id"]]
            if name == "mmlu":
                scores = [response[0][0] if isinstance(response[0], list) else response[0] for response in line["resps"]]
                their = "ABCD"[max(range(4), key=lambda option: float(scores[option]))]
                our, texts = sample["answers"][0], None
            else:
                their, our = number(line["resps"][0][0]), number(sample["answers"][0])
                texts = (line["resps"][0][0], sample["answers"][0])
            same += their == our
            right += sample["outcome"] == "right"
            if their != our:
                print(f"{name} {line['id']}: harness {their}, ours {our}", texts or scores)
        theirs_right = sum(float(line["score"]) for line in lines)
        print(f"{name}: {same} of {len(lines)} the same; right: harness {theirs_right:.0f}, ours {right}")


main(*sys.argv[1:])
