"""Judge one model on one labelled file: report, confusion matrix, and its mistakes to read.

    python evaluate.py                                        # the default model on data/test.txt
    python evaluate.py --model teacher --data my_data/dev.txt
    python evaluate.py --against reports/baseline             # is it better, or only luckier?

Writes to reports/evaluate/: metrics.json, report.txt, confusion_matrix.png, and bad_cases.tsv: the mistakes, surest
first. Labels that are wrong in the data show up there.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from config import Config, find_model, parse, require_one_or_more
from core.console import UserError, run
from core.files import atomic_write, sha256, write_json
from core.measure.metrics import classification_metrics, metrics_table
from core.measure.plots import class_axis
from core.measure.stats import paired_bootstrap
from core.training.device import measured_on, pick_device
from predict_fun import NewsClassifier, predict_lines
from utils import read_labels, read_titles


@dataclass
class EvaluateConfig:
    """Knobs of an evaluation."""

    model: str | None = None
    """Name (soft_bert, soft, teacher, int8, pruned, hard) or path of a model. None: NEWS_MODEL, else the first of
    these that is present."""
    data: Path = Config.data_dir / "test.txt"
    """Labelled file; label ids follow the classes in the model."""
    against: Path | None = None
    """Folder with the metrics.json of another model on the same file: also tell how sure the difference is."""
    output: Path = Config.output
    """Folder for the report: evaluate/ is made in it."""
    batch_size: int = Config.batch_size
    """Titles in a forward pass."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""
    limit: int | None = None
    """Use only the first N rows."""

    def __post_init__(self) -> None:
        require_one_or_more(self, "batch_size", "limit")


def draw_confusion_matrix(counts: np.ndarray, labels: Sequence[str], path: Path) -> None:
    """Draw who is taken for whom as a PNG: a row for each true class, shares of it by colour, counts in the cells.

    Where class names need a Chinese font and none is installed, the axes show ids; report.txt has their names.

    Args:
        counts: (num_labels, num_labels) int, true class by predicted class.
        labels: class names in the order of their ids.
        path: the file to write.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    names, axis, settings = class_axis(labels)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    size = 2.5 + 0.55 * len(labels)
    with rc_context(settings):
        figure = Figure(figsize=(size, size * 0.92), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        turned = 90 if max(map(len, names)) > 4 else 0
        axes.set_xticks(range(len(names)), names, rotation=turned)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("predicted" + axis)
        axes.set_ylabel("true" + axis)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
        figure.colorbar(image, shrink=0.8, label="share of the true class")
        atomic_write(path, lambda file: figure.savefig(file, format="png", dpi=120))


def compare(metrics: dict[str, Any], true: Sequence[int], folder: Path) -> dict[str, Any]:
    """The difference to the accuracy in another folder's metrics.json, with its 95 % interval (paired bootstrap).

    Raises:
        UserError: there is no such file, or it is about other data.
    """
    path = folder / "metrics.json"
    try:
        other = json.loads(path.read_text(encoding="utf-8"))
        same_data = other["data_sha256"] == metrics["data_sha256"]
        ours, theirs = (np.array(found["predicted"].split(), dtype=int) for found in (metrics, other))
        name = other["model"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise UserError(f"{path} is not a report of baseline.py or evaluate.py: run one of them first") from fault
    if not same_data or len(theirs) != len(true):
        raise UserError(f"{path} was measured on other data: measure both models on the same file")
    return {"model": name, **asdict(paired_bootstrap(ours == true, theirs == true))}


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(EvaluateConfig, argv, __doc__)
    model_path = find_model(config.model)
    classifier = NewsClassifier.load(model_path, config.device)
    labels = classifier.labels
    beside = config.data.parent / "class.txt"
    if beside.is_file() and (theirs := read_labels(beside)) != labels:
        print(f"warning: {beside} names other classes than the model; ids are read as the model's classes")
        print(f"  model:     {' '.join(labels)}\n  class.txt: {' '.join(theirs)}")
    titles = read_titles(config.data, labels, config.limit)
    for warning in titles.warnings:
        print(f"warning: {config.data}: {warning}")

    from tqdm import tqdm

    answers = predict_lines(classifier, iter(titles.texts), config.batch_size)
    answers = tqdm(answers, "evaluating", len(titles.texts), unit="title", mininterval=1.0)
    predictions = [prediction for _, prediction in answers]
    # A title with nothing to see in it has no prediction; it counts as a mistake.
    predicted = [prediction.label_id if prediction else -1 for prediction in predictions]
    metrics = classification_metrics(titles.labels, predicted, labels)

    folder = config.output / "evaluate"
    facts = {"model": classifier.name, "data": config.data.name, "data_sha256": sha256(config.data)}
    facts |= {"seed": classifier.meta.get("seed"), "training": classifier.meta.get("training")}
    metrics |= {**facts, **measured_on(pick_device(config.device)), "predicted": " ".join(map(str, predicted))}
    report = f"model: {classifier.name} ({model_path})\n{metrics_table(metrics)}\n"
    report += f"{config.data} accuracy {metrics['accuracy']:.4f}, macro-F1 {metrics['macro_f1']:.4f}, n {metrics['n']}"
    if config.against:
        metrics["against"] = found = compare(metrics, titles.labels, config.against)
        interval = f"95 % interval {100 * found['low']:+.1f} to {100 * found['high']:+.1f}, p {found['p']:.4f}"
        report += f"\naccuracy {100 * found['difference']:+.1f} points against {found['model']} ({interval})"
    write_json(folder / "metrics.json", metrics)
    atomic_write(folder / "report.txt", lambda file: file.write(f"{report}\n".encode()))

    counts = np.zeros((len(labels), len(labels)), dtype=int)
    for true, guess in zip(titles.labels, predicted, strict=True):
        if guess >= 0:
            counts[true, guess] += 1
    draw_confusion_matrix(counts, labels, folder / "confusion_matrix.png")

    mistakes = [
        (prediction.confidence, labels[true], prediction.pred_class, text)
        for text, true, prediction in zip(titles.texts, titles.labels, predictions, strict=True)
        if prediction and prediction.label_id != true
    ]
    mistakes.sort(reverse=True)
    lines = [f"{confidence:.4f}\t{true}\t{guess}\t{text}\n" for confidence, true, guess, text in mistakes]
    table = "confidence\ttrue\tpredicted\ttext\n" + "".join(lines)
    atomic_write(folder / "bad_cases.tsv", lambda file: file.write(table.encode("utf-8-sig")))
    print(report)
    print(f"{len(mistakes)} mistakes; wrote metrics.json report.txt confusion_matrix.png bad_cases.tsv to {folder}")


if __name__ == "__main__":
    run(main)
