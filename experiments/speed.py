"""Speed and memory of the training loop beside the plain one.

    python -m experiments.speed
    python -m experiments.speed --data-dir my_data --output results

The training loop, `core.training.loop.fit`, is compared with the plain one that most tutorials show (and the original
design of this project used): FP32, every title padded to 32 tokens and encoded anew in each epoch, no bucketing. Both
take the same rows, batch size and learning rates, in turn, each in a process of its own. Writes training_speed.json and
training_speed.md to the output folder.
"""

import contextlib
import io
import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from bert_classifer_model import BertClassifier
from config import BUNDLED_BERT, Config
from core.bert.encoder import BERT_BASE
from core.bert.folder import finetune_defaults
from core.console import UserError, parse, progress, require_one_or_more, run
from core.files import write_json
from core.measure.latency import in_own_process, peak_memory_mb
from core.model_files.module import pick_device
from core.text.tokenizer import Tokenizer, read_vocab
from core.training.device import Devices, measured_on
from core.training.recipes import cross_entropy
from core.training.units import count_rows, row_units
from core.training.updater import Updater, learning_rate
from experiments.readme_words import Words, markdown
from experiments.trials import write_views
from utils import Titles, read_data, title_batches

PLAIN_LENGTH = 32
WARM_UP_STEPS = 2
STEPS = 10_000  # that the learning rate is planned for; fewer are taken
SHAPES = {"small": 1, "bert-base": 4}  # what of --batch-size each takes: all, a quarter
LOOPS = ("plain", "fit")


@dataclass
class SpeedConfig:
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
    """Time that each measurement lasts."""
    rounds: int = 3
    """Times that each speed is measured; the median counts."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        require_one_or_more(self, "batch_size", "rounds", "limit")
        if self.seconds <= 0:
            raise UserError("--seconds must be above 0")


def plain_loop(
    model: nn.Module, titles: Titles, vocab: Sequence[str], batch_size: int, rates: Iterator[float], devices: Devices
) -> Iterator[int]:
    """The loop of the tutorials; yields the number of titles of each step, without end."""
    tokenizer, device = Tokenizer(vocab, PLAIN_LENGTH), devices.device
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.01)
    while True:
        for rows in torch.randperm(len(titles)).split(batch_size):
            ids = tokenizer.encode([titles.texts[row] for row in rows]).input_ids
            input_ids = torch.tensor([row + [tokenizer.pad_id] * (PLAIN_LENGTH - len(row)) for row in ids])
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
    model: nn.Module, titles: Titles, vocab: Sequence[str], batch_size: int, rates: Iterator[float], devices: Devices
) -> Iterator[int]:
    """The steps of `fit`; yields the number of titles of each, without end."""
    batches = title_batches(titles, Tokenizer(vocab, Config.max_length), batch_size, seed=1)
    updater = Updater(model, cross_entropy(row_units), devices, count_rows, Config())
    for epoch in itertools.count():
        for batch in batches.epoch(epoch):
            updater.step(batch, next(rates))
            yield len(batch["row"])


def start(loop: str, shape: str, titles: Titles, labels: int, config: SpeedConfig) -> tuple[nn.Module, Iterator[int]]:
    """A model, and a loop over it that has yet to take its first step."""
    devices = Devices.find(config.device, "auto")
    torch.manual_seed(1)
    if shape == "small":
        model, peak = (
            BertClassifier.from_pretrained(BUNDLED_BERT, labels),
            finetune_defaults(BUNDLED_BERT, len(titles))[1],
        )
    else:
        model, peak = BertClassifier(BERT_BASE, labels, "mean"), 5e-5
    model.to(devices.device).train()
    rates = (learning_rate(min(step, STEPS - 1), STEPS, peak, Config.warmup_ratio) for step in itertools.count())
    vocab, size = read_vocab(BUNDLED_BERT / "vocab.txt"), max(1, config.batch_size // SHAPES[shape])
    return model, {"plain": plain_loop, "fit": our_loop}[loop](model, titles, vocab, size, rates, devices)


def measure(loop: str, shape: str, config: SpeedConfig) -> dict[str, float]:
    """Titles a second and the peak memory of one loop; runs in a process of its own."""
    with contextlib.redirect_stdout(io.StringIO()):  # the warnings of the data are told once, by `main`
        labels, splits = read_data(config.data_dir, config.limit)
    model, steps = start(loop, shape, splits["train"], len(labels), config)
    for _ in range(WARM_UP_STEPS):
        next(steps)
    titles, started = 0, time.perf_counter()
    while (taken := time.perf_counter() - started) < config.seconds:
        titles += next(steps)
    return {"titles_per_s": titles / taken, "peak_mb": peak_memory_mb(next(model.parameters()).device)}


def compare(config: SpeedConfig) -> list[dict[str, Any]]:
    """The speed and memory of both loops for each shape, the loops taking turns."""
    plan = list(itertools.product(range(config.rounds), SHAPES, LOOPS))
    found: dict[tuple[str, str], list[dict[str, float]]] = {pair: [] for pair in itertools.product(SHAPES, LOOPS)}
    for _, shape, loop in progress(plan, desc="speed", unit="run"):
        found[shape, loop].append(in_own_process(measure, loop, shape, config))
    rows = []
    for shape in SHAPES:
        row: dict[str, Any] = {"shape": shape}
        for loop, name in itertools.product(LOOPS, ("titles_per_s", "peak_mb")):
            row[f"{loop}_{name}"] = round(statistics.median(run[name] for run in found[shape, loop]), 1)
        rounds = zip(found[shape, "fit"], found[shape, "plain"], strict=True)
        row["ratio"] = round(
            statistics.median(ours["titles_per_s"] / plain["titles_per_s"] for ours, plain in rounds), 2
        )
        rows.append(row)
    return rows


def table(report: dict[str, Any], words: Words) -> str:
    """The speed and memory of both loops."""
    lines = []
    for row in report["rows"]:
        shape, size = row["shape"], max(1, report["settings"]["batch_size"] // SHAPES[row["shape"]])
        speeds = [f"{row[f'{loop}_titles_per_s']:.0f}" for loop in LOOPS]
        memory = [f"{row[f'{loop}_peak_mb'] / 1e3:.2f} GB" for loop in LOOPS]
        lines.append([words[f"batches {shape}"].format(size), *speeds, f"{row['ratio']:.1f}×", *memory])
    return markdown(words["table speed"], lines)


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(SpeedConfig, argv, __doc__)
    read_data(config.data_dir, config.limit)
    settings = {name: value for name, value in asdict(config).items() if not isinstance(value, Path)}
    report = {**measured_on(pick_device(config.device)), "threads": torch.get_num_threads(), "settings": settings}
    report["rows"] = compare(config)
    path = config.output / "training_speed.json"
    write_json(path, report)
    write_views(report, path, table)


if __name__ == "__main__":
    run(main)
