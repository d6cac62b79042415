"""Pictures: how they name classes (in Chinese where the machine has a font for it), and the one of a data set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_DRAWN_NAMES = 60  # the names of more classes would run into each other

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
    """Draw the classes and the lengths of labelled titles as a PNG.

    Args:
        labels: class names in the order of their ids.
        counts: (num_labels,) int for each split: the rows of each class.
        lengths: (rows,) int for each split: the tokens of each title.
        max_length: tokens that training keeps of a title.
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
        panels = figure.subplot_mosaic([list(counts), ["tokens"] * len(counts)], height_ratios=[height, 3])
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
        atomic_write(path, lambda file: figure.savefig(file, format="png", dpi=120))


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
