"""Answer questions from passages with any model of this task.

    python -m qa.predict --question "展览几点关门？" --context "展览每天九点开门，十七点关门。"
    python -m qa.predict --question "展览几点关门？" --file passage.txt       # the whole file is the passage
    python -m qa.predict --file questions.xlsx --output answers.xlsx       # a table with questions and passages
    python -m qa.predict --model models_save/qa/bert_soft_distill.onnx --question "…" --context "…"    # needs no torch

From Python:

    from qa.predict import QaPredictor
    QaPredictor.load("teacher").predict([("展览几点关门？", "…")])     # [{"answer", "start", "end", "confidence", …}]

`context[start:end]` is the answer in the passage as it was given; `confidence` is the probability that it is the one.
A passage longer than the encoder is read in windows that overlap, none of it is cut.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict

import numpy as np

from config import Config
from core.console import UserError, parse, require_one_or_more, run
from core.model_files.find import find_model
from core.model_files.names import name_of
from core.model_files.predictor import Predictor, Rows, predict_all
from core.tables.formats import WRITTEN, is_table, require_suffix
from core.tables.write import write_table
from core.task import Task
from core.text.words import NO_WORD
from core.training.units import count_labels
from qa import spans
from qa.data import SUFFIXES, Questions, batches, encode, read, span_units
from qa.fitting import fit_on
from qa.formats import Pair
from qa.metrics import BEST_BY, score
from qa.names import MODELS
from qa.question import PairQuestion
from qa.tables import COLUMNS, KINDS, answer_rows, fault_of, read_pairs

if TYPE_CHECKING:
    from torch import nn

NAME = "qa"
SAMPLE = Pair("展览几点关门？", "县博物馆的农具展从三月开到六月，每天九点开门，十七点关门，周一闭馆。")
TOP = 20  # answers of each question that are kept
LONGEST = 30  # units of an answer, where a model does not say


class Span(TypedDict):
    """A possible answer: what stands in the passage from `start` to before `end`; "" and None: it has none."""

    answer: str
    start: int | None
    end: int | None
    confidence: float


class Answer(Span):
    """The likeliest answer, the likeliest ones with itself among them, and whether the question was cut."""

    top_k: list[Span]
    truncated: bool


def _build_reader(architecture: dict[str, Any]) -> "nn.Module":
    from qa.model import BertReader

    return BertReader.from_architecture(architecture)


class QaPredictor(Predictor):
    """A trained reader, whatever it runs on, ready to answer. Use `QaPredictor.load`.

    Of its facts, `answers` has `longest`, units of an answer, and `threshold`, the logarithm of the odds below which
    the answer is that there is none; None for a model that always gives one.
    """

    task = NAME
    builds = {"bert_reader": _build_reader}
    most_characters = 100_000  # of passages

    @classmethod
    def load(cls, path: Path | str | None = None, device: str = "auto", in_server: bool = False) -> Self:
        """Open a model by its name or its path; None: the one that answers by default. See `Predictor.load`."""
        return super().load(path if isinstance(path, Path) else find_model(path, MODELS), device, in_server)

    @property
    def longest(self) -> int:
        """Units that an answer has at most."""
        return self.facts.get("answers", {}).get("longest", LONGEST)

    @property
    def threshold(self) -> float | None:
        """The logarithm of the odds of there being no answer; None: there always is one."""
        return self.facts.get("answers", {}).get("threshold")

    def encode(self, items: Sequence[Pair]) -> Rows:
        rows = encode([Pair(*item) for item in items], self.tokenizer)
        notes = [
            (np.array(units), told, rows.places[pair], rows.truncated[pair])
            for units, told, pair in zip(rows.units, rows.told, rows.pairs, strict=True)
        ]
        return Rows(rows.columns, rows.pairs, notes)

    def decode(self, item: Pair, notes: Sequence[Any], logits: Sequence[np.ndarray]) -> Answer:
        found, others = self.candidates(item, notes, logits)
        shares = spans.confidences([each.odds for each in found], self.temperature, others)
        top: list[Span] = []
        for (start, end, _), share in zip(found[:TOP], shares.tolist(), strict=False):
            text = item[1][start:end]
            place = {"start": start, "end": end} if text else {"start": None, "end": None}
            top.append({"answer": text, **place, "confidence": share})
        return {**top[0], "top_k": top, "truncated": bool(notes) and notes[0][3]}

    def choices(self, logits: np.ndarray) -> np.ndarray:
        """(2,) the likeliest tokens of a window to begin and to end an answer."""
        return logits.argmax(0)

    def candidates(
        self, item: Pair, notes: Sequence[Any], logits: Sequence[np.ndarray]
    ) -> tuple[list[spans.Candidate], np.ndarray]:
        """The possible answers to a question, the likeliest first, and the stretches that are none, counted.

        That there is no answer is among them as 0 to 0.
        """
        found: list[spans.Candidate] = []
        others = [spans.NONE]
        for (units, told, _, _), values in zip(notes, logits, strict=True):
            tokens = np.flatnonzero(units != NO_WORD)
            best, rest = spans.window_spans(values, tokens, units[tokens], told, self.longest)
            found += best
            others.append(rest)
        found.sort(key=lambda each: -each.odds)
        others.append(spans.counted(np.array([each.odds for each in found[spans.BEST :]])))
        answers = spans.best_answers(item[1], notes[0][2] if notes else [], found[: spans.BEST])
        if self.threshold is not None or not answers:
            answers.append(spans.Candidate(0, 0, self.threshold or 0.0))
            answers.sort(key=lambda each: -each.odds)
        return answers, np.concatenate(others, 1)


class QaTask(Task):
    """The task, whose confidences are of whole answers: so is the temperature that is fitted on them."""

    def temperature(self, predictor: QaPredictor, split: Questions) -> float:
        return self.refit(predictor, split)["temperature"]

    def refit(self, predictor: QaPredictor, split: Questions) -> dict[str, Any]:
        fitted = fit_on(predictor, split, predictor.threshold is not None)
        answers = {"longest": predictor.longest, "threshold": fitted.threshold}
        return {"answers": answers, "temperature": fitted.temperature}


TASK = QaTask(
    predictor=QaPredictor,
    suffixes=SUFFIXES,
    labels=lambda folder: None,  # the start and the end, of every model
    read=read,
    batches=batches,
    units=span_units,
    count=count_labels,
    score=score,
    best_by=BEST_BY,
    question=PairQuestion(SAMPLE),
    baseline="qa.baseline",
    models=MODELS,
)


@dataclass
class PredictConfig:
    """Knobs of prediction."""

    model: str | None = None
    """Name (teacher, soft, soft_int8 …) or path of a model. None: the one in save_models/qa/default.json."""
    question: str | None = None
    """The question."""
    context: str | None = None
    """The passage that has the answer."""
    file: Path | None = None
    """A text file that is the passage (UTF-8 or GB18030), or a table (.csv, .tsv, .xlsx, .jsonl, .parquet) with
    passages and, without --question, questions."""
    columns: tuple[str, str] | None = None
    """The columns of the table with the questions and the passages, by name or letter. None: those of usual names."""
    sheet: str | None = None
    """Sheet of a workbook. None: the first one with columns that are called as they should be, else the first one."""
    output: Path | None = None
    """With a table: the table to write, a row for each question, its suffix as above; None: answers are printed."""
    top_k: int = 1
    """Answers to print for each question."""
    batch_size: int = 128
    """Most windows in a forward pass; long ones go in smaller numbers."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        require_one_or_more(self, "batch_size", "top_k")
        if self.context is not None and self.file is not None:
            raise UserError("--context and --file exclude each other: give one of them")
        in_table = self.file is not None and is_table(self.file)
        for name in ("output", "columns", "sheet"):
            if getattr(self, name) is not None and not in_table:
                raise UserError(f"--{name} goes with --file and a table, such as .csv or .xlsx")
        if self.question is None and (self.context is not None or (self.file is not None and not in_table)):
            raise UserError("--question is missing: give the question that the passage answers")
        if self.question is not None and self.context is None and self.file is None:
            raise UserError("the passage is missing: give it with --context, or the name of its file with --file")
        if self.output:
            require_suffix(self.output, WRITTEN)
        if self.output and self.file.exists() and self.output.exists() and self.file.samefile(self.output):
            raise UserError(f"--output {self.output} is the file that is read: give the answers another name")


def show(pairs: Sequence[Pair], answers: Sequence[Answer | None], top_k: int) -> None:
    """Print each question, and below it its likeliest answers with their places."""
    for pair, found in zip(pairs, answers, strict=True):
        print(pair.question if found else f"{pair.question} ({fault_of(pair)})")
        for each in found["top_k"][:top_k] if found else ():
            place = f"{each['start']:>5}–{each['end']:<5}" if each["answer"] else " " * 11
            answer = " ".join(each["answer"].split()) or "(no answer in the passage)"  # on one line
            print(f"  {place} {each['confidence']:.4f}  {answer}")


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(PredictConfig, argv, __doc__)
    pairs = read_pairs(config.file, config.question, config.columns, config.sheet) if config.file else [SAMPLE]
    if config.context is not None:
        pairs = [Pair(config.question, config.context)]
    if not config.output and len(pairs) == 1 and (fault := fault_of(pairs[0])):
        raise UserError(f"{fault}: give a text")
    path = find_model(config.model, MODELS)
    predictor = QaPredictor.load(path, config.device)
    predictor.batch_size = config.batch_size
    print(f"model: {name_of(path, MODELS) or predictor.name} ({path})", file=sys.stderr)
    usable = [not fault_of(pair) for pair in pairs]
    found = iter(predict_all(predictor, [pair for pair, can in zip(pairs, usable, strict=True) if can], "predicting"))
    answers = [next(found) if can else None for can in usable]
    if config.output is None:
        show(pairs, answers, config.top_k)
    else:
        write_table(config.output, COLUMNS, answer_rows(pairs, answers), kinds=KINDS)
        print(f"wrote the answers to {len(pairs)} questions to {config.output}")


if __name__ == "__main__":
    run(main)
