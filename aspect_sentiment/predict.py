"""Read the sentiment of each aspect in reviews with any model of this task.

    python -m aspect_sentiment.predict --text "味道不错，就是排队太久，服务员也爱答不理"
    python -m aspect_sentiment.predict --file reviews.xlsx --output states.xlsx     # a column for each aspect
    python -m aspect_sentiment.predict --file reviews.txt --output states.csv       # a review a line
    python -m aspect_sentiment.predict --model models_save/aspect_sentiment/bert_soft_distill.onnx --text "…"

From Python:

    from aspect_sentiment.predict import SentimentPredictor
    SentimentPredictor.load("teacher").predict("味道不错，就是排队太久")
    # {"overall": {"state", "confidence"}, "aspects": [{"aspect", "state", "confidence", "words"}, …]}

Of one text, the words are told that spoke for each state: the clause without which it would be least likely. A list of
texts, or one of more than 5,000 characters, is answered without them, many times faster. A review that is longer than
the model is read in windows.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
import tyro

from aspect_sentiment.columns import read_list
from aspect_sentiment.data import SUFFIXES, Reviews, batches, find_file, read
from aspect_sentiment.decisions import decide, pool_windows
from aspect_sentiment.metrics import BEST_BY
from aspect_sentiment.names import MODELS, NAME
from aspect_sentiment.report import score
from aspect_sentiment.states import find_state
from aspect_sentiment.tables import answer_columns, answer_rows, read_reviews
from aspect_sentiment.texts import ReviewTokenizer, clean, encode
from config import Config
from core.answers import FAULTS, text_fault
from core.console import UserError, parse, require_one_or_more, run
from core.model_files.facts import Facts
from core.model_files.find import find_model
from core.model_files.names import name_of
from core.model_files.onnx_model import Run
from core.model_files.predictor import Predictor, Rows, predict_all
from core.serving.openapi import OBJECT, SHARE, STRING, listed
from core.serving.questions import TextQuestion
from core.tables.cells import cell_text
from core.tables.formats import WRITTEN, require_suffix
from core.tables.write import write_table
from core.task import Task
from core.training.units import count_labels, token_units

if TYPE_CHECKING:
    from torch import nn

SAMPLE = "地铁口出来走五分钟就到，环境挺安静，味道没得说，就是等位等了快一个小时，服务员也爱答不理。"
KEYS = {"aspects": listed({"aspect": STRING, "state": STRING, "confidence": SHARE}), "overall": OBJECT}
CLAUSE = re.compile(r"[^，。！？；、,.!?;~～…\s]+[，。！？；、,.!?;~～…\s]*")
MOST_CHARS = 5_000  # of a review whose clauses are tried one by one: of a longer one that takes minutes
MOST_CLAUSES = 200


def _build_aspects(architecture: dict[str, Any]) -> "nn.Module":
    from aspect_sentiment.model import BertAspects

    return BertAspects.from_architecture(architecture)


class SentimentPredictor(Predictor):
    """A trained model, whatever it runs on, ready to read reviews. Use `SentimentPredictor.load`."""

    task = NAME
    builds = {"bert_aspects": _build_aspects}

    def __init__(self, facts: Facts, run: Run, path: Path | None = None) -> None:
        super().__init__(facts, run, path)
        architecture = facts["architecture"]
        self.aspects: list[str] = architecture["aspects"]
        self.tokenizer = ReviewTokenizer.from_facts(facts)
        self.absent = find_state(self.labels, "absent")
        offsets = architecture.get("offsets")
        self.offsets = None if offsets is None else np.array(offsets, float)
        if offsets is not None and self.offsets.shape != (len(self.aspects), len(self.labels)):
            raise ValueError("offsets of other aspects or states")

    @classmethod
    def load(cls, path: Path | str | None = None, device: str = "auto", in_server: bool = False) -> Self:
        """Open a model by its name or its path; None: the one that answers by default. See `Predictor.load`."""
        return super().load(path if isinstance(path, Path) else find_model(path, MODELS), device, in_server)

    def encode(self, items: Sequence[str]) -> Rows:
        rows = encode(items, self.tokenizer)
        return Rows({"input_ids": rows.input_ids}, rows.reviews, [None] * len(rows.reviews))

    def shares(self, logits: Sequence[np.ndarray]) -> np.ndarray:
        """(aspects, states) probabilities for a review from the logits of its windows."""
        return pool_windows(self.probabilities(np.stack(logits)), self.absent)

    def decode(self, item: str, notes: Sequence[Any], logits: Sequence[np.ndarray]) -> dict[str, Any]:
        shares = self.shares(logits)
        chosen = decide(shares, self.offsets)
        aspects = [
            {"aspect": name, "state": self.labels[state], "confidence": float(shares[index, state])}
            for index, (name, state) in enumerate(zip(self.aspects, chosen.tolist(), strict=True))
        ]
        return {"overall": self._overall(shares, chosen), "aspects": aspects}

    def _overall(self, shares: np.ndarray, chosen: np.ndarray) -> dict[str, Any]:
        """The state that most of what is mentioned has (of a tie the likelier), and its share; else not mentioned."""
        mentioned = chosen != self.absent
        if not mentioned.any():
            return {"state": self.labels[self.absent], "confidence": float(shares[:, self.absent].mean())}
        counts = np.bincount(chosen[mentioned], minlength=len(self.labels))
        state = int(np.lexsort((shares[mentioned].sum(0), counts))[-1])
        return {"state": self.labels[state], "confidence": float(counts[state] / counts.sum())}

    def predict(self, items: Sequence[str] | str, batch_size: int | None = None) -> Any:
        """The answers for some reviews; for one that is given alone, with the words that spoke for each state."""
        if not isinstance(items, str):
            return super().predict(items, batch_size)
        [answer] = super().predict([items], batch_size)
        for entry, words in zip(answer["aspects"], self.evidence(items), strict=True):
            entry["words"] = words
        return answer

    def evidence(self, text: str) -> list[str]:
        """For each aspect that is mentioned the clause without which its state would be least likely, else ""."""
        if len(text) > MOST_CHARS:
            return [""] * len(self.aspects)
        clauses = list(CLAUSE.finditer(text))[:MOST_CLAUSES]
        texts = [text, *(text[: clause.start()] + text[clause.end() :] for clause in clauses)]
        rows = self.encode(texts)
        logits = self.logits(rows.columns)
        own: list[list[np.ndarray]] = [[] for _ in texts]
        for item, values in zip(rows.item_of_row, logits, strict=True):
            own[item].append(values)
        whole, *without = map(self.shares, own)
        found = []
        for aspect, state in enumerate(decide(whole, self.offsets).tolist()):
            falls = [whole[aspect, state] - each[aspect, state] for each in without]
            clear = state != self.absent and falls and max(falls) > 0
            found.append(clauses[int(np.argmax(falls))][0].strip("，。！？；、,.!?;~～… \n") if clear else "")
        return found


def _answer(found: dict[str, Any], _: None) -> dict[str, Any]:
    """The JSON that the API gives for a review."""
    rounded = [
        {**entry, "confidence": round(entry["confidence"], 6)} for entry in (*found["aspects"], found["overall"])
    ]
    return {"aspects": rounded[:-1], "overall": rounded[-1]}


def _fits(facts: Facts, folder: Path) -> None:
    """Refuse a data folder with other aspects than a model has.

    Raises:
        UserError: it has.
    """
    path = find_file(folder, "train")
    if path is None and not (folder / "aspects.txt").is_file():
        return
    own = facts["architecture"]["aspects"]
    found = read_list(folder / "aspects.txt") if path is None else read(path, facts["labels"]).aspects
    if found != own:
        raise UserError(
            f"{folder} has other aspects than the model, or their order differs: take its data (--data-dir or --data)\n"
            f"  model: {' '.join(own)}\n  data:  {' '.join(found)}"
        )


def _read(path: Path, labels: Sequence[str], limit: int | None) -> Reviews:
    """A labelled file with the aspects of the train file beside it, where there is one."""
    train = find_file(path.parent, "train")
    return read(path, labels, limit, read(train, labels).aspects if train and train != path else None)


TASK = Task(
    predictor=SentimentPredictor,
    suffixes=SUFFIXES,
    labels=lambda folder: None,  # their order is the model's; `read` refuses states that it does not have
    read=_read,
    batches=batches,
    units=token_units,
    count=count_labels,
    score=score,
    best_by=BEST_BY,
    question=TextQuestion("方面情感", _answer, lambda found: found["overall"]["state"], sample=SAMPLE, keys=KEYS),
    baseline="aspect_sentiment.baseline",
    models=MODELS,
    fits=_fits,
)


@dataclass
class PredictConfig:
    """Knobs of prediction."""

    model: str | None = None
    """Name (teacher, soft, soft_int8 …) or path of a model. None: the one in its folder's default.json."""
    text: Annotated[str | None, tyro.conf.arg(constructor=str, metavar="STR", help_behavior_hint="")] = None
    """One review."""
    file: Path | None = None
    """A text file with a review a line (UTF-8 or GB18030), or a table: .csv, .tsv, .xlsx, .jsonl, .parquet."""
    column: str | None = None
    """The column of the table that holds the reviews, by its name or letter. None: the first of a usual name."""
    sheet: str | None = None
    """Sheet of a workbook. None: the first one with columns that are called as they should be, else the first one."""
    output: Path | None = None
    """With --file: the table to write, its columns and one for each aspect; None: the answers are printed."""
    batch_size: int = Config.batch_size
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


def show(answer: dict[str, Any], absent: str) -> None:
    """Print what a review says of each aspect that it mentions, the overall state first."""
    print(f"overall  {answer['overall']['state']} {answer['overall']['confidence']:.4f}")
    for entry in answer["aspects"]:
        if entry["state"] != absent:
            words = f"  {entry['words']}" if entry.get("words") else ""
            print(f"  {entry['state']}  {entry['confidence']:.4f}  {entry['aspect']}{words}")


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(PredictConfig, argv, __doc__)
    if config.text is not None and (fault := text_fault(clean(config.text))):
        raise UserError(f"--text is {FAULTS[fault]}: give a text")
    path = find_model(config.model, MODELS)
    predictor = SentimentPredictor.load(path, config.device)
    predictor.batch_size = config.batch_size
    absent = "" if predictor.absent is None else predictor.labels[predictor.absent]
    print(f"model: {name_of(path, MODELS) or predictor.name} ({path})", file=sys.stderr)
    if config.file is None:
        text = config.text or SAMPLE
        print(text)
        show(predictor.predict(text), absent)
        return
    columns, rows, place, schema = read_reviews(config.file, config.column, config.sheet)
    texts = [cell_text(row[place]) for row in rows]
    found = iter(predict_all(predictor, [text for text in texts if not text_fault(clean(text))], "predicting"))
    answers = [None if text_fault(clean(text)) else next(found) for text in texts]
    if config.output is None:
        for text, answer in zip(texts, answers, strict=True):
            print(text if answer else "(empty)")
            if answer:
                show(answer, absent)
        return
    names = answer_columns(columns, predictor.aspects)
    kinds = {names[len(columns) + 1]: float}  # the confidence
    write_table(config.output, names, answer_rows(rows, answers, len(predictor.aspects)), schema, kinds)
    print(f"wrote the states of {len(texts)} reviews to {config.output}")


if __name__ == "__main__":
    run(main)
