"""Shared parts of the experiments: reports that a run goes on with, trainings that are done once, predictions.

trials = Trials(work, settings, ["cells"], output / "rows.json")
cell = trials.once("cells", {"rows": 500, "seed": 1}, train)    # calls train(folder), unless the cell is there
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baseline import fit_linear
from core.console import UserError
from core.files import atomic_write, write_json
from core.model_files.module import load_module, pick_device
from core.text.tokenizer import Tokenizer
from core.training.device import Devices, measured_on
from core.training.loop import forward_rows
from experiments.readme_words import ENGLISH
from predict_fun import NewsClassifier
from utils import Titles, title_batches

CHECKPOINTS = (".pt", ".pth")


def open_report(path: Path, settings: dict[str, Any], lists: Sequence[str]) -> dict[str, Any]:
    """The report as far as earlier runs with these settings came, or an empty one; it collects entries in some lists.

    Raises:
        UserError: it is damaged, or was made with other settings.
    """
    if not path.is_file():
        return {"settings": settings, **{name: [] for name in lists}}
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        differ = [name for name, value in settings.items() if report["settings"].get(name) != value]
        if not all(isinstance(entry, dict) for name in lists for entry in report[name]):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise UserError(f"{path} is damaged: delete it and start again") from fault
    if differ:
        raise UserError(f"{path} was made with another {differ[0]}: delete it, or choose another --output")
    return report


class Trials:
    """A report whose entries are each made once, and kept as soon as they are there: a stopped run goes on.

    Args:
        work: where the trainings go; those with other settings go to another folder in it.
        settings: what makes two measurements the same.
        lists: names of what the report collects.
        path: of the report; None: it lies beside the trainings.
        device: what the report says that it was measured on.
    """

    def __init__(
        self, work: Path, settings: dict[str, Any], lists: Sequence[str], path: Path | None = None, device: str = "cpu"
    ) -> None:
        self.work = work / hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
        self.path, self.device = path or self.work / "cells.json", pick_device(device)
        self.report = open_report(self.path, settings, lists)

    def find(self, kind: str, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """The entry of a list that has a key; None where it is not there yet."""
        return next((entry for entry in self.report[kind] if key.items() <= entry.items()), None)

    def once(
        self, kind: str, key: Mapping[str, Any], make: Callable[[Path], Mapping[str, Any]], need_model: bool = False
    ) -> dict[str, Any]:
        """The entry of a list that has a key, made unless it is there.

        Args:
            kind: name of the list.
            key: plain values that tell the entry from all others.
            make: folder of this key -> the rest of the entry; a training that was stopped goes on in the folder.
            need_model: whether the checkpoint in the folder must be there too.
        """
        found = self.find(kind, key)
        if found is not None and (self.model(key) or not need_model):
            return found
        print(f"\n== {', '.join(f'{name} {value}' for name, value in key.items())}")
        fresh = {**(found or {}), **key, **make(self.folder(key)), **key}
        self.report[kind] = [entry for entry in self.report[kind] if entry is not found] + [fresh]
        self.report |= measured_on(self.device)
        self.save()
        return fresh

    def save(self) -> None:
        """Write the report."""
        write_json(self.path, self.report)

    def folder(self, key: Mapping[str, Any]) -> Path:
        """Where the training of a key goes."""
        return self.work / "-".join(map(str, key.values()))

    def model(self, key: Mapping[str, Any]) -> Path | None:
        """The checkpoint that the training of a key has left; None where it is gone."""
        return next((path for path in self.folder(key).glob("*") if path.suffix in CHECKPOINTS), None)


def knobs_of(config: Any, names: str, folder: Path, seed: int) -> dict[str, Any]:
    """Knobs of a stage that trains in a folder and goes on there; those that are named are an experiment's own."""
    own = {name: getattr(config, name) for name in names.split()}
    return {**own, "save_dir": folder, "output": folder / "reports", "seed": seed, "resume": True}


def predict_classes(path: Path, titles: Titles, batch_size: int, device: str) -> list[int]:
    """The class ids that a model file predicts for titles, in FP32 as the predictor does."""
    model, facts = load_module(path, NewsClassifier.builds)
    devices = Devices.find(device, "fp32")
    batches = title_batches(titles, Tokenizer.from_facts(facts), batch_size)
    return [int(logits.argmax()) for logits in forward_rows(model.to(devices.device), batches, devices)]


def predict_linear(train: Titles, dev: Titles, test: Titles) -> tuple[list[int], float]:
    """The class ids that the linear model of baseline.py predicts, and the seconds that this took."""
    started = time.perf_counter()
    predicted = fit_linear(train, dev)[0].predict(test.texts).tolist()
    return predicted, round(time.perf_counter() - started, 1)


def as_text(predicted: Iterable[int]) -> str:
    """Class ids as reports keep them."""
    return " ".join(map(str, predicted))


def as_array(predicted: Iterable[str]) -> np.ndarray:
    """(trainings, titles) class ids from what `as_text` made of each training's."""
    return np.array([one.split() for one in predicted], dtype=int)


def write_views(report: dict[str, Any], path: Path, table: Callable[..., str], draw: Callable | None = None) -> None:
    """Write the table (.md) and the picture (.png), where there is one, beside a report (.json), and show the table."""
    threads = f"{report['threads']} threads, " if "threads" in report else ""
    text = f"{report['machine']}, {threads}{report['date']}\n\n{table(report, ENGLISH)}\n"
    atomic_write(path.with_suffix(".md"), lambda file: file.write(text.encode("utf-8")))
    if draw:
        draw(report, path.with_suffix(".png"))
    print(f"\n{text}wrote {path.name} and its table to {path.parent}")
