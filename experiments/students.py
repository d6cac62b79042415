"""What distillation gains: students with and without a teacher, beside the teacher, the linear model and chance.

    python -m experiments.students                                        # the bundled data, 3 seeds
    python -m experiments.students --data-dir my_data --unlabeled titles.txt --augment 0 --output results/mine

Every BiLSTM has the same size, the same start (the teacher's token embeddings, also the one that learns alone), the
same number of updates, and the same choice of learning rates, made on dev.txt with the first seed. test.txt is read
once for each row of the table, when all trainings of that row are done. A run that was stopped goes on where it was.
Writes distillation.json, distillation.md and distillation.png to the output folder.
"""

import hashlib
import json
import os
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import baseline
from config import Config, find_model, parse, require_one_or_more
from core.answers import every
from core.console import UserError, run
from core.files import sha256, write_json
from core.measure.latency import compare_speed
from core.model_files.checkpoint import load
from core.training.device import measured_on
from distillation import STUDENT_RATE, DistillConfig, default_epochs, read_unlabeled
from experiments.distillation_report import as_markdown, compare, draw, summarise
from experiments.report import open_report, predict_classes, write_views
from hard_label_distillation import distil_hard
from predict_fun import NewsClassifier
from soft_label_distillation import SoftConfig, distil_soft
from utils import read_data

ALONE, HARD, SOFT = "BiLSTM alone", "BiLSTM, hard", "BiLSTM, soft"
TRANSFER, SHALLOW = "BiLSTM, soft + transfer", "shallow BERT, soft"
STUDENTS = (ALONE, HARD, SOFT, TRANSFER, SHALLOW)
PAIRS = ((TRANSFER, ALONE), (TRANSFER, "linear"), (TRANSFER, "teacher"), (SOFT, ALONE), (SOFT, HARD))
TIMED_TITLES = 200


@dataclass
class BenchmarkConfig:
    """Knobs of the comparison."""

    data_dir: Path = Config.data_dir
    """Folder with class.txt, train.txt, dev.txt and test.txt."""
    model: str = DistillConfig.model[0]
    """Name (teacher, pruned) or path of the BERT to learn from."""
    output: Path = Config.output
    """Folder for the table and the picture."""
    save_dir: Path = DistillConfig.save_dir
    """Folder for the students: benchmark/ is made in it."""
    unlabeled: Path | None = None
    """Transfer set: titles without labels, one a line."""
    augment: int = 4
    """Transfer set: changed copies of each labelled title."""
    bert_layers: int | None = None
    """Layers of the shallow BERT. None: half of the teacher's."""
    seeds: int = 3
    """Trainings of each student."""
    learning_rates: tuple[float, ...] = (1e-3, 2e-3)
    """Rates to choose from for a BiLSTM; for the BERT they are to the teacher's own rate as these are to 2e-3."""
    updates: int | None = None
    """Updates of each student. None: as many as the stages take for the titles with the transfer set."""
    batch_size: int = Config.batch_size
    """Titles in a step."""
    limit: int | None = None
    """Train on the first N rows only."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps: for training; latency is the CPU's."""

    def __post_init__(self) -> None:
        require_one_or_more(self, "seeds", "batch_size", "updates", "limit", "bert_layers")
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise UserError("--learning-rates takes one or more numbers above 0")
        if self.augment < 1 and self.unlabeled is None:
            raise UserError("without --unlabeled and with --augment 0 there is no transfer set: give one of them")


def settings_of(config: BenchmarkConfig, teacher: Path) -> dict[str, Any]:
    """What makes two comparisons the same: knobs, data and teacher."""
    settings = {name: value for name, value in asdict(config).items() if not isinstance(value, Path)}
    settings |= {"learning_rates": list(config.learning_rates), "model": sha256(teacher)}
    settings["data"] = {name: sha256(config.data_dir / f"{name}.txt") for name in ("class", "train", "dev", "test")}
    settings["unlabeled"] = sha256(config.unlabeled) if config.unlabeled else None
    return settings


def student_file(row: str, seed: int, factor: float, config: BenchmarkConfig) -> Path:
    """Where a trained student of the comparison lies."""
    return config.save_dir / f"{re.sub('[^A-Za-z]+', '_', row)}_seed{seed}_x{factor:g}.pth"


def train_student(
    row: str, seed: int, factor: float, config: BenchmarkConfig, teacher: dict[str, Any], updates: int
) -> None:
    """Train one student, or finish its training.

    Args:
        row: one of `STUDENTS`.
        seed: of the training.
        factor: of the usual learning rate.
        config: the knobs.
        teacher: the teacher's `meta`.
        updates: of the weights.
    """
    knobs = {name: getattr(config, name) for name in ("data_dir", "save_dir", "batch_size", "limit", "device")}
    knobs |= {"model": (config.model,), "output": config.save_dir / "reports", "seed": seed, "resume": True}
    knobs |= {"max_steps": updates, "num_epochs": updates, "learning_rate": STUDENT_RATE * factor}
    if row == ALONE:
        knobs["alpha"] = 0.0
    elif row == TRANSFER:
        knobs |= {"unlabeled": config.unlabeled, "augment": config.augment}
    elif row == SHALLOW:
        layers = config.bert_layers or -(-teacher["architecture"]["bert_config"]["num_hidden_layers"] // 2)
        knobs |= {"bert_layers": layers, "learning_rate": teacher["config"]["learning_rate"] * factor}
    if row == HARD:
        distil_hard(DistillConfig(**knobs), deploy=False)
    else:
        distil_soft(SoftConfig(**knobs), deploy=False)
    made = f"{'bert' if row == SHALLOW else 'bilstm'}_{'hard' if row == HARD else 'soft'}_distill.pth"
    os.replace(config.save_dir / made, student_file(row, seed, factor, config))


def choose(row: str, report: dict[str, Any]) -> dict[str, Any]:
    """The run of a row's first seed that is best on dev.txt; a tie goes to the lower learning rate."""
    runs = [entry for entry in report["runs"] if entry["row"] == row and entry["seed"] == 1]
    return max(runs, key=lambda entry: (entry["dev_macro_f1"], -entry["factor"]))


def measure(paths: Sequence[Path], texts: Sequence[str]) -> list[dict[str, Any]]:
    """Size, parameters and speed (on the CPU, from text to answer) of models, which take turns."""
    speeds = compare_speed([NewsClassifier.load(path, "cpu").predict for path in paths], every(texts, TIMED_TITLES))
    return [
        {"params": sum(map(torch.numel, load(path)[0].values())), "size_mb": path.stat().st_size / 1e6, **speed}
        for path, speed in zip(paths, speeds, strict=True)
    ]


def fill(report: dict[str, Any], config: BenchmarkConfig, teacher: Path) -> None:
    """Make all rows that the report lacks, saving it after each training and each row."""
    labels, titles = read_data(config.data_dir, config.limit)
    test, meta = titles["test"], load(teacher)[1]
    path = config.output / "distillation.json"
    present = {row["name"] for row in report["rows"]}
    extra = len(read_unlabeled(config.unlabeled, labels, titles)) if config.unlabeled else 0
    steps = -(-(len(titles["train"].texts) * (1 + config.augment) + extra) // config.batch_size)
    factors = [rate / STUDENT_RATE for rate in config.learning_rates]
    updates = report["updates"] = config.updates or steps * default_epochs(steps)

    def predict(model: Path) -> list[int]:
        return predict_classes(model, test, config.batch_size, config.device)

    def add(row: dict[str, Any]) -> None:
        report["rows"].append(row)
        write_json(path, report)

    if "majority" not in present:
        majority = Counter(titles["train"].labels).most_common(1)[0][0]
        add(summarise("majority", test.labels, [[majority] * len(test.labels)], labels))
    if "linear" not in present:
        limit = ["--limit", str(config.limit)] if config.limit else []
        baseline.main(["--data-dir", str(config.data_dir), "--output", str(config.save_dir / "reports"), *limit])
        metrics = json.loads((config.save_dir / "reports/baseline/metrics.json").read_text(encoding="utf-8"))
        row = summarise("linear", test.labels, [list(map(int, metrics["predicted"].split()))], labels)
        add({**row, "seconds": metrics["seconds"]})
    for name in STUDENTS:
        if name in present:
            continue
        for seed in range(1, config.seeds + 1):
            for factor in factors if seed == 1 else [choose(name, report)["factor"]]:
                if any((run["row"], run["seed"], run["factor"]) == (name, seed, factor) for run in report["runs"]):
                    continue
                print(f"\n== {name}, seed {seed}, {factor:g} times the usual learning rate")
                train_student(name, seed, factor, config, meta, updates)
                made = load(student_file(name, seed, factor, config))[1]
                found = {"dev_macro_f1": made["metrics"]["dev"]["macro_f1"], "seconds": made["training"]["seconds"]}
                report["runs"].append({"row": name, "seed": seed, "factor": factor, **found})
                write_json(path, report)
        factor = choose(name, report)["factor"]
        runs = [run for run in report["runs"] if (run["row"], run["factor"]) == (name, factor)]
        predicted = [predict(student_file(name, run["seed"], factor, config)) for run in runs]
        seconds = statistics.mean(run["seconds"] for run in runs)
        add({**summarise(name, test.labels, predicted, labels), "factor": factor, "seconds": seconds})
    if "teacher" not in present:
        row = summarise("teacher", test.labels, [predict(teacher)], labels)
        add({**row, "seconds": meta["training"]["seconds"]})
    files = {name: student_file(name, 1, choose(name, report)["factor"], config) for name in STUDENTS}
    files["teacher"] = teacher
    found = dict(zip(files, measure(list(files.values()), test.texts), strict=True))
    report["rows"] = [row | found.get(row["name"], {}) for row in report["rows"]]
    report |= {**measured_on(), "threads": torch.get_num_threads(), **compare(report["rows"], test.labels, PAIRS)}
    write_json(path, report)


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(BenchmarkConfig, argv, __doc__)
    teacher = find_model(config.model, onnx=False)
    settings = settings_of(config, teacher)
    path = config.output / "distillation.json"
    report = open_report(path, settings, ["runs", "rows"])
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    config.save_dir = config.save_dir / "benchmark" / key[:12]  # no file of other runs is met there
    fill(report, config, teacher)
    write_views(report, path, as_markdown, draw)


if __name__ == "__main__":
    run(main)
