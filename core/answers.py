"""Predictions of classes: which texts have none, and how they are printed and saved."""

from collections.abc import Iterator
from dataclasses import dataclass

FAULTS = {"not_a_string": "not a string", "empty": "empty: nothing in it can be seen"}
COLUMNS = ("text", "pred_class", "confidence", "truncated", "error")
UNSURE = "不确定"  # what is said of an answer whose confidence is below the least that was asked for


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

    def is_sure(self, min_confidence: float | None) -> bool:
        """Whether the confidence reaches the least that is asked for; None asks for none."""
        return min_confidence is None or self.confidence >= min_confidence


def text_fault(text: object) -> str | None:
    """None for a text that can be predicted, else "not_a_string" or "empty" (only spaces or invisible characters)."""
    if not isinstance(text, str):
        return "not_a_string"
    if not any(character.isprintable() and not character.isspace() for character in text):
        return "empty"
    return None


def answer_rows(
    answers: Iterator[tuple[str, Prediction | None]], top_k: int, min_confidence: float | None = None
) -> Iterator[list[object]]:
    """The columns, then a row for each line: text, class, confidence, truncated, error, the further ones of `top_k`.

    With a least confidence, the column `unsure` before these says 不确定 beside a class that does not reach it.
    """
    columns = list(COLUMNS if min_confidence is None else (*COLUMNS, "unsure"))
    columns += [f"{name}_{rank}" for rank in range(2, top_k + 1) for name in ("pred_class", "confidence")]
    yield list[object](columns)
    for line, prediction in answers:
        if prediction is None:
            yield [line, "", None, "", "empty", *[None] * (len(columns) - len(COLUMNS))]
            continue
        first, *others = prediction.top(top_k)
        cells: list[object] = [cell for name, share in others for cell in (name, round(share, 6))]
        if min_confidence is not None:
            cells.insert(0, "" if prediction.is_sure(min_confidence) else UNSURE)
        cells = [line, first[0], round(first[1], 6), prediction.truncated, "", *cells]
        yield cells + [None] * (len(columns) - len(cells))


def show(answers: Iterator[tuple[str, Prediction | None]], top_k: int, min_confidence: float | None = None) -> None:
    """Print a line for each text: the likeliest classes with their probabilities, 不确定 if so, a tab, the text."""
    for line, prediction in answers:
        classes = "  ".join(f"{name} {share:.4f}" for name, share in prediction.top(top_k)) if prediction else "(empty)"
        unsure = "" if prediction is None or prediction.is_sure(min_confidence) else f"  {UNSURE}"
        print(f"{classes}{unsure}\t{line}")
