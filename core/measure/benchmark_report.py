"""Reports of benchmarks: ratios, the frontier, advice, a table and a picture.

A row is a model on a runtime; what was not measured of it is None.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from core.console import quoted
from core.files import write_picture
from core.measure.metrics import readable

NEAR = 0.005  # of accuracy: half a point is not worth waiting for
NO_FILE = "so these texts need no neural model, but there is no file of it to serve"
LABEL_POINTS = 12  # from one label of the picture to the next, at least
COLUMNS = {
    "MB": lambda row: f"{row['size_mb']:.1f}",
    "parameters": lambda row: f"{row['params'] / 1e6:.1f} M",
    "encoder MFLOPs": lambda row: f"{row['encoder_flops'] / 1e6:,.0f}",
    "peak MB": lambda row: f"{row['peak_mb']:.0f}",
    "start, s": lambda row: f"{row['cold_start_s']:.2f}",
    "p50 ms": lambda row: f"{row['p50_ms']:.2f}",
    "p95 ms": lambda row: f"{row['p95_ms']:.2f}",
    "titles/s": lambda row: f"{row['titles_per_s']:,.0f}",
    "p50 ratio": lambda row: f"{row['ratio_p50']:.1f}×",
    "titles/s ratio": lambda row: f"{row['ratio_throughput']:.1f}×",
}


def add_ratios(rows: Sequence[dict[str, Any]], reference: dict[str, Any] | None) -> None:
    """Add `ratio_p50` and `ratio_throughput`, above 1 for what is faster than the reference row."""
    for row in rows:
        if reference is None or row["p50_ms"] is None:
            row["ratio_p50"] = row["ratio_throughput"] = None
        else:
            row["ratio_p50"] = reference["p50_ms"] / row["p50_ms"]
            row["ratio_throughput"] = row["titles_per_s"] / reference["titles_per_s"]


def frontier(rows: Sequence[dict[str, Any]], by: str = "accuracy") -> list[dict[str, Any]]:
    """The timed rows that no faster one equals in a metric (Pareto), the fastest first."""
    best: list[dict[str, Any]] = []
    for row in sorted((row for row in rows if row["p50_ms"]), key=lambda row: (row["p50_ms"], -row[by])):
        if not best or row[by] > best[-1][by]:
            best.append(row)
    return best


def choose(rows: Sequence[dict[str, Any]], by: str = "accuracy") -> dict[str, Any]:
    """The row to deploy: the fastest one whose accuracy, or other metric, is within half a point of the best.

    It is one that has a file to serve, as a baseline has none, unless no row has one.
    """
    timed = _timed(rows)
    served = [row for row in timed if row.get("file")] or timed
    best = _best(served, by)
    return min((row for row in served if _is_near(row, best, by)), key=lambda row: row["p50_ms"])


def _timed(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["p50_ms"]]


def _best(rows: Sequence[dict[str, Any]], by: str) -> dict[str, Any]:
    return max(rows, key=lambda row: row[by])


def _is_near(row: dict[str, Any], best: dict[str, Any], by: str) -> bool:
    return row[by] >= best[by] - NEAR - 1e-9


def advise(rows: Sequence[dict[str, Any]], by: str = "accuracy") -> str:
    """Which model to deploy, and why, for people; what has no file to serve, a baseline, is told of, not advised."""
    timed = _timed(rows)
    served = [row for row in timed if row.get("file")]
    bare = [row for row in timed if not row.get("file")]
    if not served:
        best = _best(bare, by)
        return f"no model here has a file to serve; of those without one {_shown(best, rows, by)} is the best"
    choice, best = choose(rows, by), _best(served, by)
    advice, named = "", "the best of all"
    if better := [row for row in bare if row[by] > best[by]]:
        advice = f"{_shown(_best(better, by), rows, by)} is the best, {NO_FILE}: "
        named = "the best that has a file"
    alone = sum(row["name"] == choice["name"] for row in rows) == 1
    command = f"python api.py --model {quoted(choice['name'] if alone else choice['file'])}"
    advice += f"deploy {label(choice, rows)} on this machine ({command}): "
    advice += f"{choice['p50_ms']:.2f} ms a title, {readable(by)} {choice[by]:.2%}, "
    if choice is best:
        advice += named
    else:
        advice += (
            f"the fastest within half a point of {named.removesuffix(' of all')} ({label(best, rows)}, {best[by]:.2%})"
        )
    for row in bare:
        if row[by] <= best[by] and _is_near(row, best, by):
            advice += f"; {_shown(row, rows, by)} is as good, {NO_FILE}"
    return advice


def _shown(row: dict[str, Any], rows: Sequence[dict[str, Any]], by: str) -> str:
    return f"{label(row, rows)} ({row[by]:.2%})"


def label(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """What a row is called in a sentence: its name, with the runtime where another row has the same name."""
    alone = sum(other["name"] == row["name"] for other in rows) == 1
    return row["name"] if alone else f"{row['name']} ({row['runtime']})"


def as_markdown(report: dict[str, Any]) -> str:
    """The report as a table; columns that no row has are left out."""
    rows, names = report["rows"], [report.get("by", "accuracy"), report.get("best_by", "macro_f1")]
    columns = {readable(name): partial(_share, name) for name in names} | COLUMNS
    lines = [
        f"{report['machine']}, {report['threads']} threads, {report['date']}; {' '.join(report['cpu_flags'])}",
        f"{report['data']}; p50 and p95 of one title, titles/s in batches of 32, ratios to FP32 eager PyTorch",
        "",
    ]
    cells = [[row["name"], row["runtime"], *(_cell(row, show) for show in columns.values())] for row in rows]
    kept = [index for index in range(len(columns) + 2) if any(line[index] != "–" for line in cells)]
    titles = ["model", "runtime", *columns]
    table = (titles, ["---"] * len(titles), *cells)
    lines += ["| " + " | ".join(line[index] for index in kept) + " |" for line in table]
    if report["advice"]:
        lines += ["", report["advice"]]
    return "\n".join(lines) + "\n"


def _share(name: str, row: dict[str, Any]) -> str:
    """A metric as a percentage, with its 95 % interval where one is known."""
    interval = f" ({row[f'{name}_low']:.1%}–{row[f'{name}_high']:.1%})" if row.get(f"{name}_low") is not None else ""
    return f"{row[name]:.2%}{interval}"


def _cell(row: dict[str, Any], show: Callable[[dict[str, Any]], str]) -> str:
    try:
        return show(row)
    except (TypeError, KeyError):  # not measured
        return "–"


def fastest(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each model that was timed once, on the runtime that is fastest with one title, in the order of the names."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["p50_ms"] and (row["name"] not in found or row["p50_ms"] < found[row["name"]]["p50_ms"]):
            found[row["name"]] = row
    return list(found.values())


def draw(
    rows: Sequence[dict[str, Any]],
    path: Path,
    by: str = "accuracy",
    say: Callable[[str], str] = str,
    name_of: Callable[[dict[str, Any]], str] = itemgetter("name"),
) -> None:
    """Draw accuracy, or another metric, against latency as a PNG: each model on its fastest runtime, the frontier.

    Args:
        rows: of the report.
        path: of the picture.
        by: the metric.
        say: what the picture says -> the same in the reader's language.
        name_of: a row -> the name of its model.
    """
    from matplotlib.figure import Figure

    timed = fastest(rows)
    figure = Figure(figsize=(9, 2.5 + 0.35 * len(timed)), dpi=120, layout="constrained")
    axes = figure.subplots()
    x = np.array([row["p50_ms"] for row in timed])
    y, low, high = (100 * np.array([row.get(f"{by}{end}", row[by]) for row in timed]) for end in ("", "_low", "_high"))
    axes.errorbar(
        x, y, (y - low, high - y), fmt="o", color="tab:blue", ecolor="lightgrey", label=say("model, 95 % interval")
    )
    best = frontier(timed, by)
    line = [row["p50_ms"] for row in best], [100 * row[by] for row in best]
    axes.plot(
        *line, drawstyle="steps-post", color="tab:orange", zorder=0, label=say("nothing is faster and as accurate")
    )
    advised = choose(timed, by)
    if advised.get("file"):  # a baseline is not advised
        at, star = (advised["p50_ms"], 100 * advised[by]), say("advised for this machine")
        axes.plot(*at, "*", color="tab:red", markersize=15, zorder=3, label=star)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.margins(x=0.15, y=0.1)
    axes.set_xlabel(say("one title on its fastest runtime, ms (p50, log scale)"))
    axes.set_ylabel(f"{say(readable(by))}, %")
    axes.grid(alpha=0.3, which="both")
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)  # where no point lies
    figure.draw_without_rendering()  # fixes where the points lie
    figure.set_layout_engine("none")
    place_labels(axes, x, y, [name_of(row) for row in timed])
    write_picture(path, figure)


def place_labels(axes: Any, x: np.ndarray, y: np.ndarray, labels: Sequence[str]) -> list[Any]:
    """Write a label beside each point, where it covers neither another label nor a point, with a line to its point."""
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    points = axes.transData.transform(np.column_stack((x, y)))  # pixels
    step = LABEL_POINTS * axes.figure.dpi / 72
    taken = [Bbox.from_bounds(left - step / 2, low - step / 2, step, step) for left, low in points]
    texts: list[Any] = [None] * len(labels)
    look = {
        "bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
        "fontsize": 8,
        "va": "center",
    }
    look |= {"arrowprops": {"arrowstyle": "-", "color": "grey", "linewidth": 0.5}, "textcoords": "axes fraction"}
    most = int(axes.bbox.height / step)
    heights = sorted(range(-most, most), key=lambda up: abs(up - 0.9))  # above the point first, off the frontier
    for index in points[:, 1].argsort(kind="stable")[::-1]:
        text = texts[index] = axes.annotate(labels[index], (x[index], y[index]), (0, 0), **look)
        size = Text.get_window_extent(text)  # of an annotation without its line
        sides = (1, -1) if points[index, 0] < axes.bbox.x0 + axes.bbox.width / 2 else (-1, 1)
        for up, side in product(heights, sides):
            left, middle = points[index] + (side * step, up * step)
            own = Bbox.from_bounds(left - size.width * (side < 0), middle - size.height / 2, size.width, size.height)
            inside = axes.bbox.x0 <= own.x0 and own.x1 <= axes.bbox.x1 and axes.bbox.y0 <= own.y0
            if inside and own.y1 <= axes.bbox.y1 and not any(own.overlaps(other) for other in taken):
                break
        text.set_position(axes.transAxes.inverted().transform((left, middle)))
        text.set_horizontalalignment("left" if side > 0 else "right")
        taken.append(own)
    return texts
