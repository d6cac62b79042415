"""How sure an accuracy is, and whether one model is better than another, or only luckier."""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000


def wilson_interval(correct: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of `n` (Wilson 1927): right also for few titles and shares near 0 or 1."""
    z = 1.959964
    share = correct / n
    middle = share + z * z / (2 * n)
    spread = z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)


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
