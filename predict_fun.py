"""Predict the class of titles with any model of this project.

    python predict_fun.py                                            # a few sample titles
    python predict_fun.py --text "央行下调存款准备金率 释放长期资金约一万亿元" --top-k 3
    python predict_fun.py --file titles.txt --output classes.csv     # one title a line; the CSV opens in Excel
    python predict_fun.py --file news.xlsx --output classes.xlsx     # a table and its classes; CSV, TSV, JSONL, Parquet
    python predict_fun.py --file titles.txt --min-confidence 0.8     # what is less sure is marked 不确定
    python predict_fun.py --file - < titles.txt                      # standard input
    python predict_fun.py --model save_models/bertclassifer_int8.onnx    # ONNX needs neither torch nor transformers

From Python:

    from predict_fun import NewsClassifier, predict
    predict({"text": "…"})                                           # {"text": …, "pred_class": …}, default model
    NewsClassifier.load("model.pt").predict(["…", "…"])              # a file or a name; all probabilities

The model is `--model`, else the environment's NEWS_MODEL, else the first one that has been trained.
"""

import functools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from config import BEST_BY, MODELS, Config
from core.answers import FAULTS, Prediction, show, text_fault
from core.console import UserError, parse, progress, require_one_or_more, require_share, run
from core.model_files.find import find_model
from core.model_files.names import name_of
from core.model_files.predictor import CHUNK, Predictor, Rows
from core.serving.questions import CLASS_KEYS, CLASS_OPTIONS, ClassOptions, TextQuestion
from core.tables.answers import class_columns, open_source
from core.tables.write import write_table
from core.task import Task
from core.text.tokenizer import Tokenizer, replace_surrogates
from core.training.units import count_rows, row_units

if TYPE_CHECKING:
    from torch import nn

    from core.training.batches import Batches
    from utils import Titles

SAMPLES = (
    "SpaceX 星舰今日成功发射，开启火星移民新篇章",
    "央行下调存款准备金率 释放长期资金约一万亿元",
    "高考语文作文题出炉，你会写哪一道？",
    "加时赛绝杀！主队时隔六年重返决赛",
    "二手房挂牌量创新高 卖家开始接受议价",
)


def _build_bilstm(architecture: dict[str, Any]) -> "nn.Module":
    from bilstm_classifier import BiLSTMClassifier

    return BiLSTMClassifier.from_architecture(architecture)


def _build_bert(architecture: dict[str, Any]) -> "nn.Module":
    from bert_classifer_model import BertClassifier

    return BertClassifier.from_architecture(architecture)


class NewsClassifier(Predictor):
    """A trained news classifier, whatever it runs on, ready to predict. Use `NewsClassifier.load`."""

    builds = {"bert": _build_bert, "bilstm": _build_bilstm}

    @classmethod
    def load(cls, path: Path | str, device: str = "auto", in_server: bool = False) -> "NewsClassifier":
        """Open a model: its file, or one of the names that `--model` takes; see `Predictor.load`."""
        return super().load(find_model(path, MODELS) if isinstance(path, str) else path, device, in_server)

    def predict(self, texts: Iterable[str], batch_size: int | None = None) -> list[Prediction]:
        """Predict texts, a list or a column of pandas, in the given order; each must be usable (see `text_fault`).

        Raises:
            UserError: a text is not a string or is empty, or there is one text instead of several.
        """
        if isinstance(texts, str):
            raise UserError('predict takes several texts: give a list, ["…"]')
        texts = list(texts)
        for index, text in enumerate(texts):
            if fault := text_fault(text):
                raise UserError(f"text {index + 1} of {len(texts)} is {FAULTS[fault]}")
        return super().predict(texts, batch_size)

    def encode(self, items: Sequence[str]) -> Rows:
        encoded = self.tokenizer.encode(items)
        return Rows({"input_ids": encoded.input_ids}, range(len(items)), encoded.truncated)

    def decode(self, item: str, notes: Sequence[bool], logits: Sequence[np.ndarray]) -> Prediction:
        best, shares = int(logits[0].argmax()), self.probabilities(logits[0]).tolist()
        by_name = dict(zip(self.labels, shares, strict=True))
        return Prediction(replace_surrogates(item), self.labels[best], best, shares[best], by_name, notes[0])


def _labels(folder: Path) -> list[str] | None:
    from utils import read_labels

    path = folder / "class.txt"
    return read_labels(path) if path.is_file() else None


def _read(path: Path, labels: Sequence[str], limit: int | None) -> "Titles":
    from utils import read_titles

    return read_titles(path, labels, limit)


def _batches(titles: "Titles", tokenizer: Tokenizer, batch_size: int, seed: int | None) -> "Batches":
    from utils import title_batches

    return title_batches(titles, tokenizer, batch_size, seed)


def _score(classifier: Predictor, titles: "Titles", folder: Path | None) -> dict[str, Any]:
    from utils import score_titles

    return score_titles(classifier, titles, folder)


TASK = Task(
    predictor=NewsClassifier,
    suffixes=(".txt",),
    labels=_labels,
    read=_read,
    batches=_batches,
    units=row_units,
    count=count_rows,
    score=_score,
    best_by=BEST_BY,
    question=TextQuestion(
        "新闻标题分类",
        answer=lambda prediction, options: options.answer(prediction),
        count_as=lambda prediction: prediction.pred_class,
        read_options=ClassOptions.read,
        sample=SAMPLES[0],
        options=CLASS_OPTIONS,
        keys=CLASS_KEYS,
        takes_feedback=True,
    ),
    baseline="baseline",
    models=MODELS,
    columns_of=class_columns,
)


@functools.cache
def _default_classifier() -> NewsClassifier:
    return NewsClassifier.load(find_model(None, MODELS))


def predict(data: dict[str, str]) -> dict[str, str]:
    """`{"text": "…"}` -> `{"text": "…", "pred_class": "…"}` with the default model, loaded at the first call.

    Raises:
        UserError: no usable text, or no trained model.
    """
    if not isinstance(data, dict) or "text" not in data:
        raise UserError('predict takes a dict with a text: {"text": "…"}')
    prediction = _default_classifier().predict([data["text"]])[0]
    return {"text": prediction.text, "pred_class": prediction.pred_class}


@dataclass
class PredictConfig:
    """Knobs of prediction; the constructors let a title, or a file, be called None."""

    model: str | None = None
    """Name (teacher, soft_int8, …) or path of a model. None: NEWS_MODEL, else what save_models/default.json names."""
    text: Annotated[str | None, tyro.conf.arg(constructor=str, metavar="STR", help_behavior_hint="")] = None
    """One title to predict."""
    file: Annotated[Path | None, tyro.conf.arg(constructor=Path, metavar="PATH", help_behavior_hint="")] = None
    """A text file with one title a line, or a table (.xlsx .csv .tsv .jsonl .parquet); - is standard input."""
    output: Path | None = None
    """With --file: the table to write, in the format of its suffix; without it the answers are printed."""
    column: tuple[str, ...] = ()
    """Column of a table that holds the titles, or several to be joined. Not given: the first that is called like it."""
    join: str = " "
    """What stands between the texts of several columns."""
    sheet: str | None = None
    """Sheet of a workbook. Not given: the first one with a column that is called like titles, else the first one."""
    top_k: int = 1
    """How many of the likeliest classes to give."""
    min_confidence: float | None = None
    """Say 不确定 beside a class whose confidence, 0 to 1, is below this."""
    batch_size: int = Config.batch_size
    """Most titles in a forward pass; long ones go in smaller numbers."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        if self.text is not None and self.file is not None:
            raise UserError("--text and --file exclude each other: give one of them")
        if self.output is not None and self.file is None:
            raise UserError("--output goes with --file")
        require_one_or_more(self, "top_k", "batch_size")
        require_share(self, "min_confidence")


def predict_lines(
    classifier: NewsClassifier, lines: Iterator[str], batch_size: int
) -> Iterator[tuple[str, Prediction | None]]:
    """Each line with its prediction, None for a line with nothing to see in it; memory holds one chunk at a time."""
    while chunk := list(islice(lines, CHUNK)):
        predictions = iter(classifier.predict([line for line in chunk if not text_fault(line)], batch_size))
        for line in chunk:
            yield line, None if text_fault(line) else next(predictions)


def main(argv: Sequence[str] | None = None) -> None:
    answer(parse(PredictConfig, argv, __doc__))


def answer(config: PredictConfig) -> None:
    """Predict what the flags ask for, and print or save the answers."""
    if config.text is not None and (fault := text_fault(config.text)):
        raise UserError(f"--text is {FAULTS[fault]}: give a title")
    if config.file is None:
        classifier, texts = _load(config), [config.text] if config.text is not None else list(SAMPLES)
        show(zip(texts, classifier.predict(texts), strict=True), config.top_k, config.min_confidence)
        return
    with open_source(config.file, config.output, config.column, config.join, config.sheet) as source:
        classifier = _load(config)
        top_k = min(config.top_k, len(classifier.labels))  # of columns that a table gets

        def predict(texts: Iterator[str]) -> Iterator[tuple[str, Prediction | None]]:
            answers = predict_lines(classifier, texts, config.batch_size)
            return progress(answers, desc="predicting", unit="title") if config.output else answers

        if config.output:
            write_table(config.output, *source.answered(predict, top_k, config.min_confidence))
            print(f"wrote {config.output}")
        else:
            show(predict(source.texts()), config.top_k, config.min_confidence)


def _load(config: PredictConfig) -> NewsClassifier:
    """The model of the flags; says which it is."""
    path = find_model(config.model, MODELS)
    classifier = NewsClassifier.load(path, config.device)
    print(f"model: {name_of(path, MODELS) or classifier.name} ({path})", file=sys.stderr)
    return classifier


if __name__ == "__main__":
    run(main)
