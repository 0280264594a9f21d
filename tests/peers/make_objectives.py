"""Losses and gradients of every objective, right to the last digit, for tests/objectives.rs.

An implementation of its own: formulas written out in mpmath, gradients by its numerical differentiation at high
precision. Nothing is shared with the Rust code.

    python tests/peers/make_objectives.py        # writes tests/fixtures/objectives.json; needs mpmath
"""

import json
import random
import struct
from pathlib import Path

from mpmath import diff, exp, log, log1p, mp, mpf

# The least f64 is 5e-324: beside one it must not be lost.
mp.dps = 700
random.seed(7)


def single(x):
    """The nearest number that an f32 holds exactly, so that a test in f32 starts from the same one."""
    return struct.unpack("f", struct.pack("f", x))[0]


def sigma(x):
    return 1 / (1 + exp(-x))


def nll(x):
    """-log sigma(x)."""
    return log(1 + exp(-x))


def margin(p):
    return (p["chosen"] - p["reference_chosen"]) - (p["rejected"] - p["reference_rejected"])


def mean(p, side):
    return p[side] / p[f"{side}_tokens"]


def log_odds(m):
    return m - log1p(-exp(m))


def dpo(p, beta, sft_weight=0):
    return nll(beta * margin(p)) - sft_weight * mean(p, "chosen")


def ln_dpo(p, beta):
    return nll(beta * (gap(p, "", True) - gap(p, "reference_", True)))


def ipo(p, tau, length_normalized):
    w, l = p["chosen"] - p["reference_chosen"], p["rejected"] - p["reference_rejected"]
    if length_normalized:
        w, l = w / p["chosen_tokens"], l / p["rejected_tokens"]
    return (w - l - 1 / (2 * tau)) ** 2


def rdpo(p, beta, epsilon):
    x = beta * margin(p)
    return ((1 - epsilon) * nll(x) - epsilon * nll(-x)) / (1 - 2 * epsilon)


def cpo(p, **settings):
    beta, weight = settings["beta"], settings["lambda"]
    likelihood = -p["chosen"] if settings["nll"] == "sum" else -mean(p, "chosen")
    return nll(beta * p["chosen"] - beta * p["rejected"]) + weight * likelihood


def orpo(p, **settings):
    ratio = log_odds(mean(p, "chosen")) - log_odds(mean(p, "rejected"))
    return -mean(p, "chosen") + settings["lambda"] * nll(ratio)


def r_dpo(p, beta, alpha):
    return nll(beta * margin(p) + alpha * p["chosen_tokens"] - alpha * p["rejected_tokens"])


def simpo(p, beta, gamma):
    return nll(beta * mean(p, "chosen") - beta * mean(p, "rejected") - gamma)


def gap(p, side, length_normalized):
    """The gap of a pair; `side` is what its names begin with, and those of its tokens but for the model."""
    chosen, rejected = p[f"{side}chosen"], p[f"{side}rejected"]
    if length_normalized:
        tokens = side.removeprefix("reference_")
        chosen, rejected = chosen / p[f"{tokens}chosen_tokens"], rejected / p[f"{tokens}rejected_tokens"]
    return chosen - rejected


def mpo(p, beta, length_normalized=True, dominant_gap="reference", one_sided=False):
    dominant = {"reference": "reference_dominant_", "policy": "dominant_"}[dominant_gap]
    missing = gap(p, dominant, length_normalized) - beta * gap(p, "", length_normalized)
    return mpf(0) if one_sided and missing < 0 else missing**2


def dco(p, beta, length_normalized=False):
    learnt = lambda side: gap(p, side, length_normalized) - gap(p, "reference_" + side, length_normalized)
    wanted = gap(p, "reference_dominant_", length_normalized) / beta, gap(p, "reference_", length_normalized) * beta
    return abs(learnt("") - wanted[0]) + abs(learnt("dominant_") - wanted[1])


def pairs(extreme=False):
    """Six ordinary pairs; or those that lie at the ends of the range."""
    names = ["chosen", "rejected", "chosen_tokens", "rejected_tokens", "reference_chosen", "reference_rejected"]
    if extreme:
        rows = [
            # Policy and reference are one: every margin is exactly zero.
            (-20.0, -35.5, 7, 12, -20.0, -35.5),
            # The two answers are one.
            (-20.0, -20.0, 7, 7, -21.0, -21.0),
            # Margins of thousands, both ways.
            (-10.0, -5000.0, 40, 60, -900.0, -700.0),
            (-5000.0, -10.0, 60, 40, -700.0, -900.0),
            # Certain answers, and one that never comes.
            (-1e-5, -3.0, 10, 10, -1.0, -1.0),
            (-1e-11, -1e-6, 10, 4, -1.0, -1.0),
            (-4000.0, -0.25, 5, 300, -4000.5, -0.5),
        ]
    else:
        rows = []
        for _ in range(6):
            n = [random.randint(1, 300) for _ in range(2)]
            s = [-random.uniform(0.3, 4) * count for count in n]
            rows.append((*s, *n, *(x + random.gauss(0, 6) for x in s)))
    return dict(zip(names, map(list, zip(*rows))))


def dominants(inputs):
    """Dominant pairs beside target pairs: other pairs of the same kind."""
    others = pairs()
    count = len(inputs["chosen"])
    repeat = lambda row: [row[i % len(row)] for i in range(count)]
    rename = lambda name: f"reference_dominant_{name.removeprefix('reference_')}" if name.startswith("reference_") else f"dominant_{name}"
    return {rename(name): repeat(row) for name, row in others.items()}


def case(objective, loss, inputs, tracked, **settings):
    """Losses and the slope of each in every tracked input."""
    inputs = {name: [single(x) if isinstance(x, float) else x for x in row] for name, row in inputs.items()}
    exact = {key: mpf(repr(value)) if isinstance(value, float) else value for key, value in settings.items()}
    rows = [{name: mpf(value) for name, value in zip(inputs, row)} for row in zip(*inputs.values())]

    def slope(row, name):
        return diff(lambda x: loss({**row, name: x}, **exact), row[name], h=mpf(10) ** -25)

    return {
        "objective": objective,
        "settings": settings,
        "inputs": inputs,
        "losses": [float(loss(row, **exact)) for row in rows],
        "gradients": {name: [float(slope(row, name)) for row in rows] for name in tracked},
    }


def kto_case(kind, beta, chosen_weight, rejected_weight):
    n = 6
    reference = [-random.uniform(5, 300) for _ in range(n)]
    moved = [random.gauss(0, 8) for _ in range(n)] if kind != "extreme" else [0.0, 3000.0, -3000.0, 40.0, -40.0, 0.5]
    mismatched_reference = [-random.uniform(100, 500) for _ in range(n)]
    towards = {"above": 4.0, "below": -4.0, "extreme": 1.0}[kind]
    inputs = {
        "scores": [x + y for x, y in zip(reference, moved)],
        "reference": reference,
        "labels": [True, False, False, True, True, False],
        "mismatched": [x + towards + random.gauss(0, 1) for x in mismatched_reference],
        "mismatched_reference": mismatched_reference,
    }
    inputs = {name: [single(x) if isinstance(x, float) else x for x in row] for name, row in inputs.items()}
    reference, mismatched_reference = inputs["reference"], inputs["mismatched_reference"]
    b, weights = mpf(repr(beta)), (mpf(repr(chosen_weight)), mpf(repr(rejected_weight)))
    ratios = [mpf(x) - mpf(y) for x, y in zip(inputs["mismatched"], mismatched_reference)]
    z = max(mpf(0), b * sum(ratios) / n)

    def loss(score, i):
        reward = b * (score - mpf(reference[i]))
        return weights[0] * (1 - sigma(reward - z)) if inputs["labels"][i] else weights[1] * (1 - sigma(z - reward))

    scores = [mpf(x) for x in inputs["scores"]]
    slopes = [diff(lambda x, i=i: loss(x, i), score, h=mpf(10) ** -25) for i, score in enumerate(scores)]
    return {
        "objective": "kto",
        "settings": {"beta": beta, "chosen_weight": chosen_weight, "rejected_weight": rejected_weight},
        "inputs": inputs,
        "losses": [float(loss(score, i)) for i, score in enumerate(scores)],
        "gradients": {"scores": [float(slope) for slope in slopes]},
    }


def rewards(p, beta):
    return [beta * (p[f"answer{i}"] - p[f"reference{i}"]) for i in range(4)]


def clo(p, at, beta, alpha):
    own, other, dominant_own, dominant_other = rewards(p, beta)
    preferences = (nll(own - other) + nll(dominant_own - dominant_other)) / 2
    return (1 - alpha) * -p["answer0"] / p["tokens0"] + alpha * preferences


def crpo(p, at, beta, alpha):
    """`at` is the row that ranks are taken of: a constant, whatever `p` is."""
    r, now = rewards(p, beta), rewards(at, beta)
    # Sorted by falling reward; the sort keeps the order of equal ones.
    order = sorted(range(4), key=lambda i: -now[i])
    place = {answer: rank for rank, answer in enumerate(order, start=1)}
    grades = [9, 7, 5, 4]
    total = mpf(0)
    for i in range(4):
        for j in range(i + 1, 4):
            apart = abs(place[i] - place[j])
            weight = (grades[i] - grades[j]) * (1 / log(mpf(1 + apart)) - 1 / log(mpf(2 + apart)))
            total += weight * nll(r[i] - r[j])
    return (1 - alpha) * -p["answer0"] / p["tokens0"] + alpha * total


def crossed_case(objective, loss, extreme, beta, alpha):
    """Four answers of six rows; or rows at the ends of the range: equal rewards, rewards of thousands."""
    if extreme:
        moved = [(0, 0, 0, 0), (5, 5, -3, -3), (3000, -3000, 40, -40), (-3000, 3000, -3000, 3000), (0.5, 2, 0.5, -1)]
    else:
        moved = [tuple(random.gauss(0, 20) for _ in range(4)) for _ in range(6)]
    inputs = {}
    for i in range(4):
        tokens = [random.randint(1, 300) for _ in moved]
        # Whole numbers where rewards are to be equal: both differences are exact in f32 then.
        reference = [-float(round(random.uniform(0.3, 4) * n)) for n in tokens]
        inputs[f"tokens{i}"] = tokens
        inputs[f"reference{i}"] = reference
        inputs[f"answer{i}"] = [single(x + by[i]) for x, by in zip(reference, moved)]
    settings = {"beta": beta, "alpha": alpha}
    exact = {key: mpf(repr(value)) for key, value in settings.items()}
    rows = [{name: mpf(value) for name, value in zip(inputs, row)} for row in zip(*inputs.values())]

    def slope(row, name):
        return diff(lambda x: loss({**row, name: x}, row, **exact), row[name], h=mpf(10) ** -25)

    return {
        "objective": objective,
        "settings": settings,
        "inputs": inputs,
        "losses": [float(loss(row, row, **exact)) for row in rows],
        "gradients": {f"answer{i}": [float(slope(row, f"answer{i}")) for row in rows] for i in range(4)},
    }


def main():
    both = ["chosen", "rejected"]
    cases = []
    for extreme in [False, True]:
        def add(objective, loss, tracked=both, needs=None, extra=None, **settings):
            inputs = pairs(extreme)
            if needs is not None:
                inputs = {name: inputs[name] for name in needs}
            inputs.update(extra(inputs) if extra else {})
            cases.append(case(objective, loss, inputs, tracked, **settings))

        alone = ["chosen", "rejected", "chosen_tokens", "rejected_tokens"]
        add("sft", lambda p: -mean(p, "chosen"), ["chosen"], ["chosen", "chosen_tokens"])
        add("dpo", dpo, beta=0.1)
        add("dpo", dpo, beta=0.01)
        add("dpo", dpo, beta=0.1, sft_weight=0.5)
        add("ln-dpo", ln_dpo, beta=5.0)
        add("ln-dpo", ln_dpo, beta=0.5)
        add("ipo", ipo, tau=0.1, length_normalized=False)
        add("ipo", ipo, tau=0.5, length_normalized=True)
        add("rdpo", rdpo, beta=0.05, epsilon=0.1)
        add("rdpo", rdpo, beta=0.1, epsilon=0.4)
        add("cpo", cpo, needs=alone, beta=0.1, **{"lambda": 1.0}, nll="sum")
        add("cpo", cpo, needs=alone, beta=0.01, **{"lambda": 0.5}, nll="mean")
        add("orpo", orpo, needs=alone, **{"lambda": 0.1})
        add("orpo", orpo, needs=alone, **{"lambda": 1.0})
        add("r-dpo", r_dpo, beta=0.1, alpha=0.05)
        add("r-dpo", r_dpo, beta=0.05, alpha=1.0)
        add("simpo", simpo, needs=alone, beta=2.0, gamma=1.0)
        add("simpo", simpo, needs=alone, beta=2.5, gamma=1.6)
        add("mpo", mpo, extra=dominants, beta=1.5, length_normalized=True)
        add("mpo", mpo, extra=dominants, beta=0.5, length_normalized=False)
        policy = [*both, "dominant_chosen", "dominant_rejected"]
        add("dco", dco, policy, extra=dominants, beta=1.0, length_normalized=False)
        add("dco", dco, policy, extra=dominants, beta=1.5, length_normalized=True)
        add("mpo", mpo, policy, extra=dominants, beta=1.0, length_normalized=True, dominant_gap="policy")
    cases += [
        kto_case("above", 0.1, 1.0, 1.0),
        kto_case("below", 1.0, 1.33, 1.0),
        kto_case("extreme", 0.01, 1.0, 1.5),
        kto_case("extreme", 1.0, 1.0, 1.0),
    ]
    # The last, as cases before them would draw other numbers otherwise.
    for extreme, length_normalized in [(False, True), (False, False), (True, True)]:
        inputs = pairs(extreme)
        inputs |= dominants(inputs)
        settings = {"beta": 1.5, "length_normalized": length_normalized, "one_sided": True}
        cases.append(case("mpo", mpo, inputs, both, **settings))
    for extreme in [False, True]:
        cases += [
            crossed_case("clo", clo, extreme, 0.1, 0.5),
            crossed_case("clo", clo, extreme, 1.0, 0.25),
            crossed_case("crpo", crpo, extreme, 0.1, 0.2),
            crossed_case("crpo", crpo, extreme, 1.0, 1.0),
        ]
    path = Path(__file__).parent.parent / "fixtures" / "objectives.json"
    path.write_text(json.dumps({"cases": cases}, indent=1) + "\n")
    print(path, len(cases), "cases")


main()
