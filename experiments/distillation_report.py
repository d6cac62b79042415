"""Students beside their teacher: the figures, the table and the picture that experiments/students.py gives."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from core.files import atomic_write
from core.measure.metrics import classification_metrics
from core.measure.stats import paired_bootstrap


def summarise(name: str, true: list[int], predicted: list[list[int]], labels: Sequence[str]) -> dict[str, Any]:
    """A row of the table from its predictions, one list for each seed."""
    found = [classification_metrics(true, one, labels) for one in predicted]
    row: dict[str, Any] = {"name": name}
    for metric in ("accuracy", "macro_f1"):
        row[metric] = statistics.mean(metrics[metric] for metrics in found)
        row[f"{metric}_each"] = [metrics[metric] for metrics in found]
    return {**row, "predicted": [" ".join(map(str, one)) for one in predicted]}


def compare(rows: list[dict[str, Any]], true: list[int], pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """How sure the differences of some pairs of rows are, by paired bootstrap over the titles.

    Args:
        rows: all rows, the teacher's among them.
        true: the classes of the titles.
        pairs: names of rows; the first of the first pair is also held against the teacher by its share of the accuracy.
    """
    accuracy = {row["name"]: row["accuracy"] for row in rows}
    correct = {}
    for row in rows:  # the mean over the seeds, for each title
        predicted = np.array([one.split() for one in row["predicted"]], dtype=int)
        correct[row["name"]] = (predicted == true).mean(axis=0)
    found = [
        {"of": one, "against": other, **asdict(paired_bootstrap(correct[one], correct[other]))} for one, other in pairs
    ]
    return {"comparisons": found, "ratio_to_teacher": accuracy[pairs[0][0]] / accuracy["teacher"]}


def as_markdown(report: dict[str, Any]) -> str:
    """The report as a table, and how sure its differences are."""
    lines = [f"{report['machine']}, {report['threads']} threads, {report['date']}; {report['updates']} updates", ""]
    lines += ["| model | test accuracy | each seed | macro-F1 | parameters | MB | one title, ms (p50) | training, s |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for row in report["rows"]:
        each = " · ".join(f"{score:.2%}" for score in row["accuracy_each"]) if len(row["accuracy_each"]) > 1 else "–"
        sizes = "– | – | –"
        if "params" in row:
            sizes = f"{row['params'] / 1e6:.1f} M | {row['size_mb']:.1f} | {row['p50_ms']:.2f}"
        seconds = f"{row['seconds']:.0f}" if "seconds" in row else "–"
        lines.append(
            f"| {row['name']} | {row['accuracy']:.2%} | {each} | {row['macro_f1']:.2%} | {sizes} | {seconds} |"
        )
    lines.append("")
    for found in report["comparisons"]:
        interval = f"95 % interval {100 * found['low']:+.1f} to {100 * found['high']:+.1f}, p {found['p']:.4f}"
        lines.append(
            f"- {found['of']} against {found['against']}: {100 * found['difference']:+.1f} points ({interval})"
        )
    best = report["comparisons"][0]["of"]
    lines.append(f"- {best} reaches {report['ratio_to_teacher']:.1%} of the teacher's accuracy")
    return "\n".join(lines) + "\n"


def draw(report: dict[str, Any], path: Path) -> None:
    """Accuracy (a dot for each seed, a line at the linear model) and latency of all models but chance as a PNG."""
    from matplotlib.figure import Figure

    rows = [row for row in report["rows"][::-1] if row["name"] != "majority"]
    names = [row["name"] for row in rows]
    figure = Figure(figsize=(10, 0.8 + 0.4 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for name, row in zip(names, rows, strict=True):
        scores, mean = [100 * score for score in row["accuracy_each"]], 100 * row["accuracy"]
        left.plot(scores, [name] * len(scores), "k.", markersize=4)
        left.plot(mean, name, "o", color="tab:blue", alpha=0.5, markersize=11)
        left.annotate(f"{mean:.1f}", (mean, name), (0, 8), textcoords="offset points", ha="center", fontsize=8)
        if name == "linear":
            left.axvline(mean, color="gray", linestyle=":", linewidth=1)
    left.margins(x=0.1, y=0.12)
    left.set_xlabel("test accuracy, % (small dots: each seed)")
    bars = right.barh(names, [row.get("p50_ms", 0) for row in rows], color="tab:orange", alpha=0.6)
    right.bar_label(bars, [f"{row['p50_ms']:.1f}" if "p50_ms" in row else "" for row in rows], padding=3, fontsize=8)
    right.margins(x=0.15)
    right.set_xlabel("one title on the CPU, ms")
    atomic_write(path, lambda file: figure.savefig(file, format="png", dpi=120))
