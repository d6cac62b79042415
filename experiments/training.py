"""How fast the training loop is beside the plain one, and what it does to the accuracy.

    python -m experiments.training                               # speed and memory
    python -m experiments.training --seeds 3 --limit 20000       # and the accuracy of trainings from start to end
    python -m experiments.training --data-dir my_data --output results

The training loop, `train.fit`, is compared with the plain one that most tutorials show (and the original design of this
project used): FP32, every title padded to 32 tokens and encoded anew in each epoch, no bucketing. Both take the same
rows, batch size and learning rates, in turn, each in a process of its own. Writes training_speed.json and
training_speed.md to the output folder.
"""

import contextlib
import dataclasses
import io
import itertools
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from bert_classifer_model import BERT_BASE, BertClassifier, finetune_defaults, read_bert_encoder
from config import BUNDLED_BERT, Config, parse, require_one_or_more
from core.console import UserError, run
from core.files import atomic_write, write_json
from core.measure.latency import peak_mb
from core.text.tokenizer import Encoder
from core.training.device import Devices, measured_on
from core.training.updater import Updater, learning_rate
from train import cross_entropy, evaluate
from utils import Batches, Titles, read_data

PLAIN_LENGTH = 32
WARM_UP_STEPS = 2


@dataclass
class BenchmarkConfig:
    """Knobs of the measurements."""

    data_dir: Path = Config.data_dir
    """Folder with class.txt, train.txt and dev.txt."""
    output: Path = Config.output
    """Folder for the JSON and Markdown files."""
    batch_size: int = Config.batch_size
    """Titles in a step of the small BERT; a BERT-base takes a quarter of it."""
    limit: int | None = None
    """Use only the first N rows of train.txt."""
    seconds: float = 20.0
    """Time that each measurement of speed lasts."""
    rounds: int = 3
    """Times that each speed is measured; the median counts."""
    seeds: int = 0
    """Trainings of the small BERT from start to end by both loops, for accuracy and time to reach it."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        require_one_or_more(self, "batch_size", "rounds", "limit")
        if self.seeds < 0 or self.seconds <= 0:
            raise UserError("--seconds must be above 0, --seeds at least 0")


def plain_loop(
    model: nn.Module, titles: Titles, encoder: Encoder, batch_size: int, rates: Iterator[float], device: torch.device
) -> Iterator[int]:
    """The loop of the tutorials; yields the number of titles of each step, without end."""
    encoder = Encoder(encoder.vocab, PLAIN_LENGTH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.01)
    while True:
        for rows in torch.randperm(len(titles.texts)).split(batch_size):
            ids = encoder.encode([titles.texts[row] for row in rows]).input_ids
            input_ids = torch.tensor([row + [encoder.pad_id] * (PLAIN_LENGTH - len(row)) for row in ids])
            mask = torch.tensor([[1] * len(row) + [0] * (PLAIN_LENGTH - len(row)) for row in ids])
            labels = torch.tensor([titles.labels[row] for row in rows])
            optimizer.param_groups[0]["lr"] = next(rates)
            loss = F.cross_entropy(model(input_ids.to(device), mask.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            loss.item()
            yield len(rows)


def our_loop(
    model: nn.Module, titles: Titles, encoder: Encoder, batch_size: int, rates: Iterator[float], devices: Devices
) -> Iterator[int]:
    """What `train.fit` does in each step; yields the number of titles of each step, without end."""
    batches = Batches(titles, encoder, batch_size, seed=torch.initial_seed() % 2**31)
    updater = Updater(model, cross_entropy, devices, 1, Config.weight_decay, Config.max_grad_norm)
    for epoch in itertools.count():
        for batch in batches.epoch(epoch):
            updater.step(batch, next(rates))
            yield len(batch["row"])


def start(loop: str, shape: str, titles: Titles, config: BenchmarkConfig, steps: int, labels: int, seed: int):
    """A model and a loop over it that has yet to take its first step.

    Returns:
        (model, iterator of titles a step, devices).
    """
    devices = Devices.find(config.device, "auto")
    encoder = read_bert_encoder(BUNDLED_BERT, Config.max_length)
    torch.manual_seed(seed)
    if shape == "bert-base":
        model, batch_size = BertClassifier(BERT_BASE, labels, "mean"), max(1, config.batch_size // 4)
    else:
        model, batch_size = BertClassifier.from_pretrained(BUNDLED_BERT, labels), config.batch_size
    model.to(devices.device).train()
    peak = finetune_defaults(BUNDLED_BERT, len(titles.texts))[1] if shape == "small" else 5e-5
    rates = (learning_rate(min(step, steps - 1), steps, peak, Config.warmup_ratio) for step in itertools.count())
    if loop == "plain":
        return model, plain_loop(model, titles, encoder, batch_size, rates, devices.device), devices
    return model, our_loop(model, titles, encoder, batch_size, rates, devices), devices


def read_quietly(config: BenchmarkConfig) -> tuple[list[str], dict[str, Titles]]:
    """The data, without the warnings that each of many processes would print."""
    with contextlib.redirect_stdout(io.StringIO()):
        return read_data(config.data_dir, config.limit)


def measure_speed(loop: str, shape: str, config: BenchmarkConfig) -> dict[str, float]:
    """Titles a second and the peak memory of one loop; runs in a process of its own."""
    labels, splits = read_quietly(config)
    _, steps, devices = start(loop, shape, splits["train"], config, 10_000, len(labels), seed=1)
    for _ in range(WARM_UP_STEPS):
        next(steps)
    titles, started = 0, time.perf_counter()
    while time.perf_counter() - started < config.seconds:
        titles += next(steps)
    speed = titles / (time.perf_counter() - started)
    return {"titles_per_s": speed, "peak_mb": peak_memory(devices.device)}


def measure_training(loop: str, seed: int, config: BenchmarkConfig) -> dict[str, Any]:
    """Train the small BERT from start to end, scored on dev twice an epoch; runs in a process of its own.

    Returns:
        {"dev_accuracy": of the last state, "seconds": without the scoring, "curve": [[seconds, dev accuracy], …]}.
    """
    labels, splits = read_quietly(config)
    per_epoch = -(-len(splits["train"].texts) // config.batch_size)
    epochs = finetune_defaults(BUNDLED_BERT, len(splits["train"].texts))[0]
    model, steps, devices = start(loop, "small", splits["train"], config, per_epoch * epochs, len(labels), seed)
    dev = Batches(splits["dev"], read_bert_encoder(BUNDLED_BERT, Config.max_length), config.batch_size)
    curve, seconds, started = [], 0.0, time.perf_counter()
    for step in range(1, per_epoch * epochs + 1):
        next(steps)
        if step % -(-per_epoch // 2) == 0 or step == per_epoch * epochs:
            seconds += time.perf_counter() - started
            curve.append([round(seconds, 1), evaluate(model, dev, labels, devices)["accuracy"]])
            model.train()
            started = time.perf_counter()
    return {"dev_accuracy": curve[-1][1], "seconds": round(seconds, 1), "curve": curve}


def peak_memory(device: torch.device) -> float:
    """The most memory that this process has held so far, in MB: the GPU's where there is one, else resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return peak_mb()


def in_a_process_of_its_own(function, *args):
    """Call a function where nothing else has allocated memory or started threads."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def benchmark_training(config: BenchmarkConfig) -> dict[str, Any]:
    """All measurements of the training loop, the two loops taking turns."""
    speeds: dict[tuple[str, str], list[dict[str, float]]] = {}
    plan = [
        (shape, loop) for _ in range(config.rounds) for shape in ("small", "bert-base") for loop in ("plain", "fit")
    ]
    for shape, loop in tqdm(plan, "speed", unit="run"):
        speeds.setdefault((shape, loop), []).append(in_a_process_of_its_own(measure_speed, loop, shape, config))
    rows = []
    for shape in ("small", "bert-base"):
        row: dict[str, Any] = {"shape": shape}
        for loop in ("plain", "fit"):
            for name in ("titles_per_s", "peak_mb"):
                row[f"{loop}_{name}"] = round(statistics.median(run[name] for run in speeds[shape, loop]), 1)
        rounds = zip(speeds[shape, "plain"], speeds[shape, "fit"], strict=True)
        row["ratio"] = round(
            statistics.median(ours["titles_per_s"] / plain["titles_per_s"] for plain, ours in rounds), 2
        )
        rows.append(row)
    trainings: dict[str, list[dict[str, Any]]] = {"plain": [], "fit": []}
    for seed, loop in tqdm(list(itertools.product(range(1, config.seeds + 1), trainings)), "accuracy", unit="run"):
        trainings[loop].append(in_a_process_of_its_own(measure_training, loop, seed, config))
    facts = {**measured_on(Devices.find(config.device, "auto").device), "threads": torch.get_num_threads()}
    settings = {name: str(value) if name == "data_dir" else value for name, value in dataclasses.asdict(config).items()}
    settings.pop("data_dir"), settings.pop("output")
    return {**facts, "settings": settings, "rows": rows, "trainings": trainings}


def speed_table(report: dict[str, Any]) -> str:
    """The speed and memory of both loops."""
    size = report["settings"]["batch_size"]
    names = {"small": f"bert-mini-chinese, batches of {size}"}
    names["bert-base"] = f"the shape of BERT-base, batches of {max(1, size // 4)}"
    headers = "| model | plain loop, titles/s | `train.py`, titles/s | ratio "
    lines = [f"{headers}| plain loop, peak memory | `train.py`, peak memory |", "|---|---|---|---|---|---|"]
    for row in report["rows"]:
        rates = f"{row['plain_titles_per_s']:.0f} | {row['fit_titles_per_s']:.0f} | {row['ratio']:.1f}×"
        memory = f"{row['plain_peak_mb'] / 1e3:.2f} GB | {row['fit_peak_mb'] / 1e3:.2f} GB"
        lines.append(f"| {names[row['shape']]} | {rates} | {memory} |")
    return "\n".join(lines)


def as_markdown(report: dict[str, Any]) -> str:
    """The report as tables."""
    lines = [f"{report['machine']}, {report['threads']} threads, {report['date']}", "", speed_table(report)]
    if any(report["trainings"].values()):
        # The accuracy that every training reached in the end is the one whose time can be compared.
        goal = min(max(score for _, score in run["curve"]) for runs in report["trainings"].values() for run in runs)
        lines += ["", f"| loop | dev accuracy, each seed | mean | seconds in all | seconds to {goal:.1%} |"]
        lines += ["|---|---|---|---|---|"]
        for loop, runs in report["trainings"].items():
            scores = [run["dev_accuracy"] for run in runs]
            reached = [next(seconds for seconds, score in run["curve"] if score >= goal) for run in runs]
            shown = " · ".join(f"{score:.2%}" for score in scores)
            seconds = f"{statistics.mean(run['seconds'] for run in runs):.0f} | {statistics.mean(reached):.0f}"
            lines.append(f"| {loop} | {shown} | {statistics.mean(scores):.2%} | {seconds} |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(BenchmarkConfig, argv, __doc__)
    report = benchmark_training(config)
    write_json(config.output / "training_speed.json", report)
    table = as_markdown(report)
    atomic_write(config.output / "training_speed.md", lambda file: file.write(table.encode("utf-8")))
    print(table)


if __name__ == "__main__":
    run(main)
