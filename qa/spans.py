"""From the scores of tokens to answers, in numpy alone: the likeliest stretches over all windows of a passage.

In a window, how much likelier a stretch is than that the answer is not in it at all is what the model says by its
scores: exp(start + end - those of [CLS]). Where one of all windows has the answer, the probability of a stretch is its
share of the sum of these odds, at the temperature of the model, over all stretches. Each is asked for in one window, in
which it stands farthest from the ends.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BEST = 100  # stretches of a passage that can be its answer; the others are only counted
STEP = 0.1  # of the odds by which they are
DEEPEST = 10_000  # steps below the likeliest, from where on a stretch counts for nothing
NONE = np.zeros((2, 0))
MARKS = " \t\r\n\u3000，。：；？！、·…—～,.:;?!“”‘’\"'《》〈〉「」『』（）()"


class Candidate(NamedTuple):
    """A possible answer: the units that it begins and ends with, and the logarithm of its odds."""

    first: int
    last: int
    odds: float


def window_spans(
    logits: np.ndarray, tokens: np.ndarray, units: np.ndarray, told: tuple[int, int], longest: int
) -> tuple[list[Candidate], np.ndarray]:
    """The likeliest stretches of a window, the likeliest first, and the others, counted.

    Args:
        logits: (tokens, 2) of starts and ends; those of token 0 are of no answer.
        tokens: (units,) which tokens stand for units.
        units: (units,) which units these are, one after the other.
        told: the units, from the first to before the last, that the middle of a stretch must be among.
        longest: units that an answer may have.

    Returns:
        The likeliest, and (2, odds) the odds of the others, rounded, each above how many have them.
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
    found = [
        Candidate(int(units[place % count]), int(units[place % count] + place // count), float(flat[place]))
        for place in best.tolist()
        if flat[place] > -np.inf
    ]
    flat[best] = -np.inf
    return found, counted(flat[flat > -np.inf])


def counted(odds: np.ndarray) -> np.ndarray:
    """(2, odds) those that there are, rounded, each above how many there are of it."""
    if not len(odds):
        return NONE
    steps = np.rint(odds / STEP)
    below = steps.max() - steps
    counts = np.bincount(below[below <= DEEPEST].astype(int))
    there = np.flatnonzero(counts)
    return np.stack(((steps.max() - there) * STEP, counts[there]))


def best_answers(text: str, places: Sequence[tuple[int, int]], found: Sequence[Candidate]) -> list[Candidate]:
    """The likeliest answers of a passage, the likeliest first, none of them twice.

    Of stretches that say the same, `MARKS` at their ends apart, the likeliest is taken, with the odds of all together.

    Args:
        text: of the passage.
        places: where its units begin and end.
        found: the likeliest in its windows, the likeliest first.

    Returns:
        As the `Candidate`s of characters: `first`, and `last`, before which it ends.
    """
    taken: dict[str, Candidate] = {}
    for first, last, odds in found:
        start, end = places[first][0], places[last][1]
        said = text[start:end].strip(MARKS) or text[start:end]
        own = taken.get(said)
        taken[said] = own._replace(odds=np.logaddexp(own.odds, odds)) if own else Candidate(start, end, odds)
    return sorted(taken.values(), key=lambda each: -each.odds)


def confidences(odds: Sequence[float], temperature: float, others: np.ndarray = NONE) -> np.ndarray:
    """(answers,) the probability of each answer among all stretches of a passage.

    Args:
        odds: of each answer, as a logarithm.
        temperature: of the model.
        others: (2, odds) of the stretches that are no answers; see `window_spans`.
    """
    values = np.asarray(odds, np.float64)
    shares = np.exp((values - values.max()) / temperature)
    return shares / (shares.sum() + (np.exp((others[0] - values.max()) / temperature) * others[1]).sum())


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


def best_temperature(
    odds: Sequence[Sequence[float]], right: Sequence[float], others: Sequence[np.ndarray] | None = None
) -> float:
    """The temperature at which the confidences in the best answers are likeliest, given which of these are right.

    As in `core.measure.calibration`, a weak prior keeps it finite.

    Args:
        odds: of the answers to each question, the best first.
        right: whether the best one is.
        others: to each, the stretches that are no answers; None: there are none.
    """
    from scipy.optimize import minimize_scalar

    rest = others or [NONE] * len(odds)
    tables = [
        np.concatenate(([own, np.ones(len(own))], more), 1) - [[own[0]], [0]]
        for own, more in zip(odds, rest, strict=True)
    ]
    below, counts = np.concatenate(tables, 1)
    starts = np.cumsum([0, *(table.shape[1] for table in tables[:-1])])
    truth = np.asarray(right, float)

    def surprise(log_temperature: float) -> float:
        sure = 1 / np.add.reduceat(counts * np.exp(below / np.exp(log_temperature)), starts)
        sure = np.clip(sure, 1e-9, 1 - 1e-9)
        return log_temperature**2 / 2 - float((truth * np.log(sure) + (1 - truth) * np.log(1 - sure)).sum())

    return round(float(np.exp(minimize_scalar(surprise, bounds=(-3.0, 3.0), method="bounded").x)), 4)
