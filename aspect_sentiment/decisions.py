"""From probabilities to states: windows of a review pooled, and rare states helped by offsets fitted on dev.

Where an aspect is not mentioned in nine reviews of ten, the likeliest state is nearly always "not mentioned". An offset
for each state, added to the logarithm of its probability before the largest is taken, moves the decision to where the
F1 is highest; how finely, for all aspects alike or for each, is chosen by cross-validation on dev, as a fit to few
reviews is luck.
"""

from collections.abc import Callable

import numpy as np

from aspect_sentiment.metrics import counts_of, mean_f1
from core.training.units import IGNORED

STEPS = np.arange(-3.0, 3.01, 0.25)  # of an offset, in nats
ROUNDS = 3  # over all states
FOLDS = 5
LEAST = 1e-6  # probability, for the logarithm
PRIOR = 0.0005  # of pooled F1 that a nat of an aspect's own offset must be worth
SCHEMES = ("none", "state", "aspect")


def pool_windows(shares: np.ndarray, absent: int | None) -> np.ndarray:
    """(aspects, states) probabilities for a review from those of its windows.

    An aspect is as surely mentioned as in the window that is surest of it; what is said of it is the mean of what the
    windows say, weighted by how surely they mention it. Without a state "not mentioned" it is the plain mean.

    Args:
        shares: (windows, aspects, states).
        absent: the id of "not mentioned".
    """
    if len(shares) == 1:
        return shares[0]
    if absent is None:
        return shares.mean(0)
    missing = shares[..., absent]  # (windows, aspects)
    said = shares.sum(0)  # beside "not mentioned", which is taken out, weighted by how surely a window mentions it
    said[:, absent] = 0
    least = missing.min(0)
    pooled = said * ((1 - least) / np.maximum(said.sum(-1), 1e-12))[:, None]
    pooled[:, absent] = least
    return pooled


def decide(shares: np.ndarray, offsets: np.ndarray | None) -> np.ndarray:
    """(…, aspects) ids of states for (…, aspects, states) probabilities."""
    return (np.log(shares + LEAST) + (0 if offsets is None else offsets)).argmax(-1)


def fit_offsets(shares: np.ndarray, true: np.ndarray, scheme: str) -> np.ndarray:
    """(aspects, states) the offsets with the highest pooled F1, found state by state.

    Args:
        shares: (reviews, aspects, states) probabilities.
        true: (reviews, aspects) ids of states, IGNORED where there is no label.
        scheme: "none", zeros; "state", the same for all aspects; "aspect", from there on for each aspect.
    """
    aspects, states = shares.shape[1:]
    scores, offsets = np.log(shares + LEAST), np.zeros((aspects, states))
    if scheme == "none":
        return offsets

    def climb(rows: slice, value: Callable[[], float], cost: float) -> None:
        best = value()
        for _ in range(ROUNDS):
            before = best
            for state in range(states):
                kept = offsets[rows, state].copy()
                for step in STEPS:
                    offsets[rows, state] = step
                    here = value() - cost * float(np.abs(offsets[rows]).sum())
                    if here > best + 1e-9:
                        best, kept = here, offsets[rows, state].copy()
                offsets[rows, state] = kept
            if best == before:
                break

    climb(slice(None), lambda: mean_f1(counts_of(true, (scores + offsets).argmax(-1), states).sum(0)), 0.0)
    if scheme == "aspect":
        table = counts_of(true, (scores + offsets).argmax(-1), states)
        for aspect in range(aspects):
            others = table.sum(0) - table[aspect]
            own, labels = scores[:, aspect : aspect + 1], true[:, aspect : aspect + 1]
            start = offsets[aspect].copy()

            def value(aspect=aspect, others=others, own=own, labels=labels, start=start) -> float:
                counts = counts_of(labels, (own + offsets[aspect]).argmax(-1), states)[0]
                return mean_f1(others + counts) - PRIOR * float(np.abs(offsets[aspect] - start).sum())

            climb(slice(aspect, aspect + 1), value, 0.0)
            table[aspect] = counts_of(labels, (own + offsets[aspect]).argmax(-1), states)[0]
    return offsets


def choose_offsets(shares: np.ndarray, true: np.ndarray, seed: int = 0) -> tuple[np.ndarray, dict[str, float]]:
    """The offsets of the scheme that does best on reviews that it was not fitted on, and the pooled F1 of each there.

    A finer scheme is taken only where it is better; see `fit_offsets` for the arguments.
    """
    folds = np.random.default_rng(seed).permutation(len(true)) % FOLDS
    states, found = shares.shape[-1], {}
    for scheme in SCHEMES:
        answers = np.full(true.shape, IGNORED)
        for fold in range(FOLDS):
            held, rest = folds == fold, folds != fold
            answers[held] = decide(shares[held], fit_offsets(shares[rest], true[rest], scheme))
        found[scheme] = mean_f1(counts_of(true, answers, states).sum(0))
    best = max(SCHEMES, key=lambda scheme: found[scheme])
    return fit_offsets(shares, true, best), found
