"""Scores of answers as CMRC 2018 defines them, and as SQuAD does for languages with spaces between words.

CMRC (Cui et al. 2019, "A Span-Extraction Dataset for Chinese Machine Reading Comprehension"): both texts are lowered
and stripped, and these marks are dropped from them: - : _ * ^ / \\ ~ ` + = ，。：？！“”；’《》·、「」（）－～『』.

- EM: the two are then equal; white space inside still counts.
- F1: each becomes a list, in which every Chinese character (U+4E00 to U+9FA5) is an item, and what stands between them
  is cut into words and signs. The overlap is the length of the longest common contiguous run of the two lists, no bag
  of items; precision is the overlap over the answer's length, recall over the reference's.

SQuAD (Rajpurkar et al. 2016): lowered, without ASCII punctuation, articles and repeated spaces; EM is equality, and the
overlap of F1 is that of two bags of words.

In both the best of a question's references counts, and the mean is over all questions. Where a question has no answer,
the empty answer scores 1 and any other 0.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from core.files import atomic_write
from core.measure.calibration import calibration_error
from core.model_files.predictor import Predictor, predict_all
from core.tables.write import write_rows
from core.text.units import IDEOGRAPH

if TYPE_CHECKING:
    from qa.data import Questions

BEST_BY = "f1"
DROPPED = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
CHINESE = re.compile("([\u4e00-\u9fa5])")
WORD = re.compile(r"[^\W_]+(?:[.,'][^\W_]+)*|[^\w\s]")  # 3.14 and don't are one
ARTICLES = re.compile(r"\b(?:a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)
FEW_CHINESE = 0.1  # of the characters, below which a text is taken for a language of words


class Measure(NamedTuple):
    """How two answers are compared.

    Attributes:
        name: of the measure.
        plain: a text -> what two that are exactly alike share.
        items: a text -> the list that F1 is counted on.
        overlap: two lists -> how many items they share.
    """

    name: str
    plain: Callable[[str], str]
    items: Callable[[str], list[str]]
    overlap: Callable[[Sequence[str], Sequence[str]], int]

    def exact(self, given: str, references: Sequence[str]) -> float:
        """1 where an answer is one of the references, else 0."""
        return float(self.plain(given) in map(self.plain, references))

    def f1(self, given: str, references: Sequence[str]) -> float:
        """The best F1 of an answer with one of the references, 0 to 1."""
        found = self.items(given)
        return max(self._f1(found, self.items(reference)) for reference in references)

    def _f1(self, given: list[str], wanted: list[str]) -> float:
        if not given or not wanted:
            return float(given == wanted)
        return 2 * self.overlap(given, wanted) / (len(given) + len(wanted))


def cmrc_plain(text: str) -> str:
    """A text as CMRC compares it: lowered, stripped, without its marks."""
    return text.lower().strip().translate(DROPPED)


def cmrc_items(text: str) -> list[str]:
    """The characters of Chinese and the words of anything else in a text."""
    parts = CHINESE.split(cmrc_plain(text))
    return [item for part in parts for item in ([part] if CHINESE.fullmatch(part) else WORD.findall(part))]


def longest_run(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest contiguous run that two lists share."""
    best, before = 0, [0] * (len(other) + 1)
    for item in one:
        row = [0]
        row += [before[at] + 1 if item == wanted else 0 for at, wanted in enumerate(other)]
        best, before = max(best, *row), row
    return best


def squad_plain(text: str) -> str:
    """A text as SQuAD compares it: lowered, without punctuation, articles and repeated spaces."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def shared_items(one: Sequence[str], other: Sequence[str]) -> int:
    """How many items two bags share."""
    return (Counter(one) & Counter(other)).total()


CMRC = Measure("CMRC 2018", cmrc_plain, cmrc_items, longest_run)
SQUAD = Measure("SQuAD", squad_plain, lambda text: squad_plain(text).split(), shared_items)


def measure_of(contexts: Sequence[str]) -> Measure:
    """The measure that suits the language of some passages."""
    text = "".join(contexts)
    return SQUAD if len(IDEOGRAPH.findall(text)) < FEW_CHINESE * max(1, len("".join(text.split()))) else CMRC


class Scores(NamedTuple):
    """What some answers are worth: EM and F1 of each, and the metrics over all."""

    exact: list[float]
    f1: list[float]
    metrics: dict[str, Any]


def answer_scores(given: Sequence[str], split: "Questions") -> Scores:
    """Scores of an answer for each question of a file, "" for none.

    The metrics are `em` and `f1`, fractions; `n`; `measure`, its name; where some questions have no answer also
    `answerable_f1` and `null_accuracy`, over those that have and have none.
    """
    measure = measure_of([item.context for item in split.items])
    exact, scores = (
        # None is right where there is none: what a measure drops, as a mark, is an answer all the same.
        [worth(*pair) if all(pair) else float(not any(pair)) for pair in zip(given, split.answers, strict=True)]
        for worth in (measure.exact, measure.f1)
    )
    metrics = {"em": sum(exact) / len(exact), "f1": sum(scores) / len(scores)}
    unanswerable = [score for score, own in zip(scores, split.answers, strict=True) if not own]
    if unanswerable:
        metrics["null_accuracy"] = sum(unanswerable) / len(unanswerable)
        metrics["answerable_f1"] = (sum(scores) - sum(unanswerable)) / max(1, len(scores) - len(unanswerable))
    return Scores(exact, scores, {**metrics, "n": len(scores), "measure": measure.name})


def score(predictor: Predictor, split: "Questions", folder: Path | None = None) -> dict[str, Any]:
    """The metrics of a predictor on a labelled file.

    Args:
        predictor: of answers.
        split: labelled.
        folder: where bad_cases.tsv goes, the answers that are not exact, the worst first; the metrics then hold
            `row_scores`, the F1 of each question, and `exact`, its EM. None: nothing is written.
    """
    found = predict_all(predictor, split.items, predictor.path.name if predictor.path else predictor.name)
    given = [each["answer"] for each in found]
    scores = answer_scores(given, split)
    metrics = scores.metrics | confidence_metrics([each["confidence"] for each in found], scores.exact)
    if folder is None:
        return metrics
    order = sorted(range(len(given)), key=lambda at: (scores.f1[at], -found[at]["confidence"]))
    rows = [["f1", "confidence", "answer", "references", "question", "passage"]]
    for at in order:
        if not scores.exact[at]:
            numbers = f"{scores.f1[at]:.2f}", f"{found[at]['confidence']:.3f}"
            rows.append([*numbers, given[at], " | ".join(split.answers[at]), *split.items[at]])
    atomic_write(folder / "bad_cases.tsv", lambda file: write_rows(file, rows, "\t"))
    print(f"{len(rows) - 1} answers that are not exact: bad_cases.tsv in {folder}")
    return {**metrics, "row_scores": [round(each, 6) for each in scores.f1], "exact": scores.exact}


def confidence_metrics(confidence: Sequence[float], exact: Sequence[float]) -> dict[str, float]:
    """`ece`, the expected calibration error of the confidences: 80 % means that 80 % of such answers are exact."""
    return {"ece": calibration_error(np.array(confidence), np.array(exact))}
