"""The questions that we and lm-evaluation-harness are compared on, as files for the harness.

    python prepare.py MMLU_DIR MGSM_EN.tsv OUT_DIR

MMLU_DIR has dev/ and test/. Prompts are in the harness's own words: five examples for MMLU, none for MGSM.
"""

import csv
import json
import sys
from pathlib import Path

LETTERS = "ABCD"


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def question(row):
    options = "".join(f"{letter}. {option}\n" for letter, option in zip(LETTERS, row[1:5]))
    return f"{row[0].strip()}\n{options}Answer:"


def mmlu(folder, count):
    """The first question of every subject, then the second, until there are enough."""
    subjects = sorted(path.name.removesuffix("_test.csv") for path in (folder / "test").glob("*_test.csv"))
    tests = {subject: rows(folder / "test" / f"{subject}_test.csv") for subject in subjects}
    turns = ((number, subject) for number in range(count) for subject in subjects if number < len(tests[subject]))
    for (number, subject), _ in zip(turns, range(count)):
        about = subject.replace("_", " ")
        prompt = f"The following are multiple choice questions (with answers) about {about}.\n\n"
        for row in rows(folder / "dev" / f"{subject}_dev.csv")[:5]:
            prompt += f"{question(row)} {row[5]}\n\n"
        row = tests[subject][number]
        yield {"id": f"{subject}/{number}", "prompt": prompt + question(row), "answer": LETTERS.index(row[5])}


def mgsm(path, count):
    lines = path.read_text(encoding="utf-8").splitlines()[:count]
    for number, line in enumerate(lines):
        text, answer = line.rsplit("\t", 1)
        prompt = f"Question: {text}\nStep-by-Step Answer:"
        yield {"id": str(number), "prompt": prompt, "answer": answer.replace(",", "")}


def main(mmlu_dir, mgsm_file, out):
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for name, items in [("mmlu", mmlu(Path(mmlu_dir), 100)), ("mgsm", mgsm(Path(mgsm_file), 50))]:
        with open(out / f"{name}.jsonl", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(item, ensure_ascii=False) + "\n" for item in items)


main(*sys.argv[1:])
