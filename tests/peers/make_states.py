"""Losses on hidden states of one prompt in several languages, and their gradients, in f64, for tests/states.rs.

Nothing is shared with the Rust code: singular values are PyTorch's, and so are gradients, by its automatic differentiation of
them; the spaces of LENS come from two singular value decompositions, as in its authors' code.

    python tests/peers/make_states.py        # writes tests/fixtures/states.json; needs torch and numpy
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

torch.manual_seed(3)
random = np.random.default_rng(3)


def directions(states):
    return F.normalize(states, dim=1)


def singular_value(states, temperature):
    sigma = torch.linalg.svdvals(directions(states).T)
    return -F.log_softmax(sigma / temperature, dim=0)[0]


def cosine(states):
    r = directions(states)
    pairs = [1 - r[i] @ r[j] for i in range(len(r)) for j in range(i)]
    return torch.stack(pairs).mean()


def contrast(prompts, temperature):
    first, second = (torch.stack([directions(states)[side] for states in prompts]) for side in (0, 1))
    return F.cross_entropy(first @ second.T / temperature, torch.arange(len(prompts)), reduction="none")


def prompts(languages, width, alike=0.0):
    """States of prompts; the nearer to one `alike` is, the more of each is the same in all languages."""
    made = []
    for count in languages:
        same = torch.randn(1, width, dtype=torch.float64)
        own = torch.randn(count, width, dtype=torch.float64)
        made.append((alike * same + (1 - alike) * own) * (1 + 5 * torch.rand(count, 1, dtype=torch.float64)))
    return made


def consistency_case(kind, temperature, states):
    states = [one.requires_grad_() for one in states]
    if kind == "singular-value":
        losses = torch.stack([singular_value(one, temperature) for one in states])
    elif kind == "cosine":
        losses = torch.stack([cosine(one) for one in states])
    else:
        losses = contrast(states, temperature)
    losses.sum().backward()
    shared = [torch.linalg.svdvals(directions(one))[0] ** 2 / len(one) for one in states]
    return {
        "kind": kind,
        "temperature": temperature,
        "states": [one.tolist() for one in states],
        "losses": losses.tolist(),
        "shared": [one.item() for one in shared],
        "gradients": [one.grad.tolist() for one in states],
    }


def spaces(means):
    """The agnostic axis, and the specific space as a projection, of `[width, languages]` means, at the highest rank."""
    rank = means.shape[1] - 1
    mean = means.mean(axis=1, keepdims=True)
    u, s, v = np.linalg.svd(means - mean, full_matrices=False)
    fit = mean + u[:, :rank] * s[:rank] @ v[:rank]
    axis = np.linalg.pinv(fit).T.sum(axis=1)
    axis /= (axis**2).sum()
    u, _, _ = np.linalg.svd(fit - axis[:, None], full_matrices=False)
    return axis, u[:, :rank] @ u[:, :rank].T


def lens_case(languages, width, rows, weights):
    means = random.normal(size=(width, languages)) + 3 * random.normal(size=(width, 1))
    axis, specific = spaces(means)
    agnostic = np.outer(axis, axis) / (axis @ axis)
    probes = random.normal(size=(3, width))
    agnostic_t, specific_t = torch.tensor(agnostic), torch.tensor(specific)
    shifts = torch.tensor((means - means[:, :1]).T)
    policy, reference, held, kept = [], [], [], []
    for row in rows:
        policy.append(torch.randn(len(row), width, dtype=torch.float64, requires_grad=True))
        reference.append(torch.randn(len(row), width, dtype=torch.float64))
        held.append(torch.randn(width, dtype=torch.float64, requires_grad=True))
        kept.append(torch.randn(width, dtype=torch.float64))
    losses = []
    for row, h, h_ref, mean, mean_ref in zip(rows, policy, reference, held, kept):
        loss = weights["retain_weight"] * F.mse_loss(mean, mean_ref)
        for at, language in enumerate(row[1:], start=1):
            loss = loss + weights["agnostic_weight"] * F.mse_loss(agnostic_t @ h[0], agnostic_t @ h[at])
            wanted = weights["language_shift"] * (specific_t @ shifts[language])
            loss = loss + weights["specific_weight"] * F.mse_loss(specific_t @ h[at] - specific_t @ h_ref[at], wanted)
        losses.append(loss)
    torch.stack(losses).sum().backward()
    return {
        "settings": weights,
        "means": means.T.tolist(),
        "probes": probes.tolist(),
        "agnostic": (probes @ agnostic).tolist(),
        "specific": (probes @ specific).tolist(),
        "languages": rows,
        "policy": [one.tolist() for one in policy],
        "reference": [one.tolist() for one in reference],
        "policy_means": [one.tolist() for one in held],
        "reference_means": [one.tolist() for one in kept],
        "losses": [one.item() for one in losses],
        "policy_gradients": [one.grad.tolist() for one in policy],
        "mean_gradients": [one.grad.tolist() for one in held],
    }


def main():
    consistency = [
        consistency_case("singular-value", 1.0, prompts([7, 3, 2], 24)),
        consistency_case("singular-value", 0.1, prompts([10, 4], 24)),
        consistency_case("singular-value", 0.3, prompts([7, 2], 24, alike=0.7)),
        consistency_case("cosine", 1.0, prompts([7, 2], 24, alike=0.5)),
        consistency_case("contrast", 0.05, prompts([2, 2, 2, 2, 2], 24, alike=0.6)),
        consistency_case("contrast", 1.0, prompts([2, 3, 2], 24)),
    ]
    ones = {"agnostic_weight": 1.0, "specific_weight": 1.0, "retain_weight": 1.0, "language_shift": 1.0}
    others = {"agnostic_weight": 0.3, "specific_weight": 2.0, "retain_weight": 0.7, "language_shift": 0.5}
    lens = [
        lens_case(7, 32, [[0, 1, 2, 3, 4, 5, 6]] * 2, ones),
        lens_case(4, 16, [[0, 2], [0, 3, 1]], others),
        lens_case(2, 8, [[0, 1]], ones),
    ]
    path = Path(__file__).parent.parent / "fixtures" / "states.json"
    path.write_text(json.dumps({"consistency": consistency, "lens": lens}) + "\n")
    print(path, len(consistency) + len(lens), "cases")


main()
