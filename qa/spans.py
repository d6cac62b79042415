"""From the scores of tokens to answers, in numpy alone: the likeliest stretches over all windows of a passage.

In a window, how much likelier a stretch is than that the answer is not in it at all is what the model says by its
scores: exp(start + end - those of [CLS]). Where one of all windows has the answer, the probability of a stretch is its
share of the sum of these odds over all stretches. Each is asked for in one window, in which it stands farthest from
the ends.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

BEST = 100  # stretches of a passage that are looked at further: what is left has next to no probability


class Candidate(NamedTuple):
    """A possible answer: the units that it begins and ends with, and the logarithm of its odds."""

    first: int
    last: int
    odds: float


def window_spans(
    logits: np.ndarray, tokens: np.ndarray, units: np.ndarray, told: tuple[int, int], longest: int
) -> list[Candidate]:
    """The likeliest stretches of a window, the likeliest first.

    Args:
        logits: (tokens, 2) of starts and ends; those of token 0 are of no answer.
        tokens: (units,) which tokens stand for units.
        units: (units,) which units these are, one after the other.
        told: the units, from the first to before the last, that the middle of a stretch must be among.
        longest: units that an answer may have.
    """
    values = logits.astype(np.float64)
    nothing = values[0].sum()
    starts, ends = values[tokens, 0], values[tokens, 1]
    count, most = len(units), min(longest, len(units))
    odds = np.full((most, count), -np.inf)  # (length - 1, start)
    for more in range(most):
        odds[more, : count - more] = starts[: count - more] + ends[more:] - nothing
    first = np.arange(count)
    middle = units[0] + first[None] + np.arange(most)[:, None] // 2
    odds[(middle < told[0]) | (middle >= told[1])] = -np.inf
    flat = odds.ravel()
    best = np.argpartition(-flat, min(BEST, flat.size) - 1)[:BEST]
    best = best[np.argsort(-flat[best], kind="stable")]
    return [
        Candidate(int(units[place % count]), int(units[place % count] + place // count), float(flat[place]))
        for place in best.tolist()
        if flat[place] > -np.inf
    ]


def best_answers(text: str, places: Sequence[tuple[int, int]], found: Iterable[Candidate]) -> list[Candidate]:
    """The likeliest answers of a passage, the likeliest first, none of them twice.

    Of stretches with the same text, the likeliest is taken, with the odds of all together.

    Args:
        text: of the passage.
        places: where its units begin and end.
        found: in its windows.

    Returns:
        As the `Candidate`s of characters: `first`, and `last`, before which it ends.
    """
    taken: dict[str, Candidate] = {}
    for first, last, odds in sorted(found, key=lambda each: -each.odds)[:BEST]:
        start, end = places[first][0], places[last][1]
        own = taken.get(text[start:end])
        taken[text[start:end]] = own._replace(odds=np.logaddexp(own.odds, odds)) if own else Candidate(start, end, odds)
    return sorted(taken.values(), key=lambda each: -each.odds)


def confidences(odds: Sequence[float], temperature: float) -> np.ndarray:
    """(answers,) the probability of each answer among all of a passage, from the logarithms of their odds."""
    values = np.asarray(odds, np.float64)
    shares = np.exp((values - values.max()) / temperature)
    return shares / shares.sum()


def best_threshold(odds: Sequence[float], worth: Sequence[float], unanswerable: Sequence[bool]) -> float:
    """The least odds, as a logarithm, of an answer that is given: those at which the mean score is highest.

    Args:
        odds: of the best answer to each question.
        worth: the score of that answer.
        unanswerable: whether the passage has none: then giving none scores 1.
    """
    order = np.argsort(np.asarray(odds, float), kind="stable")
    sorted_odds = np.asarray(odds, float)[order]
    none = np.asarray(unanswerable, float)[order]
    given = np.asarray(worth, float)[order] * (1 - none)
    # With so many of the least likely answers held back: they score `none`, the others `given`.
    totals = np.concatenate(([0.0], np.cumsum(none))) + given.sum() - np.concatenate(([0.0], np.cumsum(given)))
    held = int(totals.argmax())
    if held == 0:
        return float(sorted_odds[0] - 1)
    return float(sorted_odds[-1] + 1 if held == len(order) else (sorted_odds[held - 1] + sorted_odds[held]) / 2)


def best_temperature(odds: Sequence[Sequence[float]], right: Sequence[float]) -> float:
    """The temperature at which the confidences in the best answers are likeliest, given which of these are right.

    As in `core.measure.calibration`, a weak prior keeps it finite.

    Args:
        odds: of the answers to each question, the best first.
        right: whether the best one is.
    """
    from scipy.optimize import minimize_scalar

    table = np.full((len(odds), max(map(len, odds), default=1)), -np.inf)
    for row, values in zip(table, odds, strict=True):
        row[: len(values)] = np.asarray(values) - values[0]
    truth = np.asarray(right, float)

    def surprise(log_temperature: float) -> float:
        sure = 1 / np.exp(table / np.exp(log_temperature)).sum(1)
        sure = np.clip(sure, 1e-9, 1 - 1e-9)
        return log_temperature**2 / 2 - float((truth * np.log(sure) + (1 - truth) * np.log(1 - sure)).sum())

    return round(float(np.exp(minimize_scalar(surprise, bounds=(-3.0, 3.0), method="bounded").x)), 4)
