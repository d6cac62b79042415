"""方面情感: what a review says of each aspect, or how many reviews stand together."""

import io
from typing import Any

import altair as alt
import streamlit as st

from core.tables.write import write_format
from page.charts import GREY, ON_CELLS, PALETTE, ink
from page.client import ASPECTS, plain
from page.served import ASPECTS as TASK
from page.served import ask_many, choose_model, marked
from page.titles import MAX_PASTED, short

EXAMPLE = (
    "周末去的，等位等了快一个小时，服务员倒是一直给我们添水。菜量很大，水煮鱼又麻又鲜，两个人吃不完。"
    "停车要绕到后面的巷子里，不太方便。人均八十，值了。"
)
SHOWN = 60  # reviews in the strip; the file has all
ABSENT = ("未提及", "未提到", "没提到", "没有提到", "不涉及", "not mentioned", "none", "absent")
USUAL = {PALETTE[2]: ("正面", "好评", "积极", "positive"), PALETTE[3]: ("负面", "差评", "消极", "negative")}
USUAL |= {PALETTE[6]: ("中性", "中立", "neutral"), GREY: ABSENT}


def colours(states: list[str]) -> alt.Scale:
    """The colours of the states of a model: those of usual names as people expect them."""
    usual = {name: colour for colour, names in USUAL.items() for name in names}
    others = iter([colour for colour in PALETTE if colour not in USUAL] * len(states))
    return alt.Scale(domain=states, range=[usual.get(state.casefold()) or next(others) for state in states])


def strip(cells: list[dict[str, Any]], states: list[str], height: int) -> alt.Chart:
    """Aspects from left to right and reviews downwards, each cell in the colour of its state."""
    chart = alt.Chart(alt.Data(values=cells), height=height).encode(
        x=alt.X(
            "aspect:N",
            sort=None,
            title=None,
            axis=alt.Axis(orient="top", labelAngle=-50, labelLimit=90, labelOverlap=False, **ON_CELLS),
        ),
        y=alt.Y("row:O", sort=None, title="评论", axis=alt.Axis(**ON_CELLS)),
        color=alt.Color("state:N", scale=colours(states), legend=alt.Legend(title=None, orient="bottom")),
        opacity=alt.Opacity("shade:Q", scale=alt.Scale(domain=[0, 1], range=[0.05, 1]), legend=None),
        tooltip=[
            alt.Tooltip("row:O", title="评论"),
            alt.Tooltip("aspect:N", title="方面"),
            alt.Tooltip("state:N", title="判断"),
            alt.Tooltip("confidence:Q", format=".1%", title="置信度"),
        ],
    )
    return chart.mark_rect(stroke=None)


def bars(entries: list[dict[str, Any]], states: list[str]) -> alt.LayerChart:
    """A row for each aspect: its state, as sure as its bar is long."""
    rows = [{**each, "shown": f"{each['state']} {each['confidence']:.0%}"} for each in entries]
    chart = alt.Chart(alt.Data(values=rows), height=26 * len(rows)).encode(
        x=alt.X("confidence:Q", axis=None, scale=alt.Scale(domain=[0, 1.35])),
        y=alt.Y("aspect:N", sort=None, title=None, axis=alt.Axis(labelLimit=120, ticks=False, domain=False)),
    )
    fill = alt.Color("state:N", scale=colours(states), legend=None)
    faint = alt.condition(alt.FieldOneOfPredicate("state", list(ABSENT)), alt.value(0.15), alt.value(0.85))
    bar = chart.mark_bar(cornerRadiusEnd=2).encode(color=fill, opacity=faint)
    return bar + chart.mark_text(align="left", dx=4, color=ink()).encode(text="shown:N")


def cells_of(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A cell for each aspect of each review that was answered."""
    return [
        {"row": row, **each, "shade": 0 if each["state"].casefold() in ABSENT else each["confidence"]}
        for row, answer in enumerate(answers, 1)
        for each in answer.get("aspects", ())
    ]


def show_one(answer: dict[str, Any], states: list[str]) -> None:
    """All aspects of one review, one below the other."""
    if "error" in answer:
        st.error(plain(answer["error"]))
        return
    with st.container(border=True):
        st.html(marked(answer["text"], []))
        with st.container(horizontal=True, gap="large"):
            st.metric("总体", plain(answer["overall"]["state"]), width="content")
            st.metric("占提到的方面", f"{answer['overall']['confidence']:.1%}", width="content")
        st.altair_chart(bars(answer["aspects"], states), width="stretch")


def show_many(answers: list[dict[str, Any]], states: list[str]) -> None:
    """Many reviews: a strip of colours, how often each aspect has each state, and a table to take along."""
    failed = sum("error" in answer for answer in answers)
    if failed:
        st.warning(f"{failed:,} 条没有结果。")
    cells = cells_of(answers)
    if not cells:
        return
    st.subheader("每条评论说了什么")
    more = f"，图里是前 {SHOWN} 条" if len(answers) > SHOWN else ""
    st.caption(f"共 {len(answers):,} 条{more}。颜色越浓越有把握；几乎没有颜色的是没提到。")
    shown = [cell for cell in cells if cell["row"] <= SHOWN]
    st.altair_chart(strip(shown, states, 18 * min(len(answers), SHOWN) + 90), width="stretch")
    st.subheader("每个方面合计")
    st.dataframe(totals(cells, states), hide_index=True)
    names = list(dict.fromkeys(cell["aspect"] for cell in cells))
    rows = [
        [answer["text"], answer["overall"]["state"], *(each["state"] for each in answer["aspects"])]
        for answer in answers
        if "aspects" in answer
    ]
    columns = ["评论", "总体", *names]
    st.dataframe([dict(zip(columns, [short(row[0]), *row[1:]], strict=True)) for row in rows], hide_index=True)
    file = io.BytesIO()
    write_format(file, ".csv", columns, iter(rows))
    st.download_button("下载 CSV", file.getvalue(), "aspects.csv", "text/csv", icon=":material/download:")


def totals(cells: list[dict[str, Any]], states: list[str]) -> list[dict[str, Any]]:
    """How many reviews have each state, aspect by aspect."""
    counts: dict[str, dict[str, int]] = {}
    for cell in cells:
        own = counts.setdefault(cell["aspect"], dict.fromkeys(states, 0))
        own[cell["state"]] = own.get(cell["state"], 0) + 1
    return [{"方面": aspect, **own} for aspect, own in counts.items()]


def main() -> None:
    st.set_page_config(layout="wide")
    st.title("方面情感")
    if (model := choose_model(TASK)) is None:
        return
    many = st.toggle("一行一条评论", key="aspects_many", help="关上时，整段文字是一条评论")
    text = st.text_area("评论", EXAMPLE, key="aspects_text", height=160, max_chars=MAX_PASTED)
    lines = text.splitlines() if many else [text]
    reviews = [line for line in lines if line.strip()]
    if st.button("判断", type="primary", disabled=not reviews):
        st.session_state.aspects = ask_many(reviews, model["name"], ASPECTS), model["labels"]
    found, states = st.session_state.get("aspects", (None, []))
    if isinstance(found, str):
        st.error(f"没有得到结果。{plain(found)}")
    elif found and len(found) == 1:
        show_one(found[0], states)
    elif found:
        show_many(found, states)


if __name__ == "__main__":
    main()
