"""Data in: labels, labelled files read and checked, titles encoded once, length-bucketed batches.

    python utils.py check my_data       # look a data set over before training on it; writes reports/check/

A labelled file has one title a line, `text<TAB>label`, where the label is a class name or its id, the zero-based line
of class.txt; the line is split at its last tab, so a title may hold tabs. UTF-8 (with or without BOM) and GB18030 are
read, with any line ends.
"""

import copy
import hashlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from tyro.conf import Positional, arg

from config import BUNDLED_BERT, Config, flag, parse
from core.console import UserError, run
from core.files import detect_encoding
from core.measure.data_report import check
from core.text.tokenizer import Encoder, pad

MAX_LISTED_FAULTS = 20
BUCKET_BATCHES = 50  # shuffled titles are sorted by length within so many batches


@dataclass
class Titles:
    """A labelled file: `texts` and `labels` (ids) row by row, and what was odd about it, in sentences."""

    texts: list[str]
    labels: list[int]
    warnings: list[str] = field(default_factory=list)


def read_labels(path: Path) -> list[str]:
    """Read class.txt, one class name a line, in the order of their ids.

    Raises:
        UserError: the file is missing, repeats a name, names fewer than two classes, or one by the id of another.
    """
    with path.open(encoding=detect_encoding(path), errors="replace") as file:
        labels = [line.strip() for line in file]
    while labels and not labels[-1]:
        labels.pop()
    if "" in labels:
        raise UserError(f"{path} line {labels.index('') + 1} is blank: name a class on each line")
    if len(labels) < 2:
        raise UserError(f"{path} names {len(labels)} class(es): at least two are needed, one name a line")
    repeated = [name for name, count in Counter(labels).items() if count > 1]
    if repeated:
        raise UserError(f"{path} names a class twice: {', '.join(repeated)}")
    ids = [str(index) for index in range(len(labels))]
    if mistakable := [name for name, own in zip(labels, ids, strict=True) if name != own and name in ids]:
        raise UserError(
            f"{path} names a class {mistakable[0]}, which is the id of another one (ids are counted from 0): "
            f"rename such classes, here and in the labelled files, for example to {mistakable[0]}星"
        )
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
    label_ids = {name: index for index, name in enumerate(labels)}
    label_ids.update({str(index): index for index in range(len(labels))})
    titles = Titles([], [])
    faults: list[str] = []
    blank = 0
    with path.open(encoding=detect_encoding(path), errors="replace") as file:
        for number, line in enumerate(file, start=1):
            text, tab, label = line.rstrip("\n").rpartition("\t")
            text = text.strip()
            if not text and (not label.strip() or tab):
                blank += 1
            elif not tab:
                faults.append(f"line {number}: no tab between text and label: {_shorten(line)}")
            elif label.strip() not in label_ids:
                faults.append(f"line {number}: unknown label {_shorten(label)}: {_shorten(text)}")
            else:
                titles.texts.append(text)
                titles.labels.append(label_ids[label.strip()])
                if len(titles.texts) == limit:
                    break
    if faults:
        listed = "\n  ".join(faults[:MAX_LISTED_FAULTS])
        more = f"\n  … and {len(faults) - MAX_LISTED_FAULTS} more" if len(faults) > MAX_LISTED_FAULTS else ""
        raise UserError(
            f"{path} has {len(faults)} bad line(s); each must be text<TAB>label, label 0 to {len(labels) - 1} or a "
            f"name from class.txt; mend these:\n  {listed}{more}"
        )
    if not titles.texts:
        raise UserError(f"{path} has no labelled title: write lines of text<TAB>label into it")
    titles.warnings = _oddities(titles, labels, blank)
    return titles


def _oddities(titles: Titles, labels: Sequence[str], blank: int) -> list[str]:
    counts = {
        "blank line(s), skipped": blank,
        "title(s) with U+FFFD, a character lost in an earlier conversion": sum("\ufffd" in t for t in titles.texts),
        "title(s) with control, zero-width or private-use characters": sum(map(_has_odd, titles.texts)),
        "repeated title(s), kept": len(titles.texts) - len(set(titles.texts)),
    }
    warnings = [f"{count} {what}" for what, count in counts.items() if count]
    present = set(titles.labels)
    absent = [name for index, name in enumerate(labels) if index not in present]
    if absent:
        warnings.append(f"no row of class {', '.join(absent)}")
    return warnings


def _has_odd(text: str) -> bool:
    return not text.isprintable() and any(not (c.isprintable() or c.isspace()) for c in text)


def _shorten(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= 40 else text[:40] + "…")


def read_data(data_dir: Path, limit: int | None = None) -> tuple[list[str], dict[str, Titles]]:
    """Read and check a data folder; prints the size and the warnings of each file.

    Args:
        data_dir: folder with class.txt, train.txt, dev.txt and, where there is one, test.txt.
        limit: keep only the first so many rows of train.txt; dev and test stay whole, so that scores can be compared.

    Returns:
        The class names in the order of their ids, and {"train": …, "dev": …, "test": … where there is one}.
    """
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


class Batches:
    """Titles encoded once and served in batches of like length, so that little padding is computed.

    A batch is a dict of int64 tensors: `input_ids` and `attention_mask` (batch, seq), `labels` and `row` (batch,);
    `row` is the index in the data.

    Args:
        titles: texts and label ids.
        encoder: text -> ids.
        batch_size: titles in a batch; the last one may be smaller.
        seed: None serves all titles in one fixed order; a number shuffles, each epoch in its own reproducible order.
    """

    def __init__(self, titles: Titles, encoder: Encoder, batch_size: int, seed: int | None = None) -> None:
        self.input_ids = [np.array(ids, dtype=np.int32) for ids in encoder.encode(titles.texts).input_ids]
        self.labels = titles.labels
        self.pad_id = encoder.pad_id
        self.batch_size = batch_size
        self.seed = seed

    def with_rows(self, input_ids: list[np.ndarray], labels: list[int], seed: int | None = None) -> "Batches":
        """Other titles, encoded already, served like these."""
        other = copy.copy(self)
        other.input_ids, other.labels, other.seed = input_ids, labels, seed
        return other

    def sha256(self) -> str:
        """A fingerprint of the encoded titles and their labels, in order."""
        digest = hashlib.sha256(np.array(self.labels).tobytes())
        for ids in self.input_ids:
            digest.update(len(ids).to_bytes(4) + ids.tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.input_ids) // self.batch_size)

    def epoch(self, number: int = 0, skip: int = 0, stride: int = 1) -> Iterator[dict[str, torch.Tensor]]:
        """The batches of epoch `number` from the one at `skip` on, every one or every `stride`-th."""
        for rows in self._order(number)[skip::stride]:
            input_ids, mask = pad([self.input_ids[row] for row in rows], self.pad_id)
            yield {
                "input_ids": torch.from_numpy(input_ids),
                "attention_mask": torch.from_numpy(mask),
                "labels": torch.tensor([self.labels[row] for row in rows]),
                "row": torch.tensor(rows),
            }

    def _order(self, epoch: int) -> list[list[int]]:
        lengths = [len(ids) for ids in self.input_ids]
        if self.seed is None:
            return _cut(sorted(range(len(lengths)), key=lengths.__getitem__), self.batch_size)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        batches = []
        shuffled = torch.randperm(len(lengths), generator=generator).tolist()
        for bucket in _cut(shuffled, self.batch_size * BUCKET_BATCHES):
            batches += _cut(sorted(bucket, key=lengths.__getitem__), self.batch_size)
        return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]


def _cut(rows: list[int], size: int) -> list[list[int]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


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
    config = parse(CheckConfig, argv or ["--help"], __doc__)
    Config(max_length=config.max_length)  # refuses what training refuses
    labels, splits = read_data(config.data_dir)
    train_flags = ["--data-dir", str(config.data_dir)]
    for name in ("bert_path", "max_length"):
        if (value := getattr(config, name)) != getattr(Config, name):
            train_flags += [flag(name), str(value)]
    vocab = config.bert_path / "vocab.txt"
    if config.bert_path == Config.bert_path and not vocab.is_file():
        vocab = BUNDLED_BERT / "vocab.txt"
    folder = config.output / "check"
    print("\n" + check(labels, splits, vocab, config.max_length, folder, train_flags))
    print(f"wrote report.txt data.png to {folder}")


if __name__ == "__main__":
    run(main)
