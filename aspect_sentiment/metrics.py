"""Scores of aspects and their states, over all pairs of a review and an aspect that are labelled."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from aspect_sentiment.states import find_state, merged
from core.training.units import IGNORED

BEST_BY = "pooled_f1"
MEANS = {
    "pooled_f1": "all pairs of review and aspect in one table, the F1 of each state, their plain mean: models are "
    "chosen by it, as it is the steadiest",
    "aspect_f1": "for each aspect the F1 of its states, their mean, then the mean over the aspects: AI Challenger's "
    "measure; a state with three reviews weighs as much as one with three hundred",
    "merged_f1": "the same with 'not mentioned' and 'neutral' as one state: higher, as it hides what is hardest",
    "detect_f1": "is the aspect mentioned at all?",
    "mean_accuracy": "share of pairs that are right: high without any skill where most aspects are not mentioned",
    "strict_accuracy": "share of reviews with every aspect right, of those with a label",
}


def counts_of(true: np.ndarray, found: np.ndarray, states: int) -> np.ndarray:
    """(aspects, states, states) how often a true state, the first index, was answered by another.

    Args:
        true: (reviews, aspects) ids of states, IGNORED where there is no label.
        found: (reviews, aspects) ids of states.
        states: how many there are.
    """
    aspects = true.shape[1]
    known = true != IGNORED
    flat = (np.arange(aspects) * states**2 + true * states + found)[known]
    return np.bincount(flat, minlength=aspects * states**2).reshape(aspects, states, states)


def f1_of(counts: np.ndarray) -> np.ndarray:
    """(…, states) F1 of each state of (…, states, states) counts, 0 where nothing is right; NaN for one never seen."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    seen = counts.sum(-1) + counts.sum(-2)
    return np.where(seen > 0, 2 * right / np.maximum(seen, 1), np.nan)


def mean_f1(counts: np.ndarray) -> float:
    """The mean over aspects of the mean F1 of the states seen in each; of one table, (states, states), its mean F1."""
    f1 = f1_of(counts)
    seen = ~np.isnan(f1)
    means = np.nan_to_num(f1).sum(-1) / np.maximum(seen.sum(-1), 1)
    return float(means[seen.any(-1)].mean()) if seen.any() else 0.0


def merge(counts: np.ndarray, into: Sequence[int]) -> np.ndarray:
    """Counts with some states as one."""
    chosen = np.eye(len(into), dtype=int)[list(into)]  # (states, merged)
    return np.einsum("...ij,ik,jl->...kl", counts, chosen, chosen)


def aspect_metrics(
    true: np.ndarray, found: np.ndarray, labels: Sequence[str], aspects: Sequence[str]
) -> dict[str, Any]:
    """All scores, fractions 0 to 1; see MEANS.

    Args:
        true: (reviews, aspects) ids of states, IGNORED where there is no label.
        found: (reviews, aspects) those that were answered.
        labels: names of the states.
        aspects: names of the aspects.

    Returns:
        Those of MEANS, `n` reviews, `per_class` {state: precision, recall, f1, n} over all pairs, and `per_aspect`
        {aspect: f1, states {state: f1, n, answered}}.
    """
    counts = counts_of(true, found, len(labels))
    table = counts.sum(0)
    known = true != IGNORED
    metrics: dict[str, Any] = {"pooled_f1": mean_f1(table), "aspect_f1": mean_f1(counts)}
    if into := merged(labels):
        metrics["merged_f1"] = mean_f1(merge(counts, into))
    if (absent := find_state(labels, "absent")) is not None:
        is_absent = [int(index == absent) for index in range(len(labels))]
        metrics["detect_f1"] = float(np.nan_to_num(f1_of(merge(table, is_absent))[0]))
    metrics["mean_accuracy"] = float((true == found)[known].mean()) if known.any() else 0.0
    wholly = ((true == found) | ~known).all(1)[known.any(1)]
    metrics["strict_accuracy"] = float(wholly.mean()) if len(wholly) else 0.0
    given, answered = table.sum(1), table.sum(0)
    right, f1 = table.diagonal(), np.nan_to_num(f1_of(table))
    per_class = {
        name: {
            "precision": float(right[state] / max(answered[state], 1)),
            "recall": float(right[state] / max(given[state], 1)),
            "f1": float(f1[state]),
            "n": int(given[state]),
        }
        for state, name in enumerate(labels)
    }
    of_aspects = f1_of(counts)
    per_aspect = {}
    for index, aspect in enumerate(aspects):
        seen = ~np.isnan(of_aspects[index])
        states = {
            name: {
                "f1": float(of_aspects[index, state]),
                "n": int(counts[index, state].sum()),
                "answered": int(counts[index, :, state].sum()),
            }
            for state, name in enumerate(labels)
            if seen[state]
        }
        f1_here = float(of_aspects[index][seen].mean()) if seen.any() else 0.0
        per_aspect[aspect] = {"f1": f1_here, "states": states}
    return {**metrics, "n": len(true), "per_class": per_class, "per_aspect": per_aspect}


def row_counts(true: np.ndarray, found: np.ndarray, states: int) -> list[list[list[int]]]:
    """[right, found, true] of each state in each review, by which two models can be compared."""
    known = (true != IGNORED)[..., None]
    one, other = (np.equal.outer(each, np.arange(states)) & known for each in (true, found))
    return np.stack(((one & other).sum(1), other.sum(1), one.sum(1)), axis=-1).tolist()
