"""Which model should I deploy on my CPU? All that are present, side by side: accuracy, size, memory, speed.

    python benchmark.py                                        # every model here, on data/test.txt
    python benchmark.py --data-dir my_data --model soft teacher other.onnx
    python benchmark.py --output results                       # for the README

Besides the models, the baselines of their task take part: for titles the most frequent class and the linear model of
baseline.py. Items are timed one by one and in batches of 32, from text to answer, on all cores, each model in a process
of its own, and so are start and memory. Ratios are to the teacher in FP32 eager PyTorch, measured in the same run.
Writes benchmark.json, benchmark.md and benchmark.png to the output folder.
"""

import importlib
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch

import tasks
from config import MODELS, Config
from core.bert.shape import encoder_flops
from core.console import UserError, parse, progress, run
from core.files import atomic_write, sha256, write_json
from core.measure.alone import measure_alone
from core.measure.benchmark_report import add_ratios, advise, as_markdown, choose, draw
from core.measure.latency import Predict, compare_speed, spread_sample
from core.measure.metrics import headline
from core.measure.stats import wilson_interval
from core.model_files import lineage, openvino_model
from core.model_files.find import find_model
from core.model_files.module import build_module
from core.model_files.names import ONNX, OPENVINO, called, canonical, ending
from core.model_files.predictor import Predictor
from core.task import Task
from core.training.device import cpu_flags, measured_on

RUNTIMES = {ONNX: "onnxruntime", OPENVINO: "openvino"}
TIMED_ITEMS = 200
TURNS = 3  # of each model; the median counts
FIELDS = ("name", "runtime", "file", "accuracy", "accuracy_low", "accuracy_high", "macro_f1", "size_mb", "params")
FIELDS += ("encoder_flops", "peak_mb", "cold_start_s", "p50_ms", "p95_ms", "titles_per_s")  # None: not measured


@dataclass
class BenchmarkConfig:
    """Knobs of the comparison."""

    data_dir: Path | None = None
    """Folder with train, dev and test; dev is measured on where there is no test. None: data; of a task data/ner."""
    model: tuple[str, ...] = ()
    """Names (teacher, soft_int8, …) or paths of models. None: all that are present."""
    output: Path = Config.output
    """Folder for the table and the picture."""


class ModelFile(NamedTuple):
    """A model to measure: its name, what runs it, and its file."""

    name: str
    runtime: str
    path: Path


@dataclass
class Candidate:
    """What takes part: its row of the report, how it predicts, and the model, where it is one that has a file."""

    row: dict[str, Any]
    predict: Predict | None = None  # None: not worth timing
    predictor: Predictor | None = None


def find_files(models: Sequence[str]) -> list[ModelFile]:
    """The files of the models that are asked for, and of the teacher; of all that are present if none is.

    Raises:
        UserError: one that is asked for is not there.
    """
    paths = [path for name in (MODELS if not models else ["teacher"]) for path in MODELS[name].paths]
    asked = []
    for model in models:
        found, name = find_model(model, MODELS), None if Path(model).is_file() else canonical(model, MODELS)
        asked += MODELS[name].paths if name and found in MODELS[name].paths else [found]
    files = [path for path in dict.fromkeys([*asked, *paths]) if path.is_file()]
    return [ModelFile(called(path, MODELS), RUNTIMES.get(ending(path), "torch"), path) for path in files]


def open_models(files: Sequence[ModelFile]) -> list[tuple[ModelFile, Task, Predictor]]:
    """The models that can be opened, on the CPU; the others are left out with a warning."""
    opened = []
    for file in files:
        try:
            opened.append((file, *tasks.load(file.path, "cpu")))
        except UserError as fault:
            print(f"warning: left out: {fault}")
    return opened


def describe_model(file: ModelFile, predictor: Predictor, items: Sequence[Any]) -> Candidate:
    """A model with its sizes; its FLOPs are those of the middle one of the items."""
    architecture = predictor.facts["architecture"]
    with torch.device("meta"):
        params = sum(parameter.numel() for parameter in build_module(architecture, predictor.builds).parameters())
    row = {"name": file.name, "runtime": file.runtime, "file": file.path.as_posix(), "params": params}
    if "bert_config" in architecture:
        lengths = map(len, predictor.encode(items).columns["input_ids"])
        row["encoder_flops"] = encoder_flops(architecture, round(statistics.median(lengths)))
    row["size_mb"] = openvino_model.size(file.path) / 1e6
    return Candidate(row, predictor.predict, predictor)


def measure(candidates: Sequence[Candidate], items: Sequence[Any]) -> list[dict[str, Any]]:
    """Fill the rows with speed, memory and ratios, and return them; the models take turns."""
    timed = [candidate for candidate in candidates if candidate.predict]
    turns: list[list[dict[str, float]]] = [[] for _ in timed]
    with progress(total=TURNS * len(timed), desc="measuring", unit="run", leave=False) as bar:
        for _ in range(TURNS):
            for candidate, mine in zip(timed, turns, strict=True):
                if candidate.predictor:
                    mine.append(measure_alone(type(candidate.predictor), candidate.predictor.path, items))
                else:
                    mine.append(compare_speed([candidate.predict], items, 2)[0])
                bar.update()
    for candidate in candidates:
        candidate.row = {**dict.fromkeys(FIELDS), **candidate.row}
    for candidate, mine in zip(timed, turns, strict=True):
        candidate.row |= {name: statistics.median(turn[name] for turn in mine) for name in mine[0]}
    opened = [candidate for candidate in timed if candidate.predictor]
    eager = [each for each in opened if each.row["runtime"] == "torch" and each.predictor.facts["stage"] == "teacher"]
    rows = [candidate.row for candidate in candidates]
    add_ratios(rows, eager[0].row if eager else None)
    return rows


def comparable(
    opened: Sequence[tuple[ModelFile, Task, Predictor]], task: Task, folder: Path
) -> Iterator[tuple[ModelFile, Predictor]]:
    """The models of a task that have the classes of a data folder; the others are left out with a warning."""
    for file, own, predictor in opened:
        try:
            if own is not task:
                raise UserError(f"it is a model for {predictor.task}: compare it on its own data")
            task.check_labels(predictor.facts, folder)
            yield file, predictor
        except UserError as fault:
            print(f"warning: left out: {file.path}: {fault}")


def how_to_train(task: Task) -> str:
    """The command that makes the teacher of a task, in parentheses; nothing where no teacher has a name."""
    teacher = task.models.get("teacher")
    return f" (`python {teacher.script}`)" if teacher else ""


def benchmark_models(config: BenchmarkConfig) -> dict[str, Any]:
    """All models on the same rows."""
    opened = open_models(find_files(config.model))
    task = opened[0][1] if opened else tasks.task_of({})
    data_dir = config.data_dir or tasks.own_folder(Config.data_dir, task)
    labels = task.labels(data_dir) or (opened[0][2].labels if opened else [])
    splits = task.read_splits(data_dir, labels)
    split = "test" if "test" in splits else "dev"
    held_out, n = splits[split], len(splits[split])
    items = spread_sample(held_out.items, TIMED_ITEMS)
    candidates, scores = [], []
    for row, found, predict in importlib.import_module(task.baseline).competitors(splits, held_out, labels):
        candidates.append(Candidate(row, predict))
        scores.append(found)
    for file, predictor in comparable(opened, task, data_dir):
        candidates.append(describe_model(file, predictor, items))
        scores.append(task.score(predictor, held_out, None))
    by = headline(scores[0], task.best_by)
    for candidate, found in zip(candidates, scores, strict=True):
        candidate.row |= {name: found[name] for name in (by, task.best_by)}
        if "accuracy" in found:
            low, high = wilson_interval(round(found["accuracy"] * n), n)
            candidate.row |= {"accuracy_low": low, "accuracy_high": high}
    rows = measure(candidates, items)
    if rows[-1]["ratio_p50"] is None:
        print(f"warning: without a teacher{how_to_train(task)} there is nothing to give ratios to")
    data = task.file(data_dir, split)
    chosen = choose(rows, by)
    for candidate in candidates:
        if candidate.row is chosen and candidate.predictor:
            lineage.advise(task.models, candidate.predictor.path, candidate.predictor.facts)
    facts = {"data": f"{data.name}, {n} titles", "data_sha256": sha256(data)}
    return {**facts, "by": by, "best_by": task.best_by, "rows": rows, "advice": advise(rows, by)}


def describe_run(found: dict[str, Any]) -> dict[str, Any]:
    """A report: what was found, and on which machine, with which threads and libraries."""
    versions = {name: version(name) for name in ("torch", "onnxruntime")}
    return {
        **measured_on(),
        "threads": torch.get_num_threads(),
        "cpu_flags": cpu_flags(),
        "versions": versions,
        **found,
    }


def write_report(report: dict[str, Any], path: Path) -> str:
    """Write a report (.json) and its table (.md); returns the table."""
    write_json(path, report)
    table = as_markdown(report)
    atomic_write(path.with_suffix(".md"), lambda file: file.write(table.encode("utf-8")))
    return table


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(BenchmarkConfig, argv, __doc__)
    report = describe_run(benchmark_models(config))
    table = write_report(report, config.output / "benchmark.json")
    draw(report["rows"], config.output / "benchmark.png", report["by"])
    print(f"\n{table}wrote benchmark.json benchmark.md benchmark.png to {config.output}")


if __name__ == "__main__":
    run(main)
