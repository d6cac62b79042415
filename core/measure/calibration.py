"""Calibration: whether 80 % means 80 %, and what leaving the unsure answers out gains.

A model is calibrated where, of its answers with a confidence of 80 %, 80 % are right. Fine-tuned networks are too sure
of themselves as a rule, quantized and distilled ones in their own way; dividing the logits by one number, the
temperature, fitted on the dev data, mends most of that and changes no answer (Guo et al. 2017, "On Calibration of
Modern Neural Networks").
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

if TYPE_CHECKING:
    from core.training.batches import Batches
    from core.training.units import Units

BINS = 15  # of confidences in the expected calibration error, as in Guo et al.
THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # of confidence, in the report
DRAWS = 100  # of answers by chance
COOLEST, HOTTEST = 0.05, 20.0  # temperatures that are looked at


class Coverage(TypedDict):
    """What leaving out answers below a confidence gains: the share that is left, and its accuracy."""

    min_confidence: float
    coverage: float
    accuracy: float | None


def fit_temperature(logits: Sequence[np.ndarray], batches: "Batches", units: "Units") -> float:
    """The temperature of a model by some labelled rows, those of dev.txt: see `best_temperature`.

    Args:
        logits: of each row in the order of the data, without padding.
        batches: the rows, with their labels.
        units: what of logits and labels a loss compares.
    """
    return best_temperature(*_chosen(logits, batches, units))


def best_temperature(logits: np.ndarray, labels: Sequence[int] | np.ndarray) -> float:
    """The temperature at which the labels are likeliest, to four digits.

    A weak prior, log T normal around 0, keeps it finite where the rows are few or none of them is a mistake.

    Args:
        logits: (units, classes), -inf for a class that a unit cannot be of.
        labels: (units,) class ids.
    """
    from scipy.optimize import minimize_scalar

    values = np.asarray(logits, np.float64)
    values, chosen = values - values.max(axis=1, keepdims=True), np.asarray(labels)[:, None]

    def surprise(log_temperature: float) -> float:
        scaled = values / math.exp(log_temperature)
        likelihood = np.take_along_axis(scaled, chosen, axis=1)[:, 0] - np.log(np.exp(scaled).sum(axis=1))
        return log_temperature**2 / 2 - float(likelihood.sum())

    bounds = (math.log(COOLEST), math.log(HOTTEST))
    return round(math.exp(minimize_scalar(surprise, bounds=bounds, method="bounded").x), 4)


def _chosen(logits: Sequence[np.ndarray], batches: "Batches", units: "Units") -> tuple[np.ndarray, np.ndarray]:
    """Logits of all units, (units, classes) float64, and labels, (units,).

    Units with fewer classes than others, as the tokens of a short text are, have -inf in place of those they lack.
    """
    import torch

    parts, labels = [], []
    for row, values in enumerate(logits):
        batch = {name: torch.from_numpy(np.array([column[row]])) for name, column in batches.columns.items()}
        found, true = units(torch.from_numpy(np.array([values])), batch)
        parts.append(found.numpy())
        labels.append(true.numpy())
    found = np.full((sum(map(len, parts)), max(part.shape[1] for part in parts)), -np.inf)
    start = 0
    for part in parts:
        found[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return found, np.concatenate(labels)


def bins_of(confidence: np.ndarray) -> np.ndarray:
    """(answers,) which of 15 equally wide bins each confidence falls into."""
    return np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)


def in_bins(confidence: np.ndarray, right: np.ndarray) -> list[tuple[float, float]]:
    """Mean confidence and accuracy of each bin that is not empty."""
    bins = bins_of(confidence)
    return [(float(confidence[bins == each].mean()), float(right[bins == each].mean())) for each in np.unique(bins)]


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """The expected calibration error: by how much confidence and accuracy differ, on average over the answers.

    Args:
        confidence: (answers,) of the class that was answered.
        right: (answers,) whether it is the true one.
    """
    return float(np.abs(np.bincount(bins_of(confidence), weights=right - confidence)).sum() / len(confidence))


def chance_error(confidence: np.ndarray) -> float:
    """The calibration error to expect of a model for which 80 % means 80 %: the fewer the answers, the larger it is."""
    rng = np.random.default_rng(0)
    return float(
        np.mean([calibration_error(confidence, rng.random(len(confidence)) < confidence) for _ in range(DRAWS)])
    )


def without_temperature(shares: np.ndarray, temperature: float) -> np.ndarray:
    """(answers,) what the confidence would be at a temperature of 1; `shares` as in `judge_confidence`."""
    powers = shares**temperature
    return powers.max(axis=1) / powers.sum(axis=1)


def coverage_of(confidence: np.ndarray, right: np.ndarray) -> list[Coverage]:
    """For each smallest confidence the share of answers that have it, and their accuracy: None where there are none."""
    rows: list[Coverage] = []
    for least in THRESHOLDS:
        kept = confidence >= least
        accuracy = float(right[kept].mean()) if kept.any() else None
        rows.append({"min_confidence": least, "coverage": float(kept.mean()), "accuracy": accuracy})
    return rows


def judge_confidence(shares: np.ndarray, right: np.ndarray, temperature: float | None) -> dict[str, Any]:
    """`coverage`, `ece`, `ece_by_chance`; with a temperature that too, and `ece_uncalibrated`, what `ece` is at 1.

    Args:
        shares: (answers, classes) probabilities.
        right: (answers,) whether the likeliest class is the true one.
        temperature: of the model; None where it has none.
    """
    confidence = shares.max(axis=1)
    found = {"coverage": coverage_of(confidence, right), "ece": calibration_error(confidence, right)}
    found["ece_by_chance"] = chance_error(confidence)
    if temperature:
        before = calibration_error(without_temperature(shares, temperature), right)
        found |= {"temperature": temperature, "ece_uncalibrated": before}
    return found


def confidence_table(metrics: dict[str, Any]) -> str:
    """What `judge_confidence` found, for people."""
    error = f"expected calibration error {metrics['ece']:.4f}, by chance alone {metrics['ece_by_chance']:.4f}"
    if "temperature" in metrics:
        error += f"; {metrics['ece_uncalibrated']:.4f} without the model's temperature of {metrics['temperature']:.2f}"
    lines = ["min confidence  answered  accuracy"]
    for row in metrics["coverage"]:
        accuracy = "       -" if row["accuracy"] is None else f"{row['accuracy']:8.4f}"
        lines.append(f"{row['min_confidence']:14.2f}  {row['coverage']:7.1%}  {accuracy}")
    return "\n".join([*lines, error])
