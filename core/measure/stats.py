"""Confidence intervals and paired tests: is one model better than another, or only luckier?"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 10_000
F1_RESAMPLES = 2_000  # each takes longer


def wilson_interval(correct: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of `n` (Wilson 1927): right also for few rows and shares near 0 or 1."""
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
    """Compare two models on the same rows by resampling the rows (Efron & Tibshirani 1993; Koehn 2004).

    Args:
        correct: (rows,) 1 where the first model is right, else 0; the mean over several seeds will do as well.
        other_correct: (rows,) the same for the second model.
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


def macro_f1(true: np.ndarray, predicted: np.ndarray, num_labels: int) -> float:
    """The mean F1 of the classes that have a row in `true`; both are (rows,) int, class ids from 0."""
    counts = np.bincount(true * num_labels + predicted, minlength=num_labels**2).reshape(num_labels, num_labels)
    present = counts.sum(1) > 0
    return float((2 * counts.diagonal() / np.maximum(counts.sum(0) + counts.sum(1), 1))[present].mean())


def paired_bootstrap_f1(
    true: np.ndarray, predicted: np.ndarray, other: np.ndarray, num_labels: int, seed: int = 0
) -> Comparison:
    """As `paired_bootstrap`, for macro-F1.

    Args:
        true: (rows,) class ids.
        predicted: (seeds, rows) those that the trainings of the first model predict.
        other: the same for the second model.
        num_labels: number of classes.
        seed: of the resampling.
    """

    def difference(rows: np.ndarray | slice) -> float:
        means = [np.mean([macro_f1(true[rows], one[rows], num_labels) for one in each]) for each in (predicted, other)]
        return float(means[0] - means[1])

    rng = np.random.default_rng(seed)
    found = np.array([difference(rng.integers(0, len(true), len(true))) for _ in range(F1_RESAMPLES)])
    low, high = np.percentile(found, (2.5, 97.5))
    p = min(1.0, 2 * (1 + min((found <= 0).sum(), (found >= 0).sum())) / (1 + F1_RESAMPLES))
    return Comparison(difference(slice(None)), float(low), float(high), float(p))


def paired_bootstrap_counts(counts: ArrayLike, other: ArrayLike, seed: int = 0) -> Comparison:
    """As `paired_bootstrap`, for the F1 of what a row may hold several of, such as entities.

    Args:
        counts: (seeds, rows, 3) how many of a row the trainings of the first model get right, find, and are there; or
            (seeds, rows, classes, 3), those of each class, the mean of whose F1 is then compared.
        other: the same for the second model.
        seed: of the resampling.
    """

    def f1(each: np.ndarray) -> np.ndarray:  # (draws, seeds, 3) or (draws, seeds, classes, 3) -> (draws,)
        return (2 * each[..., 0] / np.maximum(each[..., 1] + each[..., 2], 1)).reshape(len(each), -1).mean(-1)

    both = [np.asarray(each, float) for each in (counts, other)]
    rows = both[0].shape[1]
    draws = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), F1_RESAMPLES)  # (resamples, rows)
    ours, theirs = (f1(np.einsum("br,sr...->bs...", draws, each)) for each in both)
    found = ours - theirs
    low, high = np.percentile(found, (2.5, 97.5))
    p = min(1.0, 2 * (1 + min((found <= 0).sum(), (found >= 0).sum())) / (1 + F1_RESAMPLES))
    difference = float((f1(both[0].sum(1)[None]) - f1(both[1].sum(1)[None])).item())
    return Comparison(difference, float(low), float(high), float(p))


def interval(
    found: Comparison | Mapping[str, Any], form: str = "{difference} ({low} to {high})", digits: int = 1
) -> str:
    """`+1.2 (+0.3 to +2.0)`: a difference and its 95 % interval, in points.

    Args:
        found: a comparison, or its fields by name, among others.
        form: the words around `difference`, `low`, `high` and `p`; other fields may stand in it too.
        digits: of the difference.
    """
    values = asdict(found) if isinstance(found, Comparison) else dict(found)
    values["difference"] = f"{100 * values['difference']:+.{digits}f}"
    values |= {name: f"{100 * values[name]:+.1f}" for name in ("low", "high")}
    return form.format(**{**values, "p": f"{values['p']:.4f}"})
