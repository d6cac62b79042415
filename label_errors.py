"""Find labels that are probably wrong: titles that a model, which never saw their label, is sure are of another class.

    python label_errors.py --data-dir my_data                  # the linear model of baseline.py: seconds to minutes
    python label_errors.py --data-dir my_data --model bert     # fine-tunes BERT once for each part: finds more, slower

All files of the folder are cut into parts; each part is judged by a model trained on the others (cross-validation), and
cleanlab picks the labels to doubt by confident learning (Northcutt et al. 2021). Writes label_errors.tsv to
reports/label_errors/: text, label, the likelier class with its confidence, line and file; the most certain ones first.
Mend what is wrong in the files themselves, or drop it, and train again. A run that was stopped goes on when the same
command is given again: the parts of BERT that are done are kept in save_models/label_errors/ while it lasts.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from baseline import decisions, fit_linear, rows_of
from config import BUNDLED_BERT, MODELS, Config
from core.answers import text_fault
from core.bert.folder import find_bert, fingerprint
from core.console import UserError, parse, run
from core.files import atomic_write, require_folder
from core.measure.calibration import best_temperature
from core.measure.folds import part_of
from core.model_files.predictor import predict_all, softmax
from core.tables.write import write_rows
from predict_fun import NewsClassifier
from train import TrainConfig, fine_tune
from utils import Titles, read_data

COLUMNS = ("text", "label", "likelier_class", "confidence", "line", "file")
DEV_PARTS = 10  # one of so many parts of what a model is trained on selects its state
FEWEST = 20  # different titles
SHOWN = 10  # of them, on the screen
WEAK = 0.8  # agreement

# (train, dev, texts) -> probabilities of the classes, (texts, classes), float64
Judge = Callable[[Titles, Titles, list[str]], np.ndarray]


@dataclass
class LabelErrorsConfig:
    """Knobs of the search."""

    data_dir: Path = Config.data_dir
    """Folder with class.txt, train.txt, dev.txt and, where there is one, test.txt."""
    model: Literal["linear", "bert"] = "linear"
    """What judges: the linear model of baseline.py, or BERT as train.py fine-tunes it."""
    folds: int = 5
    """Parts that the titles are cut into; so many models are trained."""
    bert_path: Path = Config.bert_path
    """Folder of the BERT; while the default one holds none, the bundled bert-mini-chinese is used."""
    batch_size: int = Config.batch_size
    """Titles in a training step of BERT."""
    seed: int = Config.seed
    """Seed of the parts and of the trainings."""
    output: Path = Config.output
    """Folder for the list: label_errors/ is made in it."""
    save_dir: Path = Config.save_dir
    """Folder for what BERT's trainings leave while the search lasts: label_errors/ is made in it."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise UserError(f"--folds is {self.folds}: it must be 2 or more, as a model must not judge what it learnt")


def write_data(folder: Path, labels: Sequence[str], splits: Mapping[str, Titles]) -> None:
    """Write a data folder: class.txt, and a labelled file for each split."""
    files = {"class": labels}
    for name, titles in splits.items():
        files[name] = [f"{text}\t{label}" for text, label in zip(titles.texts, titles.labels, strict=True)]
    for name, lines in files.items():
        content = "".join(f"{line}\n" for line in lines).encode("utf-8")
        atomic_write(folder / f"{name}.txt", lambda file, content=content: file.write(content))


def judge_linear(num_labels: int, train: Titles, dev: Titles, texts: list[str]) -> np.ndarray:
    """The linear model's probabilities: its margins are the logits, at the temperature that suits dev."""
    model, _ = fit_linear(train, dev)
    unseen = np.setdiff1d(np.arange(num_labels), model.classes_)

    def logits(texts: list[str]) -> np.ndarray:
        found = decisions(model, texts, num_labels)
        found[:, unseen] = -np.inf
        return found

    known = rows_of(dev, np.isin(dev.labels, model.classes_))
    return softmax(logits(texts), best_temperature(logits(known.texts), known.labels) if len(known) else 1.0)


def judge_bert(
    labels: Sequence[str], config: LabelErrorsConfig, work: Path, train: Titles, dev: Titles, texts: list[str]
) -> np.ndarray:
    """The probabilities of a BERT that is fine-tuned in a folder; a training that was stopped there goes on."""
    write_data(work / "data", labels, {"train": train, "dev": dev})
    knobs = {name: getattr(config, name) for name in ("bert_path", "batch_size", "seed", "device")}
    fine_tune(TrainConfig(**knobs, data_dir=work / "data", save_dir=work, output=work / "reports", resume=True))
    classifier = NewsClassifier.load(work / MODELS["teacher"].path.name, config.device)
    answers = predict_all(classifier, texts, "judging")
    return np.array([list(answer.probabilities.values()) for answer in answers])


def out_of_fold(
    titles: Titles, num_labels: int, config: LabelErrorsConfig, judge: Callable[[int], Judge]
) -> np.ndarray:
    """(titles, classes) probabilities by models that have not seen the label of the title, nor of one like it.

    Args:
        titles: all of them; each has something to see in it.
        num_labels: number of classes.
        config: for `folds` and `seed`.
        judge: number of the part, from 1 -> what judges it.

    Raises:
        UserError: there are too few titles.
    """
    part = part_of(titles.texts, titles.labels, config.folds, config.seed)
    if len(set(titles.texts)) < max(FEWEST, 2 * config.folds):
        raise UserError(f"{len(set(titles.texts))} different titles are too few to judge labels by: collect more")
    found = np.zeros((len(titles), num_labels))
    for number in range(config.folds):
        held_out, rest = part == number, np.flatnonzero(part != number)
        others = rows_of(titles, rest)
        is_dev = part_of(others.texts, others.labels, DEV_PARTS, config.seed) == 0
        train, dev = rows_of(others, ~is_dev), rows_of(others, is_dev)
        told = f"part {number + 1} of {config.folds}: {held_out.sum():,} titles, by a model trained on {len(train):,}"
        print(told, flush=True)
        found[held_out] = judge(number + 1)(train, dev, rows_of(titles, held_out).texts)
    return found


def kept(file: Path, judge: Judge) -> Judge:
    """A judge whose probabilities are kept in a file, and read from it where it is there; what else lies there goes."""

    def judge_once(train: Titles, dev: Titles, texts: list[str]) -> np.ndarray:
        if not file.is_file():
            found = judge(train, dev, texts)
            atomic_write(file, lambda out: np.save(out, found, allow_pickle=False))
            shutil.rmtree(file.with_suffix(""), ignore_errors=True)
        return np.load(file, allow_pickle=False)

    return judge_once


def judges(labels: Sequence[str], titles: Titles, config: LabelErrorsConfig) -> tuple[Callable[[int], Judge], Path]:
    """What judges each part, and the folder of what it leaves while the search lasts: one for these data and knobs."""
    if config.model == "linear":
        return lambda number: partial(judge_linear, len(labels)), Path()
    config.bert_path = find_bert(config.bert_path, Config.bert_path, BUNDLED_BERT)
    settled = (titles.texts, titles.labels, labels, config.folds, config.seed, config.batch_size)
    name = hashlib.sha256(repr((settled, fingerprint(config.bert_path))).encode("utf-8", "replace")).hexdigest()[:12]
    work = config.save_dir / "label_errors" / name
    require_folder(work)
    return lambda number: kept(
        work / f"part_{number}.npy", partial(judge_bert, labels, config, work / f"part_{number}")
    ), work


def import_cleanlab() -> Any:
    """The module cleanlab.filter.

    Raises:
        UserError: it is not installed.
    """
    try:
        from cleanlab import filter
    except ImportError as fault:
        raise UserError("label errors are found by cleanlab: run `pip install -r requirements.txt`") from fault
    return filter


def doubtful(labels: Sequence[int], probabilities: np.ndarray) -> list[int]:
    """The places of the labels that are probably wrong, those that the model gives the least probability first.

    Args:
        labels: ids as they are given.
        probabilities: (titles, classes) by a model that has not seen them.
    """
    find = import_cleanlab().find_label_issues
    return find(np.array(labels), probabilities, return_indices_ranked_by="self_confidence", n_jobs=1).tolist()


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(LabelErrorsConfig, argv, __doc__)
    import_cleanlab()
    labels, splits = read_data(config.data_dir)
    places = [
        (f"{name}.txt", line, text, label)
        for name, titles in splits.items()
        for line, text, label in zip(titles.lines, titles.texts, titles.labels, strict=True)
        if not text_fault(text)
    ]
    titles = Titles([text for *_, text, _ in places], [label for *_, label in places])
    judge, work = judges(labels, titles, config)
    found = out_of_fold(titles, len(labels), config, judge)
    doubts = doubtful(titles.labels, found)
    table = [COLUMNS]
    for row in doubts:
        file, line, text, label = places[row]
        likelier = labels[found[row].argmax()]
        table.append((text, labels[label], likelier, f"{found[row].max():.4f}", line, file))
    path = config.output / "label_errors" / "label_errors.tsv"
    atomic_write(path, lambda file: write_rows(file, table, "\t"))
    if config.model == "bert":
        shutil.rmtree(work, ignore_errors=True)
    agreed = float((found.argmax(axis=1) == titles.labels).mean())
    print(
        f"\n{agreed:.1%} of {len(titles):,} labels are what the {config.model} model, which has not seen them, says too"
    )
    if config.model == "linear" and agreed < WEAK:
        print("that is little: many of its doubts will be its own mistakes; --model bert knows more")
    for text, label, likelier, confidence, line, file in table[1 : SHOWN + 1]:
        print(f"{file} line {line}: {label}, rather {likelier} ({confidence})\t{text}")
    by_file = Counter(file for *_, file in table[1:])
    counts = ", ".join(f"{count} in {file}" for file, count in sorted(by_file.items()))
    print(f"{len(doubts)} label(s) to look at{': ' * bool(doubts)}{counts}; wrote {path}")


if __name__ == "__main__":
    run(main)
