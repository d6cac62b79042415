"""How much sooner distillation from a BERT-base ends when the teacher judges each title once, not in every epoch.

    python -m experiments.teacher_once
    python -m experiments.teacher_once --data-dir my_data --titles 2048 --output results

Three ways of training the BiLSTM student: the teacher in every step, FP32; once, FP32; and once, both models in the
arithmetic that the stages choose on this machine (bf16 where it is native). What they are made of is timed in turn on a
slice of the titles, with random weights; ten epochs are extrapolated from it. Writes distillation_speed.json.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from bert_classifer_model import BERT_BASE, BertClassifier
from bilstm_classifier import BiLSTMClassifier
from config import Config, parse
from core.compression.losses import distillation_loss
from core.compression.teacher_cache import logits_of
from core.console import UserError, run
from core.files import write_json
from core.text.tokenizer import Encoder
from core.training.device import Devices, measured_on
from core.training.updater import Batch, Updater
from distillation import STUDENT_RATE
from experiments.shapes import make_vocab
from soft_label_distillation import SoftConfig
from utils import Batches, read_labels, read_titles

EPOCHS = 10  # to extrapolate to
ROUNDS = 3  # in which everything is measured; the median counts
Work = Callable[[Batch], torch.Tensor | dict[str, float]]


@dataclass
class SpeedConfig:
    """Knobs of the measurement."""

    data_dir: Path = Config.data_dir
    """Folder with class.txt and train.txt."""
    output: Path = Config.output
    """Folder for the JSON file."""
    titles: int = 512
    """Titles to measure with, the first ones of train.txt."""
    batch_size: int = Config.batch_size
    """Titles in a step."""

    def __post_init__(self) -> None:
        if min(self.titles, self.batch_size) < 1:
            raise UserError("--titles and --batch-size must be 1 or more")


def student_step(student: nn.Module, teach: Work, devices: Devices) -> Work:
    """A step of soft distillation, with the teacher's logits from wherever they come."""

    def loss_fn(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        logits = model(batch["input_ids"], batch["attention_mask"])
        return distillation_loss(logits, teach(batch), batch["labels"], SoftConfig.temperature, SoftConfig.alpha)

    updater = Updater(student, loss_fn, devices, 1, Config.weight_decay, Config.max_grad_norm)
    return lambda batch: updater.step(batch, STUDENT_RATE)


def measure(config: SpeedConfig) -> dict[str, float]:
    """Seconds a title of all that the three ways are made of."""
    labels = read_labels(config.data_dir / "class.txt")
    titles = read_titles(config.data_dir / "train.txt", labels, config.titles)
    config.titles = len(titles.texts)
    encoder = Encoder(make_vocab(BERT_BASE["vocab_size"]), Config.max_length)
    batches = Batches(titles, encoder, config.batch_size, seed=0)
    plain, native = Devices.find("cpu", "fp32"), Devices.find("cpu", "auto")
    torch.manual_seed(0)
    teacher = BertClassifier(BERT_BASE, len(labels), "mean")
    student = BiLSTMClassifier(BERT_BASE["vocab_size"], len(labels)).train()
    judge, judge_natively = logits_of(teacher, plain), logits_of(teacher, native)
    known = torch.randn(config.titles, len(labels))
    work: dict[str, Work] = {
        "step_with_teacher": student_step(student, judge, plain),
        "teacher": judge,
        "step": student_step(student, lambda batch: known[batch["row"]], plain),
        "teacher_native": judge_natively,
        "step_native": student_step(student, lambda batch: known[batch["row"]], native),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for number in tqdm(range(ROUNDS), "measuring", unit="round"):
        for name, do in work.items():
            do(next(batches.epoch()))  # warm-up
            started = time.perf_counter()
            for batch in batches.epoch(number):
                do(batch)
            times[name].append((time.perf_counter() - started) / config.titles)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(SpeedConfig, argv, __doc__)
    a_title = measure(config)
    seconds = {
        "teacher in every step": EPOCHS * a_title["step_with_teacher"],
        "teacher once": a_title["teacher"] + EPOCHS * a_title["step"],
        f"teacher once, {Devices.find('cpu', 'auto')}": a_title["teacher_native"] + EPOCHS * a_title["step_native"],
    }
    plain = seconds["teacher in every step"]
    rows = [{"name": name, "seconds_a_1000_titles": 1000 * s, "ratio": plain / s} for name, s in seconds.items()]
    report = {**measured_on(), "threads": torch.get_num_threads(), "epochs": EPOCHS}
    report |= {"extrapolated": "from the seconds of one pass", "titles": config.titles, "batch_size": config.batch_size}
    write_json(config.output / "distillation_speed.json", {**report, "seconds_a_title": a_title, "rows": rows})
    print(f"{EPOCHS} epochs, extrapolated from one pass over {config.titles} titles")
    for row in rows:
        print(f"{row['seconds_a_1000_titles']:9.1f} s a 1000 titles  {row['ratio']:5.1f}x  {row['name']}")


if __name__ == "__main__":
    run(main)
