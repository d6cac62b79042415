"""Recipes beside plain fine-tuning: the figures, the table and the picture that ablation.py gives."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from core.files import write_picture
from core.measure.stats import interval, macro_f1, paired_bootstrap, paired_bootstrap_f1
from core.training.recipes import PLAIN
from experiments.readme_words import ENGLISH, Words, each_seed, markdown, percent
from experiments.trials import as_array

FINALISTS = 3  # recipes of a data set that are better than the best plain one
KEY = ("data", "split", "rows", "recipe")  # what tells the rows of the table apart


def summarise(
    cells: dict[str, list[dict[str, Any]]], split: str, true: Sequence[int], num_labels: int, plain: str, against: str
) -> list[dict[str, Any]]:
    """The rows of the table for one data set and size.

    Args:
        cells: for each recipe its trainings, one for each seed.
        split: `dev` or `test`.
        true: the classes of its titles.
        num_labels: number of classes.
        plain: the recipe whose time is 1.
        against: the recipe that all are compared with.
    """
    labels, rows = np.array(true), []
    seconds = {recipe: statistics.mean(cell["seconds"] for cell in each) for recipe, each in cells.items()}
    predicted = {recipe: as_array(cell[split] for cell in each) for recipe, each in cells.items()}
    right = {recipe: (each == labels).mean(axis=0) for recipe, each in predicted.items()}
    for recipe, each in cells.items():
        scores = [macro_f1(labels, one, num_labels) for one in predicted[recipe]]
        row = {name: each[0][name] for name in ("data", "rows", "recipe", "git_commit")}
        row |= {"split": split, "seeds": len(each), "accuracy": float(right[recipe].mean())}
        row |= {"macro_f1": statistics.mean(scores), "macro_f1_each": scores}
        row |= {"seconds": seconds[recipe], "time_ratio": seconds[recipe] / max(seconds[plain], 0.1)}
        row |= {"plain": against, "against": None}
        if recipe != against:
            f1 = paired_bootstrap_f1(labels, predicted[recipe], predicted[against], num_labels)
            row["against"] = {
                "accuracy": asdict(paired_bootstrap(right[recipe], right[against])),
                "macro_f1": asdict(f1),
            }
        rows.append(row)
    return rows


def choose(rows: Sequence[dict[str, Any]]) -> tuple[str, list[str]]:
    """The finalists, by the macro-F1 of a table of trials.

    Returns:
        The best plain fine-tuning; and all that come: the usual plain one, the best plain one, and the best recipes
        that are better.
    """
    ranked = sorted(rows, key=lambda row: -row["macro_f1"])
    plain = next(row for row in ranked if row["recipe"].partition("@")[0] == PLAIN)
    better = [row["recipe"] for row in ranked[: ranked.index(plain)]]
    return plain["recipe"], list(dict.fromkeys((PLAIN, plain["recipe"], *better[:FINALISTS])))


def merge(rows: list[dict[str, Any]], fresh: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with fresh ones in the place of those about the same; a recipe that is gone keeps its figures."""
    return list({tuple(row[name] for name in KEY): row for row in rows + fresh}.values())


def grouped(rows: list[dict[str, Any]]) -> dict[tuple[str, str, int], list[dict[str, Any]]]:
    """The rows of each table, best first: (data set, split, training rows) -> rows."""
    tables: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: -row["macro_f1"]):
        tables.setdefault((row["data"], row["split"], row["rows"]), []).append(row)
    return dict(sorted(tables.items()))


def table(report: dict[str, Any], words: Words) -> str:
    """The report as tables."""

    def score(row: dict[str, Any], metric: str, *more: str) -> list[str]:
        difference = interval(row["against"][metric], words["an interval"]) if row["against"] else "–"
        return [percent(row[metric]), *more, difference]

    tables = []
    for (data, split, count), rows in grouped(report["rows"]).items():
        lines = []
        for row in rows:
            cells = score(row, "macro_f1", each_seed(row["macro_f1_each"])) + score(row, "accuracy")
            lines.append([row["recipe"], *cells, f"{row['time_ratio']:.2f}×", (row["git_commit"] or "–")[:7]])
        title = words["title of ablation"].format(data, count, split, rows[0]["plain"])
        tables.append(f"{title}\n\n{markdown(words['table ablation'], lines)}")
    return "\n\n".join(tables)


def draw(report: dict[str, Any], path: Path, words: Words = ENGLISH) -> None:
    """The difference in macro-F1 that each recipe makes, with its 95 % interval, as a PNG."""
    from matplotlib.figure import Figure

    tables = grouped(report["rows"])
    heights = [0.6 + 0.2 * len(rows) for rows in tables.values()]
    figure = Figure(figsize=(8, sum(heights)), layout="constrained")
    panels = figure.subplots(len(tables), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axes, ((data, split, count), rows) in zip(panels, tables.items(), strict=True):
        found = [(row["recipe"], row["against"]["macro_f1"]) for row in rows[::-1] if row["against"]]
        for recipe, each in found:
            low, middle, high = (100 * each[name] for name in ("low", "difference", "high"))
            axes.plot([low, high], [recipe, recipe], color="tab:blue")
            axes.plot(middle, recipe, "o", color="tab:blue")
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_ylim(-0.6, len(found) - 0.4)
        title = words["{}, {:,} training rows, {}: against {}"].format(data, count, words[split], rows[0]["plain"])
        axes.set_title(title, fontsize=10)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3, axis="x")
    figure.supxlabel(words["difference in macro-F1, points (95 % interval)"], fontsize=10)
    write_picture(path, figure)
