"""Titles: labelled files read and checked, encoded once for training, and models scored on them.

    python utils.py import news.xlsx --to my_data    # a sheet or table becomes a data set; see import --help
    python utils.py check my_data                    # look a data set over before training; writes reports/check/

A labelled file has one title a line, `text<TAB>label`, where the label is a class name or its id, the zero-based line
of class.txt; the line is split at its last tab, so a title may hold tabs. UTF-8 (with or without BOM) and GB18030 are
read, with any line ends. A label that differs from a class name in quotes, invisible characters, case, width or spaces
only means that class.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from tyro.conf import Positional, arg

from config import BUNDLED_BERT, Config
from core.answers import text_fault
from core.bert.hub import located
from core.console import UserError, flag, listed, parse, quoted, run, shorten
from core.files import atomic_write
from core.measure.calibration import judge_confidence
from core.measure.data_report import check
from core.measure.metrics import classification_metrics
from core.measure.plots import draw_confidence, draw_confusion_matrix
from core.model_files.predictor import Predictor, predict_all
from core.tables import importing
from core.tables.formats import is_table, refuse_tables
from core.tables.write import write_rows
from core.text.decode import open_text
from core.text.names import check_names, clean_name, name_key
from core.text.odd import count_odd
from core.text.tokenizer import Tokenizer
from core.training.batches import Batches
from core.training.device import Devices
from core.training.loop import forward_rows

OTHER_TASKS = {"aspects": "aspect_sentiment", "entities": "ner", "questions": "qa"}  # what a file may hold -> who reads


@dataclass
class Titles:
    """A labelled file: `texts` and `labels` (ids) row by row, and what was odd about it, in sentences."""

    texts: list[str]
    labels: list[int]
    warnings: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)  # from 1; empty where the titles are of no file

    def __len__(self) -> int:
        """Rows of the file."""
        return len(self.texts)

    @property
    def items(self) -> list[str]:
        """The texts that a model can classify: those with something to see in them."""
        return [text for text in self.texts if not text_fault(text)]


def read_labels(path: Path) -> list[str]:
    """Read class.txt, one class name a line, in the order of their ids; what is no part of a name is dropped and told.

    Raises:
        UserError: the file is missing, a line of it is no name, or its names cannot be told apart.
    """
    with open_text(path) as text:
        lines = [line.strip() for line in text.lines()]
    warnings = list(text.warnings)
    while lines and not clean_name(lines[-1]):
        lines.pop()
    labels = check_names(lines, path)
    if cleaned := [line for line, label in zip(lines, labels, strict=True) if line != label]:
        warnings.append(
            f"{len(cleaned)} class name(s) without their quotes, invisible characters or odd spaces: "
            f"{', '.join(map(repr, cleaned[:20]))}"
        )
    for warning in warnings:
        print(f"warning: {path}: {warning}", file=sys.stderr)
    return labels


def read_titles(path: Path, labels: Sequence[str], limit: int | None = None) -> Titles:
    """Read and check a labelled file.

    Args:
        path: the file.
        labels: class names in the order of their ids.
        limit: read only the first so many valid rows.

    Raises:
        UserError: the file is missing or has no valid row; or lines without a tab or with an unknown label: the first
            20 are listed, the rest counted.
    """
    label_ids = {name: index for index, name in enumerate(labels)} | {str(index): index for index in range(len(labels))}
    keys = Counter(map(name_key, label_ids))
    by_key = {name_key(name): index for name, index in label_ids.items() if keys[name_key(name)] == 1}
    titles = Titles([], [])
    faults: list[str] = []
    blank = respelt = 0
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"{path} is a pipe or a device, and a labelled file is read more than once: save it to a file")
    if is_table(path) and path.suffix.lower() != ".tsv":
        raise UserError(f"{path} is a table; labelled files of it: python utils.py import {quoted(path)} --to my_data")
    with open_text(path) as file:
        for number, line in enumerate(file.lines(), start=1):
            text, tab, label = line.rpartition("\t")
            text = text.strip()
            if not text and (not label.strip() or tab):
                blank += 1
                continue
            label_id = label_ids.get(label.strip()) if tab else None
            if tab and label_id is None and (label_id := by_key.get(name_key(label))) is not None:
                respelt += 1
            if label_id is not None:
                titles.texts.append(text)
                titles.labels.append(label_id)
                titles.lines.append(number)
                if len(titles.texts) == limit:
                    break
            else:
                fault = f"unknown label {shorten(label)}: {shorten(text)}" if tab else f"no tab in {shorten(line)}"
                faults.append(f"line {number}: {fault}")
    if faults:
        raise UserError(
            f"{path} has {len(faults)} bad line(s); each must be text<TAB>label, label 0 to {len(labels) - 1} or a "
            f"name from class.txt; mend these:{listed(faults)}"
        )
    if not titles.texts:
        raise UserError(f"{path} has no labelled title: write lines of text<TAB>label into it")
    titles.warnings = [*file.warnings, *_oddities(titles, labels, blank, respelt)]
    return titles


def _oddities(titles: Titles, labels: Sequence[str], blank: int, respelt: int) -> list[str]:
    counts = {
        "blank line(s), skipped": blank,
        "label(s) written unlike in class.txt (quotes, invisible characters, case, width, spaces), taken": respelt,
        **{f"title(s) {what}": count for what, count in count_odd(titles.texts).items()},
        "repeated title(s), kept": len(titles.texts) - len(set(titles.texts)),
    }
    warnings = [f"{count} {what}" for what, count in counts.items() if count]
    present = set(titles.labels)
    absent = [name for index, name in enumerate(labels) if index not in present]
    if absent:
        warnings.append(f"no row of class {', '.join(absent)}")
    return warnings


def read_data(data_dir: Path, limit: int | None = None) -> tuple[list[str], dict[str, Titles]]:
    """Read and check a data folder; prints the size and the warnings of each file.

    Args:
        data_dir: folder with class.txt, train.txt, dev.txt and, where there is one, test.txt.
        limit: keep only the first so many rows of train.txt; dev and test stay whole, so that scores can be compared.

    Returns:
        The class names in the order of their ids, and {"train": …, "dev": …, "test": … where there is one}.

    Raises:
        UserError: it is a table or holds tables alone, which are to be imported first; or a file of it is bad.
    """
    refuse_tables(data_dir)
    labels = read_labels(data_dir / "class.txt")
    splits = {}
    for name in ("train", "dev", "test"):
        path = data_dir / f"{name}.txt"
        if name == "test" and not path.exists():
            continue
        splits[name] = read_titles(path, labels, limit if name == "train" else None)
        print(f"{path}: {len(splits[name].texts)} titles")
        for warning in splits[name].warnings:
            print(f"  warning: {warning}")
    return labels, splits


def title_batches(titles: Titles, tokenizer: Tokenizer, batch_size: int, seed: int | None = None) -> Batches:
    """Titles encoded once and served in batches of like length, with their `labels`; see `Batches`."""
    columns = {"labels": titles.labels, "input_ids": tokenizer.encode(titles.texts).input_ids}
    return Batches(columns, tokenizer.pads, batch_size, seed)


def score_module(model: nn.Module, batches: Batches, labels: Sequence[str], devices: Devices) -> dict[str, Any]:
    """Mean cross-entropy (`loss`) and `classification_metrics` of a module on labelled batches."""
    logits, true = np.stack(forward_rows(model, batches, devices)), batches.columns["labels"]
    loss = F.cross_entropy(torch.from_numpy(logits), torch.tensor(true)).item()
    return {"loss": loss, **classification_metrics(true, logits.argmax(1).tolist(), labels)}


def score_titles(classifier: Predictor, titles: Titles, folder: Path | None = None) -> dict[str, Any]:
    """`classification_metrics` of a classifier; a title with nothing to see in it counts as a mistake.

    Args:
        classifier: of titles.
        titles: labelled with its classes.
        folder: where confusion_matrix.png and confidence.png go, and bad_cases.tsv, the mistakes, surest first; the
            metrics then hold the class ids `predicted` too, and what confidence is worth. None: nothing is written.
    """
    labels, name = classifier.labels, classifier.path.name if classifier.path else classifier.name
    answers = iter(predict_all(classifier, titles.items, name))
    predictions = [None if text_fault(text) else next(answers) for text in titles.texts]
    predicted = [prediction.label_id if prediction else -1 for prediction in predictions]
    metrics = classification_metrics(titles.labels, predicted, labels)
    if folder is None:
        return metrics
    draw_confusion_matrix(titles.labels, predicted, labels, folder / "confusion_matrix.png")
    answered = [row for row in zip(titles.texts, titles.labels, predictions, strict=True) if row[2]]
    if answered:
        shares = np.array([list(prediction.probabilities.values()) for _, _, prediction in answered])
        right = np.array([prediction.label_id == true for _, true, prediction in answered])
        judged = shares, right, classifier.facts.get("temperature")
        metrics |= judge_confidence(*judged)
        draw_confidence(*judged, folder / "confidence.png")
    mistakes = [(p.confidence, labels[true], p.pred_class, text) for text, true, p in answered if p.label_id != true]
    mistakes.sort(reverse=True)
    table = [["confidence", "true", "predicted", "text"]]
    table += [[f"{confidence:.4f}", *cells] for confidence, *cells in mistakes]
    atomic_write(folder / "bad_cases.tsv", lambda file: write_rows(file, table, "\t"))
    print(f"{len(mistakes)} mistakes: confusion_matrix.png, confidence.png and bad_cases.tsv in {folder}")
    return {**metrics, "predicted": " ".join(map(str, predicted))}


@dataclass
class CheckConfig:
    """Knobs of the data check."""

    command: Positional[Literal["check"]]
    """check: read a data set as training does, report on it, draw it."""
    data_dir: Positional[Annotated[Path, arg(metavar="DATA_DIR")]]
    """Folder with class.txt, train.txt, dev.txt and, where there is one, test.txt."""
    bert_path: Path = Config.bert_path
    """Folder with the vocab.txt that counts tokens; the default one falls back to the bundled bert-mini-chinese."""
    max_length: int = Config.max_length
    """Tokens kept of a title, [CLS] and [SEP] included."""
    output: Path = Config.output
    """Folder for the report: check/ is made in it."""


def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["import"]:
        importing.main(argv, lambda folder: read_data(folder)[0], OTHER_TASKS)
        return
    argv = [word.removeprefix("--data-dir=") for word in argv if word != "--data-dir"]  # the flag of other scripts
    config = parse(CheckConfig, argv or ["--help"], __doc__)
    Config(max_length=config.max_length)  # refuses what training refuses
    labels, splits = read_data(config.data_dir)
    train_flags = ["--data-dir", str(config.data_dir)]
    for name in ("bert_path", "max_length"):
        if (value := getattr(config, name)) != getattr(Config, name):
            train_flags += [flag(name), str(value)]
    vocab = located(config.bert_path) / "vocab.txt"
    if config.bert_path == Config.bert_path and not vocab.is_file():
        vocab = BUNDLED_BERT / "vocab.txt"
    folder = config.output / "check"
    report, stops = check(labels, splits, vocab, config.max_length, folder, train_flags)
    print(f"\n{report}\nwrote report.txt data.png to {folder}")
    if stops:
        raise UserError(f"{config.data_dir} is not fit for training: {'; '.join(stops)}")


if __name__ == "__main__":
    run(main)
