"""A batch of titles with its answers and corrections, and the tables made of them for download."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.answers import UNSURE
from core.tables.answers import added_columns
from core.tables.write import write_format
from page.run import BatchRun, ModelAnswers
from page.titles import Given, truth

TOP_K = 3
NOT_ASKED = "没有预测"
CUT = "过长，只读了开头"
RIGHT_CLASS = "正确类别"


@dataclass(eq=False)
class Batch:
    """Titles on their way through one model, or answered.

    Attributes:
        given: titles and the table that they are from.
        run: asks about them.
        right: code of the class written beside each title, -1 where there is none; None: nothing was written.
        corrected: {row: the class that the visitor says is right}.
    """

    given: Given
    run: BatchRun
    right: np.ndarray | None
    corrected: dict[int, str] = field(default_factory=dict)

    @classmethod
    def start(cls, ask: Any, given: Given, model: str, labels: list[str]) -> "Batch":
        """Begin to ask."""
        code_of = {name: code for code, name in enumerate(labels)}
        classes = truth(given, labels)
        right = None if classes is None else np.array([code_of.get(name, -1) for name in classes], int)
        return cls(given, BatchRun(ask, given.titles, {model: labels}, TOP_K), right)

    @property
    def answers(self) -> ModelAnswers:
        [answers] = self.run.answers.values()
        return answers

    def unsure(self, min_confidence: float) -> np.ndarray:
        """Which rows have a class below the least confidence that is asked for."""
        return self.answers.answered & (self.answers.confidence < min_confidence)

    def judged(self, min_confidence: float) -> tuple[float | None, float | None]:
        """Coverage and accuracy, as shares; None where there is nothing to judge by.

        Coverage is that of the answered titles; accuracy that of the covered ones whose own class is known.
        """
        answered = self.answers.answered
        sure = answered & ~self.unsure(min_confidence)
        coverage = float(sure.sum() / answered.sum()) if answered.any() else None
        known = sure & (self.right >= 0) if self.right is not None else np.zeros(0, bool)
        return coverage, float((self.answers.codes == self.right)[known].mean()) if known.any() else None

    def note(self, row: int, is_unsure: bool) -> str:
        """What is to be said of a row beside its class."""
        if not self.answers.answered[row]:
            return self.answers.errors.get(row, NOT_ASKED)
        return "；".join([UNSURE] * bool(is_unsure) + [CUT] * bool(self.answers.truncated[row]))

    def table(self, min_confidence: float, top_k: int) -> tuple[list[str], Iterator[list[Any]]]:
        """The columns and the rows of what was given, with the answers beside it.

        These are 类别 and 置信度; 说明, where there is anything to be said of a row; 类别2, 置信度2 and so on, of the
        classes that are next in likelihood; and 正确类别, where any was corrected.
        """
        answers, unsure = self.answers, self.unsure(min_confidence)
        notes = bool(min_confidence or answers.truncated.any() or not answers.answered.all())
        added = added_columns(self.given.columns, top_k, min_confidence if notes else None)
        added += [RIGHT_CLASS] * bool(self.corrected)

        def rows() -> Iterator[list[Any]]:
            for row, own in enumerate(self.given.rows):
                cells: list[Any] = [None, None]
                if answers.answered[row]:
                    cells = [answers.label(row), round(float(answers.confidence[row]), 6)]
                cells += [self.note(row, unsure[row])] * notes
                for rank in range(top_k - 1):
                    code = answers.next_codes[row, rank]
                    share = round(float(answers.next_confidence[row, rank]), 6)
                    cells += [None, None] if code < 0 else [answers.labels[code], share]
                yield [*own, *cells, *[self.corrected.get(row)] * bool(self.corrected)]

        return [*self.given.columns, *added], rows()

    def file(self, suffix: str, min_confidence: float, top_k: int) -> bytes:
        """That table as a file in the format of a suffix."""
        return _written(suffix, *self.table(min_confidence, top_k))

    def corrections(self) -> bytes:
        """The corrected titles as a CSV that `utils.py import --add` takes: text, label."""
        rows = ([self.run.titles[row], label] for row, label in sorted(self.corrected.items()))
        return _written(".csv", ["text", "label"], rows)


def _written(suffix: str, columns: list[str], rows: Iterator[list[Any]]) -> bytes:
    file = io.BytesIO()
    write_format(file, suffix, columns, rows)
    return file.getvalue()
