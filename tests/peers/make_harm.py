"""Linear classifiers of given states, for tests/layers.rs.

An implementation of its own: scikit-learn's StandardScaler and LogisticRegression, which solves for as many numbers as a state has.
Nothing is shared with the Rust code.

    python tests/peers/make_harm.py        # writes tests/fixtures/harm.json; needs numpy and scikit-learn
"""

import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

rng = np.random.default_rng(23)


def case(count, width, ridge):
    """States of very unequal columns, one of them the same everywhere, and classes that overlap; in f32, as models have them."""
    harmful = rng.random(count) < 0.4
    states = rng.normal(size=(count, width)) * 10.0 ** rng.integers(-2, 3, size=width) + rng.normal(size=width) * 20
    states[:, 0] += harmful * 0.7 * states[:, 0].std()
    states[:, 1] = 3.25
    states = states.astype(np.float32).astype(np.float64)
    scaler = StandardScaler().fit(states)
    solver = LogisticRegression(C=1 / ridge, solver="newton-cholesky", tol=1e-14, max_iter=1000)
    fitted = solver.fit(scaler.transform(states), harmful)
    weight = fitted.coef_[0] / scaler.scale_
    bias = fitted.intercept_[0] - weight @ scaler.mean_
    return {
        "ridge": ridge,
        "harmful": harmful.tolist(),
        "states": states.ravel().tolist(),
        "weight": weight.tolist(),
        "bias": bias,
        "log_odds": (states @ weight + bias).tolist(),
    }


# More prompts than numbers, and the other way round, as with a model.
cases = [case(40, 6, 1.0), case(24, 64, 1.0), case(24, 64, 0.01), case(30, 30, 100.0)]
path = Path(__file__).parent.parent / "fixtures" / "harm.json"
path.write_text(json.dumps({"cases": cases}) + "\n")
print(f"{path}: {len(cases)} cases")
