"""Judge one model on one labelled file: report, and its mistakes to read.

    python evaluate.py                                        # the default model on data/test.txt
    python evaluate.py --model teacher --data my_data/dev.txt
    python evaluate.py --against reports/baseline             # is it better, or only luckier?

Writes to reports/evaluate/: metrics.json, report.txt, and of a classifier confusion_matrix.png; confidence.png, how
often the model is right when it is so sure; and bad_cases.tsv, the mistakes, surest first. Labels that are wrong in the
data show up there; label_errors.py looks for them in all files.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tasks
from config import MODELS, Config
from core.console import UserError, parse, require_one_or_more, run
from core.files import atomic_write, sha256, write_json
from core.measure.calibration import confidence_table
from core.measure.metrics import headline, in_words, metrics_table, readable
from core.measure.stats import interval, paired_bootstrap, paired_bootstrap_counts
from core.model_files.find import find_model
from core.model_files.names import name_of
from core.task import Split
from core.training.device import measured_on, pick_device


@dataclass
class EvaluateConfig:
    """Knobs of an evaluation."""

    model: str | None = None
    """Name (teacher, soft_int8, …) or path of a model. None: NEWS_MODEL, else what save_models/default.json names."""
    data: Path | None = None
    """Labelled file; label ids follow the classes in the model. None: data/test.txt, or that of the model's task."""
    against: Path | None = None
    """Folder with the metrics.json of another model on the same file: also tell how sure the difference is."""
    output: Path = Config.output
    """Folder for the report: evaluate/ is made in it."""
    batch_size: int = Config.batch_size
    """Most rows in a forward pass; long ones go in smaller numbers."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""
    limit: int | None = None
    """Use only the first N rows."""

    def __post_init__(self) -> None:
        require_one_or_more(self, "batch_size", "limit")


def answers_of(report: dict[str, Any]) -> tuple[str, np.ndarray]:
    """What a report has for each row, and its name there.

    That is the score (`row_scores`), as of answers; or what is right, found and there (`rows`), as of entities and, for
    each state, of aspects; or the class `predicted`.
    """
    if "row_scores" in report:
        return "row_scores", np.array(report["row_scores"], float)
    if "rows" in report:
        rows = np.array(report["rows"], int)
        if rows.shape[-1:] != (3,) or rows.ndim < 2:
            raise ValueError("rows must be counts of three")
        return "rows", rows
    return "predicted", np.array(report["predicted"].split(), int)


def read_other(path: Path, data_sha256: str, rows: int) -> dict[str, Any]:
    """The metrics.json of another model on the same rows.

    Raises:
        UserError: there is no such file, or it is about other data.
    """
    try:
        other = json.loads(path.read_text(encoding="utf-8"))
        same_data, measured = other["data_sha256"] == data_sha256, len(answers_of(other)[1])
        other["model"] = str(other["model"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise UserError(f"{path} is not a report of baseline.py or evaluate.py: run one of them first") from fault
    if not same_data or measured != rows:
        raise UserError(f"{path} was measured on other data: measure both models on the same file")
    return other


def compare(metrics: dict[str, Any], split: Split, other: dict[str, Any]) -> dict[str, Any]:
    """The difference to the headline metric of another report on the same rows, with its 95 % interval.

    Raises:
        UserError: it is of a model of another kind.
    """
    (kind, ours), (their_kind, theirs) = answers_of(metrics), answers_of(other)
    if kind != their_kind:
        raise UserError(f"{other['model']} is a model of another task: compare with a report of the same one")
    if kind == "rows":
        found = paired_bootstrap_counts(ours[None], theirs[None])
    elif kind == "row_scores":
        found = paired_bootstrap(ours, theirs)
    else:
        found = paired_bootstrap(ours == split.labels, theirs == split.labels)
    return {"model": other["model"], **asdict(found)}


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(EvaluateConfig, argv, __doc__)
    path = find_model(config.model, MODELS)
    task, predictor = tasks.load(path, config.device)
    predictor.batch_size = config.batch_size
    data = config.data or task.file(tasks.own_folder(Config.data_dir, task), "test")
    task.check_labels(predictor.facts, data.parent)
    split = task.read(data, predictor.labels, config.limit)
    data_sha256 = sha256(data)
    other = read_other(config.against / "metrics.json", data_sha256, len(split)) if config.against else None
    name = name_of(path, task.models) or predictor.name
    heading = f"model: {name} ({path})"
    print(heading)
    for warning in split.warnings:
        print(f"warning: {data}: {warning}")

    folder = config.output / "evaluate"
    facts = {"model": name, "data": data.name, "data_sha256": data_sha256}
    facts |= {fact: predictor.facts.get(fact) for fact in ("seed", "training")}
    metrics = {**task.score(predictor, split, folder), **facts, **measured_on(pick_device(config.device))}
    report = f"{metrics_table(metrics)}\n"
    report += f"{data} {in_words(metrics, task.best_by)}, n {metrics['n']}"
    if "coverage" in metrics:
        report += f"\n{confidence_table(metrics)}"
    if other:
        metrics["against"] = found = compare(metrics, split, other)
        words = "{difference} points against {model} (95 % interval {low} to {high}, p {p})"
        report += f"\n{readable(headline(metrics, task.best_by))} {interval(found, words)}"
    write_json(folder / "metrics.json", metrics)
    atomic_write(folder / "report.txt", lambda file: file.write(f"{heading}\n{report}\n".encode()))
    print(f"{report}\nwrote metrics.json and report.txt to {folder}")


if __name__ == "__main__":
    run(main)
