"""Log of a training run: lines for people, `log.jsonl` for programs, `learning_curve.png`."""

import json
from pathlib import Path
from typing import Any

from core.files import write_picture
from core.training.resume import Progress

SHOWN = 3  # metrics in a line and in the picture; log.jsonl has all


class TrainingLog:
    """The evaluations of a run in order.

    Args:
        folder: where `log.jsonl` and `learning_curve.png` go.
        entries: what a resumed run had logged before; grows.
        best_by: the metric that the run is selected by, which is shown first.
        write: whether this process writes the files.
    """

    def __init__(self, folder: Path, entries: list[dict[str, Any]], best_by: str, write: bool) -> None:
        self.folder = folder
        self.entries = entries
        self.best_by = best_by
        self.write = write
        if not write:
            return
        folder.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(entry) + "\n" for entry in entries)
        (folder / "log.jsonl").write_text(text, encoding="utf-8")

    def add(self, now: Progress, epoch: float, rate: float, metrics: dict[str, Any]) -> str:
        """Append an evaluation, with the mean losses since the one before; returns it as a line for people."""
        scores = {f"dev_{name}": value for name, value in metrics.items() if isinstance(value, float)}
        entry = {"step": now.step, "epoch": round(epoch, 3), "learning_rate": rate, **now.mean_losses(), **scores}
        entry |= {"tokens": now.tokens, "seconds": round(now.seconds, 1)}
        before = self.entries[-1] if self.entries else {"tokens": 0, "seconds": 0.0}
        seconds = max(entry["seconds"] - before["seconds"], 1e-9)
        entry["tokens_per_s"] = round((entry["tokens"] - before["tokens"]) / seconds, 1)
        self.entries.append(entry)
        if self.write:
            with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        shown = "  ".join(f"{name.replace('_', ' ')} {entry[name]:.4f}" for name in ("loss", *self._scores()))
        return f"epoch {entry['epoch']:<6} step {entry['step']:<6} {shown}"

    def _scores(self) -> list[str]:
        """The names of the metrics to show, the one that the run is selected by first."""
        names = (name for entry in self.entries for name in entry if name.startswith("dev_"))
        return list(dict.fromkeys((f"dev_{self.best_by}", *names)))[:SHOWN]

    def draw(self, saved: int) -> None:
        """Draw losses and dev metrics over the epochs, and a line at the step whose weights are saved."""
        if not self.write:
            return
        from matplotlib.figure import Figure

        scores = [name for name in self._scores() if name != "dev_loss"]
        at = next((entry["epoch"] for entry in self.entries if entry["step"] == saved), None)
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        for axes, names in zip(figure.subplots(1, 2), (("loss", "dev_loss"), scores), strict=True):
            for name in names:
                if points := [(entry["epoch"], entry[name]) for entry in self.entries if name in entry]:
                    label = "train loss" if name == "loss" else name.replace("_", " ")
                    axes.plot(*zip(*points, strict=True), marker=".", label=label)
            if at is not None:
                axes.axvline(at, color="tab:gray", linestyle="--", linewidth=1, label=f"saved (step {saved:,})")
            axes.set_xlabel("epoch")
            axes.grid(alpha=0.3)
            axes.legend()
        write_picture(self.folder / "learning_curve.png", figure)
