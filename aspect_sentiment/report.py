"""Reports: what a data set is like, and where a model is wrong."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aspect_sentiment.metrics import MEANS, aspect_metrics, counts_of, row_counts
from aspect_sentiment.texts import clean
from core.console import listed
from core.files import atomic_write
from core.measure.metrics import readable
from core.model_files.predictor import Predictor, predict_all
from core.tables.split import near_key
from core.tables.write import write_rows
from core.text.tokenizer import Tokenizer
from core.training.units import IGNORED

if TYPE_CHECKING:
    from aspect_sentiment.data import Reviews


def answered(predictor: Predictor, items: Sequence[str]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """(reviews, aspects) the ids of the states that a predictor answers, and its answers."""
    answers = predict_all(predictor, items, predictor.path.name if predictor.path else predictor.name)
    ids = {name: index for index, name in enumerate(predictor.labels)}
    return np.array([[ids[entry["state"]] for entry in answer["aspects"]] for answer in answers]), answers


def score(predictor: Predictor, split: "Reviews", folder: Path | None = None) -> dict[str, Any]:
    """`aspect_metrics` of a predictor on a labelled file.

    Args:
        predictor: of aspects.
        split: labelled with its aspects, in any order, and its states.
        folder: where aspects.tsv (F1, and of each state how many there are, are answered, are right), confusion.tsv
            and bad_cases.tsv go; the metrics then hold `rows` (see `row_counts`). None: nothing is written.

    Raises:
        UserError: the file has other aspects.
    """
    split = split.of(predictor.aspects)
    found, answers = answered(predictor, split.items)
    metrics = aspect_metrics(split.states, found, split.labels, split.aspects)
    if folder is None:
        return metrics
    tables = {"aspects": aspect_table(metrics, split.labels), "confusion": confusion_table(split, found)}
    tables["bad_cases"] = bad_cases(split, found, answers)
    for name, table in tables.items():
        atomic_write(folder / f"{name}.tsv", lambda file, table=table: write_rows(file, table, "\t"))
    print(explain(metrics))
    print(f"{len(tables['bad_cases']) - 1} wrong pairs; aspects.tsv, confusion.tsv and bad_cases.tsv in {folder}")
    return {**metrics, "rows": row_counts(split.states, found, len(split.labels))}


def explain(metrics: dict[str, Any]) -> str:
    """Each score with what it means, a line each, and the aspects from the worst to the best."""
    lines = [f"{metrics[name]:7.4f}  {readable(name)}: {what}" for name, what in MEANS.items() if name in metrics]
    lines.append("F1 of each aspect, the mean over its states:")
    lines += [
        f"{entry['f1']:7.4f}  {name}"
        for name, entry in sorted(metrics["per_aspect"].items(), key=lambda item: item[1]["f1"])
    ]
    rare = [
        (entry["n"], entry["answered"], f"{name} {state}")
        for name, its in metrics["per_aspect"].items()
        for state, entry in its["states"].items()
        if entry["n"] > 0 and entry["f1"] == 0
    ]
    if rare:
        rare.sort(key=lambda found: -found[0])
        told = listed([f"{name} ({n} there, {answered} answered)" for n, answered, name in rare])
        lines.append(f"never found, {len(rare)} state(s) of aspects:{told}")
    return "\n".join(lines)


def aspect_table(metrics: dict[str, Any], labels: Sequence[str]) -> list[list[str]]:
    """A row for each aspect: its F1, and of each state its F1, how many there are, and how many are answered."""
    header = ["aspect", "f1", *(f"{name} {what}" for name in labels for what in ("f1", "n", "answered"))]
    rows = []
    for name, entry in metrics["per_aspect"].items():
        cells = [f"{entry['f1']:.4f}"]
        for label in labels:
            its = entry["states"].get(label)
            cells += [f"{its['f1']:.4f}", str(its["n"]), str(its["answered"])] if its else ["", "0", "0"]
        rows.append([name, *cells])
    return [header, *rows]


def confusion_table(split: "Reviews", found: np.ndarray) -> list[list[str]]:
    """A row for each state of each aspect: how often it was answered by which state."""
    counts = counts_of(split.states, found, len(split.labels))
    rows = [
        [aspect, name, *map(str, counts[index, state])]
        for index, aspect in enumerate(split.aspects)
        for state, name in enumerate(split.labels)
        if counts[index, state].any()
    ]
    return [["aspect", "true", *split.labels], *rows]


def bad_cases(split: "Reviews", found: np.ndarray, answers: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A row for each wrong pair, the surest first: confidence, aspect, true state, answered state, review."""
    rows = []
    for text, true, given, answer in zip(split.items, split.states, found, answers, strict=True):
        for place in np.flatnonzero((true != given) & (true != IGNORED)):
            entry = answer["aspects"][place]
            rows.append((entry["confidence"], split.aspects[place], split.labels[true[place]], entry["state"], text))
    rows.sort(key=lambda row: -row[0])
    return [
        ["confidence", "aspect", "true", "answered", "text"],
        *([f"{confidence:.4f}", *cells, clean(text)] for confidence, *cells, text in rows),
    ]


def check(splits: Mapping[str, "Reviews"], tokenizer: Tokenizer, folder: Path) -> str:
    """What a data set is like, as text; it is written to report.txt in a folder too."""
    train = splits["train"]
    lines = ["share of each state in train, the cells left empty aside"]
    lines.append("".join(f"{name:>10}" for name in train.labels) + "  empty  aspect")
    for aspect, column in zip(train.aspects, train.states.T, strict=True):
        known = column[column != IGNORED]
        shares = np.bincount(known, minlength=len(train.labels)) / max(len(known), 1)
        lines.append("".join(f"{share:10.1%}" for share in shares) + f"{len(column) - len(known):7d}  {aspect}")
    lines.append("")
    for name, split in splits.items():
        texts = list(map(clean, split.items))
        p50, p95 = np.percentile([len(ids) for ids in tokenizer.encode(texts).input_ids], (50, 95))
        unknown = tokenizer.unknown_share(texts)
        lines.append(f"{name}: tokens p50 {p50:.0f}, p95 {p95:.0f}; {unknown:.2%} of the characters unknown")
    keys = {name: {near_key(clean(text)) for text in split.items} for name, split in splits.items()}
    names = list(splits)
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            shared = keys[one] & keys[other]
            lines.append(f"reviews both in {one} and {other}: {len(shared)}")
    report = "\n".join(lines) + "\n"
    atomic_write(folder / "report.txt", lambda file: file.write(report.encode()))
    return f"{report}\nwrote report.txt to {folder}"
