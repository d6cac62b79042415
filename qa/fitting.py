"""What is fitted on dev data to a trained reader: when there is no answer, and how sure it may be of one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qa import spans
from qa.formats import Pair
from qa.metrics import answer_scores

if TYPE_CHECKING:
    from qa.data import Questions
    from qa.predict import QaPredictor


class Fitted(NamedTuple):
    """The threshold and the temperature of a model (see `QaPredictor`), and its metrics with them on the same data."""

    threshold: float | None
    temperature: float
    metrics: dict[str, Any]


def fit_on(predictor: "QaPredictor", split: "Questions", null: bool) -> Fitted:
    """Fit a model to labelled questions, those of dev.

    Args:
        predictor: the model; its own threshold is not looked at.
        split: the questions.
        null: whether the model may say that there is no answer.
    """
    plain = type(predictor)({**predictor.facts, "answers": {"longest": predictor.longest}}, predictor.run)
    found = all_candidates(plain, split.items)
    given, threshold = texts_of(found, split), None
    if null:
        worth, unanswerable = answer_scores(given, split).f1, [not own for own in split.answers]
        threshold = round(spans.best_threshold([each[0].odds for each in found], worth, unanswerable), 4)
        none = spans.Candidate(0, 0, threshold)
        found = [sorted([*each, none], key=lambda one: -one.odds) for each in found]
        given = texts_of(found, split)
    scores = answer_scores(given, split)
    return Fitted(threshold, temperature_of(found, scores.exact), scores.metrics)


def fit_temperature(predictor: "QaPredictor", split: "Questions") -> float:
    """The temperature at which the confidences of a model are likeliest, by labelled questions."""
    found = all_candidates(predictor, split.items)
    return temperature_of(found, answer_scores(texts_of(found, split), split).exact)


def temperature_of(found: Sequence[Sequence[spans.Candidate]], exact: Sequence[float]) -> float:
    """The temperature that suits the possible answers to some questions, given which of the first ones are exact."""
    return spans.best_temperature([[one.odds for one in each] for each in found], exact)


def texts_of(found: Sequence[Sequence[spans.Candidate]], split: "Questions") -> list[str]:
    """The likeliest answer to each question."""
    return [item[1][each[0].first : each[0].last] for item, each in zip(split.items, found, strict=True)]


def all_candidates(predictor: "QaPredictor", items: Sequence[Pair]) -> list[list[spans.Candidate]]:
    """The possible answers to each question, the likeliest first."""
    rows = predictor.encode(items)
    own: list[tuple[list[Any], list[np.ndarray]]] = [([], []) for _ in items]
    for item, note, values in zip(rows.item_of_row, rows.notes, predictor.logits(rows.columns), strict=True):
        own[item][0].append(note)
        own[item][1].append(values)
    return [predictor.candidates(item, *its) for item, its in zip(items, own, strict=True)]
