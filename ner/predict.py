"""Find the named entities in texts with any model of this task.

    python -m ner.predict --text "中国银行行长在北京会见了比尔·盖茨"
    python -m ner.predict --file articles.txt --output entities.csv     # a text a line; a row for each entity
    python -m ner.predict --file table.xlsx --column 内容 --output entities.xlsx
    python -m ner.predict --model models_save/ner/bert_soft_distill.onnx --text "…"    # ONNX needs no torch

From Python:

    from ner.predict import NerPredictor
    NerPredictor.load("teacher").predict(["…"])     # [[{"text", "start", "end", "label", "confidence"}, …]]

`text[start:end]` is the entity in the text as it was given; `confidence` is the probability of its least sure tag. A
text longer than the encoder is read in windows that overlap, none of it is cut. `row` of the table that is written
counts the rows below the header of the one that was read, or the lines of a text file, from 1, blank ones too.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypedDict

import numpy as np
import tyro

from config import Config
from core.answers import FAULTS, text_fault
from core.console import UserError, parse, require_one_or_more, run
from core.model_files.find import find_model
from core.model_files.names import name_of
from core.model_files.predictor import Predictor, Rows, predict_all
from core.serving.openapi import INTEGER, SHARE, STRING, listed
from core.serving.questions import TextQuestion
from core.tables.cells import cell_text
from core.tables.columns import text_columns
from core.tables.formats import WRITTEN, is_table, require_suffix
from core.tables.read import open_table
from core.tables.write import write_table
from core.task import Task
from core.text.decode import open_text
from core.text.words import NO_WORD
from core.training.units import count_labels, token_units
from ner.data import SUFFIXES, batches, read
from ner.decode import best_path, entities_of
from ner.metrics import BEST_BY, score
from ner.names import MODELS
from ner.tags import types_of
from ner.units import encode

if TYPE_CHECKING:
    from torch import nn

SAMPLE = "中国银行行长昨日在北京会见了微软创始人比尔·盖茨一行"
NAME = "ner"
COLUMNS = ("row", "text", "entity", "label", "start", "end", "confidence", "error")

PLACE = {"start": INTEGER, "end": INTEGER}
KINDS = {"row": int, "start": int, "end": int, "confidence": float}


class Found(TypedDict):
    """An entity that was found: `text` is what stands from `start` to before `end`, `confidence` is 0 to 1."""

    text: str
    start: int
    end: int
    label: str
    confidence: float


def _build_tagger(architecture: dict[str, Any]) -> "nn.Module":
    from ner.model import BertTagger

    return BertTagger.from_architecture(architecture)


class NerPredictor(Predictor):
    """A trained tagger, whatever it runs on, ready to find entities. Use `NerPredictor.load`."""

    task = NAME
    builds = {"bert_tagger": _build_tagger}
    most_characters = 200_000

    @property
    def types(self) -> list[str]:
        """The types of entities that the model knows."""
        return types_of(self.labels)

    @classmethod
    def load(cls, path: Path | str | None = None, device: str = "auto", in_server: bool = False) -> Self:
        """Open a model by its name or its path; None: the one that answers by default. See `Predictor.load`."""
        return super().load(path if isinstance(path, Path) else find_model(path, MODELS), device, in_server)

    def encode(self, items: Sequence[str]) -> Rows:
        rows = encode(items, self.tokenizer)
        notes = zip(rows.words, (rows.units[sentence] for sentence in rows.sentences), strict=True)
        return Rows(rows.columns, rows.sentences, list(notes))

    def decode(self, item: str, notes: Sequence[Any], logits: Sequence[np.ndarray]) -> list[Found]:
        if not notes:  # nothing to see in it
            return []
        units = notes[0][1]
        values = unit_logits([words for words, _ in notes], logits, len(units))
        path = best_path(values, self.labels)
        sure = self.probabilities(values)[np.arange(len(path)), path]
        found = []
        for first, last, label in entities_of(path, self.labels):
            start, end = units[first][0], units[last - 1][1]
            text, confidence = item[start:end], float(sure[first:last].min())
            found.append({"text": text, "start": start, "end": end, "label": label, "confidence": confidence})
        return found


def unit_logits(words: Sequence[Sequence[int]], logits: Sequence[np.ndarray], units: int) -> np.ndarray:
    """(units, tags) the logits of the first piece of each unit of a text, from those of its rows.

    Args:
        words: of each row, the unit of each token; see `ner.units.Encoded`.
        logits: of each row, (tokens, tags).
        units: how many the text has.
    """
    index = np.concatenate([np.asarray(row) for row in words])
    values = np.concatenate(list(logits))
    first = (index != NO_WORD) & (index != np.concatenate(([NO_WORD], index[:-1])))
    found = np.empty((units, values.shape[1]), values.dtype)
    found[index[first]] = values[first]
    return found


def _answer(found: list[Found], _: None) -> dict[str, Any]:
    """The JSON that the API gives for a text."""
    return {"entities": [{**each, "confidence": round(each["confidence"], 6)} for each in found]}


TASK = Task(
    predictor=NerPredictor,
    suffixes=SUFFIXES,
    labels=lambda folder: None,  # their order is the model's; `read` refuses types that it does not have
    read=read,
    batches=batches,
    units=token_units,
    count=count_labels,
    score=score,
    best_by=BEST_BY,
    question=TextQuestion(
        "实体识别",
        _answer,
        lambda found: "entities" if found else "none",
        sample=SAMPLE,
        keys={"entities": listed({"text": STRING, **PLACE, "label": STRING, "confidence": SHARE})},
    ),
    baseline="ner.baseline",
    models=MODELS,
)


@dataclass
class PredictConfig:
    """Knobs of prediction."""

    model: str | None = None
    """Name (teacher, soft, soft_int8 …) or path of a model. None: the one in save_models/ner/default.json."""
    text: Annotated[str | None, tyro.conf.arg(constructor=str, metavar="STR", help_behavior_hint="")] = None
    """One text."""
    file: Path | None = None
    """A text file with a text a line (UTF-8 or GB18030), or a table: .csv, .tsv, .xlsx, .jsonl, .parquet."""
    column: str | None = None
    """The column of the table of texts, by its name or letter. None: the first of a usual name, or the only one."""
    sheet: str | None = None
    """Sheet of a workbook. None: the first one with a column that is called like texts, else the first one."""
    output: Path | None = None
    """With --file: the table to write, a row for each entity, its suffix as above; None: the answers are printed."""
    batch_size: int = 128
    """Most windows in a forward pass; long ones go in smaller numbers."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        if self.text is not None and self.file is not None:
            raise UserError("--text and --file exclude each other: give one of them")
        for name in ("output", "column", "sheet"):
            if getattr(self, name) is not None and self.file is None:
                raise UserError(f"--{name} goes with --file")
        require_one_or_more(self, "batch_size")
        if self.output:
            require_suffix(self.output, WRITTEN)
        if self.output and self.file.exists() and self.output.exists() and self.file.samefile(self.output):
            raise UserError(f"--output {self.output} is the file that is read: give the answers another name")


def read_texts(path: Path, column: str | None, sheet: str | None = None) -> list[str]:
    """The texts of a file, one a line, or those of a table; what was odd about it is told, and which column was chosen.

    Raises:
        UserError: the file cannot be read, or is a table without such a column or sheet.
    """
    if not is_table(path):
        if column is not None or sheet is not None:
            raise UserError(f"--column and --sheet go with a table, and {path} is read as a text a line")
        with open_text(path) as file:
            texts, warnings = list(file.lines()), file.warnings
    else:
        wanted = [column] if column else []
        with open_table(path, wanted=wanted, sheet=sheet) as found:
            chosen = text_columns(found.columns, wanted, str(path))[0]
            texts, warnings = [cell_text(row[chosen]) for row in found.rows], found.warnings
        if column is None:
            print(f"{path}: text: {found.columns[chosen]!r}; another column: --column", file=sys.stderr)
    for warning in warnings:
        print(f"warning: {path}: {warning}", file=sys.stderr)
    return texts


def answer_rows(texts: Sequence[str], answers: Sequence[list[Found] | None]) -> Iterator[list[Any]]:
    """A row for each entity, and one for a text that has none, so that every text is there."""
    for number, (text, found) in enumerate(zip(texts, answers, strict=True), start=1):
        for each in found or ():
            yield [number, text, each["text"], each["label"], each["start"], each["end"], each["confidence"], ""]
        if not found:
            yield [number, text, "", "", None, None, None, "empty" if found is None else ""]


def show(texts: Sequence[str], answers: Sequence[list[Found] | None]) -> None:
    """Print each text, and below it a line for each of its entities."""
    for text, found in zip(texts, answers, strict=True):
        print(text if found is not None else "(empty)")
        for each in found or ():
            print(f"  {each['start']:>5}–{each['end']:<5} {each['label']:<12} {each['confidence']:.4f}  {each['text']}")


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(PredictConfig, argv, __doc__)
    if config.text is not None and (fault := text_fault(config.text)):
        raise UserError(f"--text is {FAULTS[fault]}: give a text")
    texts = read_texts(config.file, config.column, config.sheet) if config.file else [config.text or SAMPLE]
    path = find_model(config.model, MODELS)
    predictor = NerPredictor.load(path, config.device)
    predictor.batch_size = config.batch_size
    print(f"model: {name_of(path, MODELS) or predictor.name} ({path})", file=sys.stderr)
    found = iter(predict_all(predictor, [text for text in texts if not text_fault(text)], "predicting"))
    answers = [None if text_fault(text) else next(found) for text in texts]
    if config.output is None:
        show(texts, answers)
    else:
        write_table(config.output, COLUMNS, answer_rows(texts, answers), kinds=KINDS)
        print(f"wrote {sum(map(len, filter(None, answers)))} entities of {len(texts)} texts to {config.output}")


if __name__ == "__main__":
    run(main)
