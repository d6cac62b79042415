"""Predictions of classes: which texts have none, and how they are printed and saved."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

FAULTS = {"not_a_string": "not a string", "empty": "empty: nothing in it can be seen"}
COLUMNS = ("text", "pred_class", "confidence", "truncated", "error")
FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r")


@dataclass(frozen=True)
class Prediction:
    """The answer for one text. `probabilities` maps each class name, in the order of the ids, to 0 … 1."""

    text: str
    pred_class: str
    label_id: int
    confidence: float
    probabilities: dict[str, float]
    truncated: bool

    def top(self, k: int) -> list[tuple[str, float]]:
        """The `k` likeliest classes with their probabilities, likeliest first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:k]


def text_fault(text: object) -> str | None:
    """None for a text that can be predicted, else "not_a_string" or "empty" (only spaces or invisible characters)."""
    if not isinstance(text, str):
        return "not_a_string"
    if not any(character.isprintable() and not character.isspace() for character in text):
        return "empty"
    return None


def write_csv(file: BinaryIO, answers: Iterator[tuple[str, Prediction | None]], top_k: int) -> None:
    """Write a row for each line: text, class, confidence, truncated, error, then the further classes of `top_k`."""

    def rows() -> Iterator[list[object]]:
        yield [*COLUMNS, *(f"{name}_{rank}" for rank in range(2, top_k + 1) for name in ("pred_class", "confidence"))]
        for line, prediction in answers:
            if prediction is None:
                yield [inert(line), "", "", "", "empty"]
                continue
            first, *others = prediction.top(top_k)
            cells = [cell for name, share in others for cell in (inert(name), f"{share:.6f}")]
            yield [inert(line), inert(first[0]), f"{first[1]:.6f}", prediction.truncated, "", *cells]

    write_rows(file, rows())


def write_rows(file: BinaryIO, rows: Iterable[Iterable[object]], delimiter: str = ",") -> None:
    """Write CSV, or TSV, that Excel opens with its Chinese intact: UTF-8 with BOM, CRLF."""
    text_file = io.TextIOWrapper(file, encoding="utf-8-sig", newline="", errors="replace")
    csv.writer(text_file, delimiter=delimiter).writerows(rows)
    text_file.detach()


def inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe goes before what could begin one."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


def show(answers: Iterator[tuple[str, Prediction | None]], top_k: int) -> None:
    """Print a line for each text: the likeliest classes with their probabilities, a tab, the text."""
    for line, prediction in answers:
        classes = "  ".join(f"{name} {share:.4f}" for name, share in prediction.top(top_k)) if prediction else "(empty)"
        print(f"{classes}\t{line}")
