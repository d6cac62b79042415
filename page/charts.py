"""The pictures of the page: one fixed colour for each class, readable on a light and on a dark page."""

from collections.abc import Callable, Sequence
from typing import Any

import altair as alt
import pandas  # noqa: F401  altair trips over one that Streamlit is still importing in another thread
import streamlit as st

PALETTE = (
    "#4e79a7",
    "#f28e2b",
    "#59a14f",
    "#e15759",
    "#b07aa1",
    "#17a2a2",
    "#c9a227",
    "#d4709b",
    "#9c755f",
    "#7f8c9b",
)
BLUE, GREY = PALETTE[0], PALETTE[-1]
SHOWN_CLASSES = 30  # of many, in a picture or a line
CELLS = 40  # half characters in a line of tiles
ON_CELLS = {"labelFlush": False, "labelBound": False, "ticks": False, "domain": False}
FULL_DROP = 0.2  # of the log-odds that makes a full shade, where no piece reaches more


def colours(labels: Sequence[str]) -> alt.Scale:
    """The colours of classes, by their place in alphabetical order."""
    names = sorted(set(labels))
    return alt.Scale(domain=names, range=[PALETTE[index % len(PALETTE)] for index in range(len(names))])


def ink() -> str:
    """The colour of text on this visitor's page."""
    return "#fafafa" if st.context.theme.type == "dark" else "#31333f"


def bars(
    values: dict[str, float], labels: Sequence[str], show: Callable[[float], str], full: float | None = None
) -> alt.LayerChart:
    """A horizontal bar for each class in the order given.

    Args:
        values: {class: value}.
        labels: all classes, which the colours hang on.
        show: the words for a value.
        full: the value of a bar over the whole width; None: the largest one's.
    """
    rows = [{"class": name, "value": value, "shown": show(value)} for name, value in values.items()]
    longest = max((len(row["shown"]) for row in rows), default=0)
    end = (1 + 0.03 * longest) * (full or max(values.values(), default=0) or 1)  # room for the words behind the bar
    chart = alt.Chart(alt.Data(values=rows), height=max(28 * len(rows), 60)).encode(
        x=alt.X("value:Q", axis=None, scale=alt.Scale(domain=[0, end])),
        y=alt.Y("class:N", sort=None, title=None, axis=alt.Axis(labelLimit=120, ticks=False, domain=False)),
        tooltip=[alt.Tooltip("class:N", title="类别"), alt.Tooltip("shown:N", title="值")],
    )
    bar = chart.mark_bar(cornerRadiusEnd=2).encode(color=alt.Color("class:N", scale=colours(labels), legend=None))
    return bar + chart.mark_text(align="left", dx=4, color=ink()).encode(text="shown:N")


def histogram(counts: Sequence[int]) -> alt.Chart:
    """How many titles have a confidence in each of equal parts of 0 to 1."""
    part = 1 / len(counts)
    rows = [{"from": index * part, "to": (index + 1) * part, "count": count} for index, count in enumerate(counts)]
    return (
        alt.Chart(alt.Data(values=rows), height=200)
        .mark_bar(color=BLUE)
        .encode(
            x=alt.X("from:Q", bin="binned", title="置信度", axis=alt.Axis(format="%", tickCount=5)),
            x2="to:Q",
            y=alt.Y("count:Q", title="条数", axis=alt.Axis(tickCount=4, format="d")),
            tooltip=[alt.Tooltip("from:Q", format=".0%", title="从"), alt.Tooltip("count:Q", title="条数")],
        )
    )


def tiles(pieces: Sequence[dict[str, Any]], colour: str) -> alt.LayerChart:
    """The pieces of a text, darker where leaving one out costs the class more; grey where it gains.

    Args:
        pieces: "text", "drop" of the log-odds, probability "without" it; one or more.
        colour: of the class.
    """
    rows, row, column = [], 0, 0
    for piece in pieces:
        width = max(2, len(piece["text"]))
        if column and column + width > CELLS:
            row, column = row + 1, 0
        rows.append({**piece, "row": row, "from": column + 0.06, "to": column + width - 0.06})
        rows[-1] |= {"middle": column + width / 2, "bottom": row + 0.9, "centre": row + 0.5}
        column += width
    strongest = max(FULL_DROP, *(abs(piece["drop"]) for piece in pieces))
    flat = {"axis": None, "title": None}
    chart = alt.Chart(alt.Data(values=rows), height=40 * (row + 1) + 10).encode(
        tooltip=[
            alt.Tooltip("text:N", title="词"),
            alt.Tooltip("without:Q", format=".1%", title="去掉后的概率"),
            alt.Tooltip("drop:Q", format="+.2f", title="对数几率下降"),
        ],
    )
    across = alt.Scale(domain=[0, max(CELLS, *(each["to"] for each in rows))], nice=False)
    down = alt.Scale(domain=[row + 1, 0], nice=False)
    rect = chart.mark_rect(cornerRadius=3).encode(
        x=alt.X("from:Q", scale=across, **flat),
        x2="to:Q",
        y=alt.Y("row:Q", scale=down, **flat),
        y2="bottom:Q",
        color=alt.condition("datum.drop >= 0", alt.value(colour), alt.value(GREY)),
        opacity=alt.Opacity("shade:Q", scale=alt.Scale(domain=[0, strongest], range=[0.04, 0.7]), legend=None),
    )
    rect = rect.transform_calculate(shade="abs(datum.drop)")
    words = chart.mark_text(fontSize=15, color=ink(), baseline="middle", dy=-2)
    return rect + words.encode(
        text="text:N", x=alt.X("middle:Q", scale=across, **flat), y=alt.Y("centre:Q", scale=down, **flat)
    )


def matrix(
    cells: Sequence[dict[str, Any]], rows: Sequence[str], columns: Sequence[str], row_title: str, column_title: str
) -> alt.LayerChart:
    """A table of {"row", "column", "share" 0 to 1, "shown"}, darker where the share is larger."""
    angle = 0 if max(map(len, columns)) <= 4 or len(columns) <= 3 else -45
    chart = alt.Chart(alt.Data(values=list(cells)), height=30 * len(rows) + 60).encode(
        x=alt.X(
            "column:N",
            sort=list(columns),
            title=column_title,
            axis=alt.Axis(labelAngle=angle, orient="top", **ON_CELLS),
        ),
        y=alt.Y("row:N", sort=list(rows), title=row_title, axis=alt.Axis(**ON_CELLS)),
        tooltip=[
            alt.Tooltip("row:N", title=row_title or "行"),
            alt.Tooltip("column:N", title=column_title or "列"),
            alt.Tooltip("shown:N", title="值"),
        ],
    )
    shade = alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.03, 0.75]), legend=None)
    rect = chart.mark_rect(color=BLUE).encode(opacity=shade)
    return rect + chart.mark_text(fontSize=12, color=ink()).encode(text="shown:N")


def frontier_chart(rows: Sequence[dict[str, Any]], best: Sequence[dict[str, Any]]) -> alt.LayerChart:
    """Accuracy against the median latency of one title; the models of the frontier are joined and named."""
    points = [
        {"name": row["name"], "runtime": row["runtime"], "p50_ms": row["p50_ms"], "accuracy": row["accuracy"]}
        | {"kind": "最优" if row in best else "其余", "label": row["name"] if row in best else ""}
        for row in sorted(rows, key=lambda row: row in best)  # the best lie on top
    ]
    slowest, fastest = (pick(row["p50_ms"] for row in rows) for pick in (max, min))
    chart = alt.Chart(alt.Data(values=points), height=340).encode(
        x=alt.X(
            "p50_ms:Q",
            scale=alt.Scale(type="log", domain=[fastest / 1.6, slowest * 2.5], nice=False),
            axis=alt.Axis(format="~g", title="一条标题的耗时（毫秒，中位数，对数轴）", tickCount=6),
        ),
        y=alt.Y("accuracy:Q", scale=alt.Scale(zero=False, padding=16), axis=alt.Axis(format=".1%", title="准确率")),
        tooltip=[
            alt.Tooltip("name:N", title="模型"),
            alt.Tooltip("runtime:N", title="运行时"),
            alt.Tooltip("accuracy:Q", format=".2%", title="准确率"),
            alt.Tooltip("p50_ms:Q", format=".2f", title="毫秒"),
        ],
    )
    line = chart.mark_line(color=PALETTE[1], strokeDash=[4, 3]).transform_filter("datum.label != ''")
    kind = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=["最优", "其余"], range=[PALETTE[1], GREY]),
        legend=alt.Legend(title=None, orient="top"),
    )
    point = chart.mark_circle(size=90, opacity=1).encode(color=kind)
    return line + point + chart.mark_text(align="left", dx=6, dy=12, color=ink()).encode(text="label:N")
