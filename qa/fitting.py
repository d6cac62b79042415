"""What is fitted on dev data to a trained reader: when there is no answer, and how sure it may be of one."""

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

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
    plain = copy(predictor)
    plain.facts = {**predictor.facts, "answers": {"longest": predictor.longest}}
    found, others = all_candidates(plain, split.items)
    given, threshold = texts_of(found, split), None
    if null:
        worth, unanswerable = answer_scores(given, split).f1, [not own for own in split.answers]
        threshold = round(spans.best_threshold([each[0].odds for each in found], worth, unanswerable), 4)
        none = spans.Candidate(0, 0, threshold)
        found = [sorted([*each, none], key=lambda one: -one.odds) for each in found]
        given = texts_of(found, split)
    scores = answer_scores(given, split)
    temperature = spans.best_temperature([[one.odds for one in each] for each in found], scores.exact, others)
    return Fitted(threshold, temperature, scores.metrics)


def texts_of(found: Sequence[Sequence[spans.Candidate]], split: "Questions") -> list[str]:
    """The likeliest answer to each question."""
    return [item[1][each[0].first : each[0].last] for item, each in zip(split.items, found, strict=True)]


def all_candidates(predictor: "QaPredictor", items: Sequence[Pair]) -> tuple[list[list[spans.Candidate]], list[Any]]:
    """To each question the possible answers, the likeliest first, and the other stretches; see `window_spans`."""
    looking = copy(predictor)
    looking.decode = predictor.candidates
    found, others = zip(*looking.predict(items), strict=True)
    return list(found), list(others)
