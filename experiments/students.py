"""Comparison of students with and without a teacher, beside the teacher, the linear model and chance.

    python -m experiments.students                                        # the bundled data, 3 seeds
    python -m experiments.students --data-dir my_data --unlabeled titles.txt --augment 0 --output results/mine

Every BiLSTM has the same size, the same start (the teacher's token embeddings, also the one that learns alone), the
same number of updates, and the same choice of learning rates, made on dev.txt with the first seed. test.txt is read
once for each row of the table, when all trainings of that row are done. A run that was stopped goes on where it was.
Writes distillation.json, distillation.md and distillation.png to the output folder.
"""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from config import MODELS, Config
from core.console import UserError, parse, require_one_or_more, run
from core.files import sha256, write_picture
from core.measure.latency import compare_speed, spread_sample
from core.measure.metrics import classification_metrics
from core.measure.stats import interval, paired_bootstrap
from core.model_files.checkpoint import load
from core.model_files.facts import Facts
from core.model_files.find import find_model
from core.training.device import measured_on
from distillation import STUDENT_RATE, DistillConfig, default_epochs, read_unlabeled
from experiments.readme_words import ENGLISH, Words, each_seed, markdown, percent
from experiments.trials import Trials, as_array, as_text, knobs_of, predict_classes, predict_linear, write_views
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
class StudentsConfig:
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


def settings_of(config: StudentsConfig, teacher: Path) -> dict[str, Any]:
    """The settings that make two comparisons the same: knobs, data and teacher."""
    settings = {name: value for name, value in asdict(config).items() if not isinstance(value, Path)}
    settings |= {"learning_rates": list(config.learning_rates), "model": sha256(teacher)}
    settings["data"] = {name: sha256(config.data_dir / f"{name}.txt") for name in ("class", "train", "dev", "test")}
    settings["unlabeled"] = sha256(config.unlabeled) if config.unlabeled else None
    return settings


def train_student(
    row: str, seed: int, factor: float, config: StudentsConfig, teacher: Facts, updates: int, folder: Path
) -> dict[str, Any]:
    """Train one of `STUDENTS`, or finish its training, at a factor of the usual learning rate."""
    knobs = knobs_of(config, "data_dir batch_size limit device", folder, seed) | {"model": (config.model,)}
    knobs |= {"max_steps": updates, "num_epochs": updates, "learning_rate": STUDENT_RATE * factor}
    if row == ALONE:
        knobs["alpha"] = 0.0
    elif row == TRANSFER:
        knobs |= {"unlabeled": config.unlabeled, "augment": config.augment}
    elif row == SHALLOW:
        layers = config.bert_layers or -(-teacher["architecture"]["bert_config"]["num_hidden_layers"] // 2)
        knobs |= {"bert_layers": layers, "learning_rate": teacher["config"]["learning_rate"] * factor}
    distil, stage = (distil_hard, DistillConfig(**knobs)) if row == HARD else (distil_soft, SoftConfig(**knobs))
    stage.logits_dir = folder.parent / "teacher_logits"  # all students share them
    distil(stage, deploy=False)
    made = load(folder / f"{'bert' if row == SHALLOW else 'bilstm'}_{'hard' if row == HARD else 'soft'}_distill.pth")[1]
    return {"dev_macro_f1": made["metrics"]["dev"]["macro_f1"], "seconds": made["training"]["seconds"]}


def fill(trials: Trials, config: StudentsConfig, teacher: Path) -> None:
    """Make all rows and runs that the report lacks."""
    labels, titles = read_data(config.data_dir, config.limit)
    test, facts, report = titles["test"], load(teacher)[1], trials.report
    extra = len(read_unlabeled(config.unlabeled, labels, titles)) if config.unlabeled else 0
    steps = -(-(len(titles["train"]) * (1 + config.augment) + extra) // config.batch_size)
    updates = report["updates"] = config.updates or steps * default_epochs(steps)

    def figures(name: str, predicted: list[list[int]], **more: float) -> dict[str, Any]:
        return summarise(name, test.labels, predicted, labels) | more

    def predict(model: Path) -> list[int]:
        return predict_classes(model, test, config.batch_size, config.device)

    def trained(name: str, seed: int, factor: float) -> tuple[dict[str, Any], Path]:
        """A run and its student."""
        key = {"row": name, "seed": seed, "factor": factor}
        make = partial(train_student, name, seed, factor, config, facts, updates)
        return trials.once("runs", key, make, need_model=True), trials.model(key)

    def chance(_: Path) -> dict[str, Any]:
        majority = Counter(titles["train"].labels).most_common(1)[0][0]
        return figures("majority", [[majority] * len(test)])

    def linear(_: Path) -> dict[str, Any]:
        predicted, seconds = predict_linear(titles["train"], titles["dev"], test)
        return figures("linear", [predicted], seconds=seconds)

    def student(name: str, _: Path) -> dict[str, Any]:
        first = [trained(name, 1, rate / STUDENT_RATE)[0] for rate in config.learning_rates]
        factor = max(first, key=lambda run: (run["dev_macro_f1"], -run["factor"]))["factor"]
        runs = [trained(name, seed, factor) for seed in range(1, config.seeds + 1)]
        seconds = statistics.mean(run["seconds"] for run, _ in runs)
        return figures(name, [predict(path) for _, path in runs], factor=factor, seconds=seconds)

    makers = {"majority": chance, "linear": linear, **{name: partial(student, name) for name in STUDENTS}}
    makers["teacher"] = lambda _: figures("teacher", [predict(teacher)], seconds=facts["training"]["seconds"])
    rows = {name: trials.once("rows", {"name": name}, make) for name, make in makers.items()}
    files = {name: trained(name, 1, rows[name]["factor"])[1] for name in STUDENTS} | {"teacher": teacher}
    predictors = [NewsClassifier.load(path, "cpu").predict for path in files.values()]
    speeds = compare_speed(predictors, spread_sample(test.items, TIMED_TITLES))
    for (name, path), speed in zip(files.items(), speeds, strict=True):
        params = sum(map(torch.numel, load(path)[0].values()))
        rows[name] |= {"params": params, "size_mb": path.stat().st_size / 1e6, **speed}
    report |= {**measured_on(), "threads": torch.get_num_threads(), **compare(report["rows"], test.labels, PAIRS)}
    trials.save()


def summarise(name: str, true: list[int], predicted: list[list[int]], labels: Sequence[str]) -> dict[str, Any]:
    """A row of the table from its predictions, one list for each seed."""
    found = [classification_metrics(true, one, labels) for one in predicted]
    row: dict[str, Any] = {"name": name}
    for metric in ("accuracy", "macro_f1"):
        row[f"{metric}_each"] = [metrics[metric] for metrics in found]
        row[metric] = statistics.mean(row[f"{metric}_each"])
    return {**row, "predicted": list(map(as_text, predicted))}


def compare(rows: list[dict[str, Any]], true: list[int], pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Differences of some pairs of rows, by paired bootstrap over the titles (the mean of the seeds).

    The first row of the first pair is also held against the teacher by its share of the accuracy.
    """
    accuracy = {row["name"]: row["accuracy"] for row in rows}
    right = {row["name"]: (as_array(row["predicted"]) == true).mean(axis=0) for row in rows}
    found = [{"of": one, "against": by, **asdict(paired_bootstrap(right[one], right[by]))} for one, by in pairs]
    return {"comparisons": found, "ratio_to_teacher": accuracy[pairs[0][0]] / accuracy["teacher"]}


def table(report: dict[str, Any], words: Words) -> str:
    """The report as a table, and how sure its differences are."""
    lines = []
    for row in report["rows"]:
        seeds, sizes = row["accuracy_each"], ["–"] * 3
        if "params" in row:
            sizes = [f"{row['params'] / 1e6:.1f} M", f"{row['size_mb']:.1f}", f"{row['p50_ms']:.2f}"]
        cells = [words.get(row["name"], row["name"]), percent(row["accuracy"]), each_seed(seeds) if seeds[1:] else "–"]
        lines.append([*cells, percent(row["macro_f1"]), *sizes, f"{row['seconds']:.0f}" if "seconds" in row else "–"])
    told = []
    for found in report["comparisons"]:
        named = {name: words.get(found[name], found[name]) for name in ("of", "against")}
        told.append(interval({**found, **named}, words["pair of students"]))
    best = report["comparisons"][0]["of"]
    told.append(words["ratio to teacher"].format(words.get(best, best), percent(report["ratio_to_teacher"], 1)))
    return markdown(words["table students"], lines) + "\n\n" + "\n".join(told)


def draw(report: dict[str, Any], path: Path, words: Words = ENGLISH) -> None:
    """Accuracy (a dot for each seed, a line at the linear model) and latency of all models but chance as a PNG."""
    from matplotlib.figure import Figure

    rows = [row for row in report["rows"][::-1] if row["name"] != "majority"]
    names = [words[row["name"]] for row in rows]
    figure = Figure(figsize=(10, 0.8 + 0.4 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for name, row in zip(names, rows, strict=True):
        scores, mean = [100 * score for score in row["accuracy_each"]], 100 * row["accuracy"]
        left.plot(scores, [name] * len(scores), "k.", markersize=4)
        left.plot(mean, name, "o", color="tab:blue", alpha=0.5, markersize=11)
        left.annotate(f"{mean:.1f}", (mean, name), (0, 8), textcoords="offset points", ha="center", fontsize=8)
        if row["name"] == "linear":
            left.axvline(mean, color="gray", linestyle=":", linewidth=1)
    left.margins(x=0.1, y=0.12)
    left.set_xlabel(words["test accuracy, % (small dots: each seed)"])
    bars = right.barh(names, [row.get("p50_ms", 0) for row in rows], color="tab:orange", alpha=0.6)
    right.bar_label(bars, [f"{row['p50_ms']:.1f}" if "p50_ms" in row else "" for row in rows], padding=3, fontsize=8)
    right.margins(x=0.15)
    right.set_xlabel(words["one title on the CPU, ms"])
    write_picture(path, figure)


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(StudentsConfig, argv, __doc__)
    teacher = find_model(config.model, MODELS, onnx=False)
    path = config.output / "distillation.json"
    trials = Trials(config.save_dir / "benchmark", settings_of(config, teacher), ["runs", "rows"], path)
    fill(trials, config, teacher)
    write_views(trials.report, path, table, draw)


if __name__ == "__main__":
    run(main)
