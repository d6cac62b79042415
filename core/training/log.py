"""What a training run leaves to look at: lines for people, `log.jsonl` for programs, `learning_curve.png`."""

import json
from pathlib import Path
from typing import Any

from core.files import atomic_write

CURVES = (("loss", "dev_loss"), ("dev_accuracy", "dev_macro_f1"), ("tokens_per_s",))
SHOWN = ("loss", "dev_loss", "dev_accuracy", "dev_macro_f1")


class TrainingLog:
    """The evaluations of a run in order.

    Args:
        folder: where `log.jsonl` and `learning_curve.png` go.
        entries: what a resumed run had logged before; grows.
        write: whether this process writes the files.
    """

    def __init__(self, folder: Path, entries: list[dict[str, Any]], write: bool) -> None:
        self.folder = folder
        self.entries = entries
        self.write = write
        if not write:
            return
        folder.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(entry) + "\n" for entry in entries)
        (folder / "log.jsonl").write_text(text, encoding="utf-8")

    def add(self, entry: dict[str, Any]) -> str:
        """Append an entry to the file, with `tokens_per_s` since the one before; returns it as a line for people."""
        before = self.entries[-1] if self.entries else {"tokens": 0, "seconds": 0.0}
        seconds = max(entry["seconds"] - before["seconds"], 1e-9)
        entry["tokens_per_s"] = round((entry["tokens"] - before["tokens"]) / seconds, 1)
        self.entries.append(entry)
        if self.write:
            with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        shown = (f"{name.replace('_', ' ')} {value:.4f}" for name, value in entry.items() if name in SHOWN)
        return f"epoch {entry['epoch']:<6} step {entry['step']:<6} {'  '.join(shown)}"

    def draw(self) -> None:
        """Draw losses, dev scores and speed over the epochs."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(12, 3.6), layout="constrained")
        for axes, names in zip(figure.subplots(1, 3), CURVES, strict=True):
            for name in names:
                if points := [(entry["epoch"], entry[name]) for entry in self.entries if name in entry]:
                    label = "train loss" if name == "loss" else name.replace("_", " ")
                    axes.plot(*zip(*points, strict=True), marker=".", label=label)
            axes.set_xlabel("epoch")
            axes.grid(alpha=0.3)
            axes.legend()
        atomic_write(self.folder / "learning_curve.png", lambda file: figure.savefig(file, format="png", dpi=120))
