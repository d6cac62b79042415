"""Whether one model is better than another, or only luckier."""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000


@dataclass(frozen=True)
class Comparison:
    """The difference of two accuracies as fractions: `low` to `high` is its 95 % interval, `p` is two-sided."""

    difference: float
    low: float
    high: float
    p: float


def paired_bootstrap(correct: np.ndarray, other_correct: np.ndarray, seed: int = 0) -> Comparison:
    """Compare two models on the same titles by resampling the titles (Efron & Tibshirani 1993; Koehn 2004).

    Args:
        correct: (titles,) 1 where the first model is right, else 0; the mean over several seeds will do as well.
        other_correct: (titles,) the same for the second model.
        seed: of the resampling.
    """
    differences = np.asarray(correct, float) - np.asarray(other_correct, float)
    rng = np.random.default_rng(seed)
    means = np.array(
        [differences[rng.integers(0, len(differences), len(differences))].mean() for _ in range(RESAMPLES)]
    )
    low, high = np.percentile(means, (2.5, 97.5))
    p = min(1.0, 2 * (1 + min((means <= 0).sum(), (means >= 0).sum())) / (1 + RESAMPLES))
    return Comparison(float(differences.mean()), float(low), float(high), float(p))
