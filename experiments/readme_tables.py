"""The kinds of table in the READMEs, each from what a command of the project wrote: Markdown with that command's words.

Where the command has a table of its own, it is that one.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from core.measure import benchmark_report
from experiments import ablation_report, distillation_report, rows, training

BENCHMARK_COLUMNS = ("model", "runtime", "accuracy", "macro-F1", "MB", "p50 ms", "p50 ratio", "titles/s")
BENCHMARK_COLUMNS += ("titles/s ratio",)


class Kind(NamedTuple):
    """A kind of table: the command that writes its file, the table in Markdown, and the picture where there is one."""

    command: str
    table: Callable[[Any], str]
    draw: Callable[[Any, Path], None] | None = None


def markdown(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (headers, ["---"] * len(headers), *lines))


def teacher_once(report: dict[str, Any]) -> str:
    """Distillation with the teacher in every step, and judging each title once."""
    lines = [
        [row["name"], f"{100 * row['seconds_a_1000_titles'] / 60:,.0f}", f"{row['ratio']:.1f}×"]
        for row in report["rows"]
    ]
    table = markdown(("way", f"{report['epochs']} epochs of 100,000 titles, minutes", "ratio"), lines)
    return (
        f"{table}\n\n- a teacher of the shape of BERT-base; extrapolated from one pass over {report['titles']:,} titles"
    )


def benchmark(report: dict[str, Any]) -> str:
    """The columns of the comparison of all models that a reader needs first."""
    headers, _, *lines = [
        line.strip("| ").split(" | ")
        for line in benchmark_report.as_markdown(report).splitlines()
        if line.startswith("|")
    ]
    kept = [headers.index(name) for name in BENCHMARK_COLUMNS if name in headers]
    return markdown([headers[index] for index in kept], [[line[index] for index in kept] for line in lines])


def ablation(report: dict[str, Any]) -> str:
    """The recipes on the test titles; on the dev titles, where none has come to the test."""
    tested = [row for row in report["rows"] if row["split"] == "test"]
    return ablation_report.as_markdown({**report, "rows": tested or report["rows"]})


def serving(report: dict[str, Any]) -> str:
    """What the server gives and bears, of the parts that were measured."""
    names = {"predictor": "none, the predictor in batches", "server": "`api.py`"}
    names |= {"nothing": "`api.py` around a model that does nothing", "flask": "minimal Flask server, FP32"}
    lines = []
    for part, name in names.items():
        for ask, found in report.get(part, {}).items():
            times = [f"{found[name]:,.1f}" if name in found else "–" for name in ("p50_ms", "p95_ms", "p99_ms")]
            lines.append([name, re.sub(r"\D+", "", ask), f"{found['requests_per_s']:,.0f}", *times])
    text = f"**{report['model']}**\n\n"
    if lines:
        text += markdown(("server", "clients", "answers/s", "p50, ms", "p95, ms", "p99, ms"), lines) + "\n\n"
    if "overload" in report:
        before, during = (f"{report['overload'][name]:.0f}" for name in ("before_mb", "during_mb"))
        crowd = report["overload"]["crowd"]
        text += (
            f"- {crowd['clients']} clients for {crowd['seconds']:.0f} s: {_answers(crowd)}; "
            f"memory {before} MB before, {during} MB during\n"
        )
    if "soak" in report:
        soak = report["soak"]
        text += f"- {soak['seconds'] / 60:.0f} minutes of load: {_answers(soak)}; memory {soak['growth_mb']:+.1f} MB\n"
    if "restart" in report:
        text += f"- ready {report['restart']['seconds_to_ready']:.1f} s after kill -9 and a new start\n"
    if "equal" in report:
        same, titles = (f"{report['equal'][name]:,}" for name in ("same_class", "titles"))
        text += f"- the class that `predict_fun.py` gives: {same} of {titles} titles\n"
    return text


def _answers(found: dict[str, Any]) -> str:
    statuses = " · ".join(f"{status} × {count:,}" for status, count in sorted(found["statuses"].items()))
    return f"{statuses}; without an answer: {sum(found['errors'].values()):,}"


KINDS = {
    "speed": Kind("python -m experiments.training", training.speed_table),
    "benchmark": Kind(
        "python benchmark.py", benchmark, lambda report, path: benchmark_report.draw(report["rows"], path)
    ),
    "rows": Kind("python -m experiments.rows", rows.as_markdown, rows.draw),
    "students": Kind("python -m experiments.students", distillation_report.as_markdown, distillation_report.draw),
    "teacher_once": Kind("python -m experiments.teacher_once", teacher_once),
    "ablation": Kind("python -m experiments.ablation", ablation, ablation_report.draw),
    "serving": Kind("python -m experiments.serving", serving),
}
