"""Pictures of data, confusions and confidence; classes in Chinese where the machine has a font for it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.files import atomic_write, write_picture
from core.measure.calibration import calibration_error, coverage_of, in_bins, without_temperature
from core.tables.write import write_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_DRAWN_NAMES = 60  # the names of more classes would run into each other
MAX_CONFUSED = 40  # classes in the picture of a confusion matrix

CJK_FONTS = (
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
)


def cjk_font() -> str | None:
    """The name of an installed font that has Chinese characters."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in CJK_FONTS if name in installed), None)


def class_axis(labels: Sequence[str]) -> tuple[list[str], str, dict[str, Any]]:
    """How a picture names classes: by id where their names need a Chinese font and none is installed.

    Args:
        labels: class names in the order of their ids.

    Returns:
        The tick labels; what to add to the name of the axis; the settings to draw under (`matplotlib.rc_context`).
    """
    font = cjk_font()
    settings = {"font.family": [font, "DejaVu Sans"] if font else ["DejaVu Sans"], "text.parse_math": False}
    if font is None and not "".join(labels).isascii():
        return [str(index) for index in range(len(labels))], " (ids, see report.txt)", settings
    return list(labels), "", settings


def draw_data_set(
    labels: Sequence[str],
    counts: Mapping[str, np.ndarray],
    lengths: Mapping[str, np.ndarray],
    max_length: int,
    path: Path,
) -> None:
    """Draw the classes and the lengths of labelled texts as a PNG.

    Args:
        labels: class names in the order of their ids.
        counts: (num_labels,) int for each split: the rows of each class.
        lengths: (rows,) int for each split: the tokens of each text.
        max_length: tokens that training keeps of a text.
        path: the file to write.

    Raises:
        UserError: the file could not be written.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    names, axis, settings = class_axis(labels)
    height = 1 + 0.26 * min(len(labels), MAX_DRAWN_NAMES)  # inches
    with rc_context(settings):
        figure = Figure(figsize=(10, height + 3.5), layout="constrained")
        grid = [list(counts), ["tokens"] * len(counts)]
        panels: dict[str, Axes] = figure.subplot_mosaic(grid, height_ratios=[height, 3])
        for split, rows in counts.items():
            axes = panels[split]
            bars = axes.barh(range(len(labels)), rows)
            axes.set_title(f"{split}: {rows.sum()} rows")
            axes.set_ylim(len(labels) - 0.4, -0.6)
            axes.margins(x=0.15)
            if len(labels) <= MAX_DRAWN_NAMES:
                axes.bar_label(bars, padding=2, fontsize=8)
                axes.set_yticks(range(len(labels)), names if split == "train" else [""] * len(labels))
            else:
                axis = " (ids, see report.txt)"
        panels["train"].set_ylabel("class" + axis)
        _draw_lengths(panels["tokens"], lengths, max_length)
        write_picture(path, figure)


def _draw_lengths(axes: "Axes", lengths: Mapping[str, np.ndarray], max_length: int) -> None:
    usual = max(int(np.percentile(tokens, 99)) for tokens in lengths.values())
    end = min(max(usual, max_length), 2 * max_length) + 20
    for split, tokens in lengths.items():
        share = np.bincount(tokens.clip(max=end)) / len(tokens)
        axes.stairs(share, np.arange(len(share) + 1) - 0.5, label=split)
    axes.axvline(max_length + 0.5, color="black", linestyle="--", label=f"--max-length {max_length}")
    longer = any(tokens.max() > end for tokens in lengths.values())
    axes.set_xlabel("tokens of a title" + (f" (the last step: {end} or more)" if longer else ""))
    axes.set_ylabel("share of the file")
    axes.legend()


def draw_confidence(shares: np.ndarray, right: np.ndarray, temperature: float | None, path: Path) -> None:
    """Draw as a PNG what a model's confidence is worth: coverage against accuracy, and confidence against accuracy.

    Args:
        shares, right, temperature: see `judge_confidence`.
        path: the file to write.
    """
    from matplotlib.figure import Figure

    confidence = shares.max(axis=1)
    kinds = {"without temperature": without_temperature(shares, temperature)} if temperature else {}
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    coverage, reliability = figure.subplots(1, 2)
    order = np.argsort(-confidence, kind="stable")
    share = np.arange(1, len(order) + 1) / len(order)
    coverage.plot(100 * share, 100 * np.cumsum(right[order]) / np.arange(1, len(order) + 1), color="tab:blue")
    for row in coverage_of(confidence, right):
        if row["accuracy"] is not None:
            at = 100 * row["coverage"], 100 * row["accuracy"]
            coverage.plot(*at, "o", color="tab:blue")
            coverage.annotate(f"{row['min_confidence']:g}", at, textcoords="offset points", xytext=(4, 4), fontsize=8)
    coverage.set_xlabel("answered, % of the texts (the dots: min confidence)")
    coverage.set_ylabel("accuracy of the answers, %")
    reliability.plot([0, 100], [0, 100], color="black", linewidth=0.8, label="as it should be")
    for label, values in {**kinds, "as it answers": confidence}.items():
        sure, accuracy = zip(*in_bins(values, right), strict=True)
        label += f", ECE {100 * calibration_error(values, right):.1f} points"
        reliability.plot(100 * np.array(sure), 100 * np.array(accuracy), "o-", label=label)
    reliability.set_xlabel("confidence, %")
    reliability.set_ylabel("accuracy, %")
    reliability.legend()
    for axes in (coverage, reliability):
        axes.grid(alpha=0.3)
    write_picture(path, figure)


def draw_confusion_matrix(true: Sequence[int], predicted: Sequence[int], labels: Sequence[str], path: Path) -> None:
    """Draw the confusion matrix as a PNG, and write all of it beside that as CSV.

    A row for each true class, shares of it by colour, counts in the cells; of many classes the most confused ones.
    Where class names need a Chinese font and none is installed, the axes show ids; report.txt has their names.

    Args:
        true: class ids.
        predicted: class ids; -1 where there is no answer, which is left out.
        labels: class names in the order of their ids.
        path: the file to write.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    counts = np.zeros((len(labels), len(labels)), dtype=int)
    for one, other in zip(true, predicted, strict=True):
        if other >= 0:
            counts[one, other] += 1
    lines = [["true \\ predicted", *labels], *([name, *row] for name, row in zip(labels, counts.tolist(), strict=True))]
    atomic_write(path.with_suffix(".csv"), lambda file: write_rows(file, lines))
    names, axis, settings = class_axis(labels)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    if len(labels) > MAX_CONFUSED:
        wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
        kept = np.sort(np.argsort(-wrong, kind="stable")[:MAX_CONFUSED])
        counts, shares, names = counts[np.ix_(kept, kept)], shares[np.ix_(kept, kept)], [names[each] for each in kept]
        axis += f", the {MAX_CONFUSED} of {len(labels)} classes that are confused most"
    size = 2.5 + 0.55 * len(names)
    with rc_context(settings):
        figure = Figure(figsize=(size, size * 0.92), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        turned = 90 if max(map(len, names)) > 4 else 0
        axes.set_xticks(range(len(names)), names, rotation=turned)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("predicted" + axis)
        axes.set_ylabel("true" + axis)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
        figure.colorbar(image, shrink=0.8, label="share of the true class")
        write_picture(path, figure)
