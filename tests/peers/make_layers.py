"""Silhouettes and directions of harm of given states, for tests/layers.rs.

An implementation of its own: scikit-learn's silhouettes of numpy's distances, cosines of numpy's means. Nothing is shared
with the Rust code.

    python tests/peers/make_layers.py        # writes tests/fixtures/layers.json; needs numpy and scikit-learn
"""

import json
from pathlib import Path

import numpy as np
from sklearn.metrics import silhouette_score

rng = np.random.default_rng(11)
LANGUAGES = ["en", "sw", "bn", "ko"]
DOMINANT = "en"


def prompts():
    """Eight harmful prompts in all languages but one, which Korean lacks; one alone; harmless ones, of which none is shared."""
    labels = [
        {"language": language, "meaning": meaning, "unsafe": True}
        for meaning in range(8)
        for language in LANGUAGES
        if (language, meaning) != ("ko", 3)
    ]
    labels.append({"language": "sw", "meaning": 8, "unsafe": True})
    for language in LANGUAGES:
        # One harmless prompt is too few for a direction.
        labels += [{"language": language, "meaning": None, "unsafe": False}] * (1 if language == "ko" else 5)
    rng.shuffle(labels)
    return labels


def states(labels, width, by_meaning, by_language):
    """Around a centre for each meaning and language, beside a number that drowns the rest, as large models have it."""
    meanings = {meaning: rng.normal(size=width) * by_meaning for meaning in [None, *range(9)]}
    languages = {language: rng.normal(size=width) * by_language for language in LANGUAGES}
    harm = rng.normal(size=width)
    rows = []
    for label in labels:
        row = meanings[label["meaning"]] + languages[label["language"]] + rng.normal(size=width)
        rows.append(row + harm * label["unsafe"] * rng.uniform(0.5, 1.5))
    rows = np.array(rows)
    rows[:, 0] += 3000
    # Two that are the same.
    rows[1] = rows[0]
    return rows


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def main():
    labels = prompts()
    languages = np.array([label["language"] for label in labels])
    meanings = [label["meaning"] for label in labels]
    shared = [i for i, meaning in enumerate(meanings) if meaning is not None and meanings.count(meaning) > 1]
    unsafe = np.array([label["unsafe"] for label in labels])
    layers = []
    for by_meaning, by_language in [(0.2, 3.0), (2.0, 1.0), (3.0, 0.5), (1.0, 1.0)]:
        of = states(labels, 6, by_meaning, by_language)
        distances = np.linalg.norm(of[shared][:, None] - of[shared][None], axis=2)
        score = lambda classes: float(silhouette_score(distances, classes, metric="precomputed"))
        direction = {
            language: of[(languages == language) & unsafe].mean(0) - of[(languages == language) & ~unsafe].mean(0)
            for language in LANGUAGES
        }
        layers.append({
            "states": of.ravel().tolist(),
            "meaning": score([meanings[i] for i in shared]),
            "language": score(languages[shared]),
            "cosines": {to: cosine(direction[to], direction[DOMINANT]) for to in ["bn", "sw"]},
        })
    ahead = [layer["meaning"] - layer["language"] for layer in layers]
    fixture = {"dominant": DOMINANT, "labels": labels, "layers": layers, "bottleneck": 1 + int(np.argmax(ahead))}
    path = Path(__file__).parent.parent / "fixtures" / "layers.json"
    path.write_text(json.dumps(fixture, indent=1) + "\n")
    print(path, len(labels), "prompts,", len(layers), "layers")


main()
