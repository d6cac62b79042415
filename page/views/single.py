"""单条预测: one title, its class, and which of its words and characters mattered."""

import math
import time

import streamlit as st

from page.charts import SHOWN_CLASSES, bars, colours, tiles
from page.client import ALL_CLASSES, Api, plain
from page.served import model_for_titles
from page.titles import short

EXAMPLES = [
    "SpaceX 星舰今日成功发射，开启火星移民新篇章",
    "央行宣布下调存款准备金率0.5个百分点",
    "国足主场2比1逆转取胜，晋级十二强赛",
]
OCCLUDED = 60  # pieces left out one at a time
HISTORY = 50  # titles remembered


def show_answer(answer: dict) -> None:
    with st.container(border=True):
        st.text(short(answer["text"]))
        with st.container(horizontal=True, gap="large"):
            st.metric("类别", plain(answer["pred_class"]), width="content")
            st.metric("置信度", f"{answer['confidence']:.1%}", width="content")
        st.caption(f"耗时 {answer['elapsed_ms']:.1f} ms，模型 {plain(answer['model'])}")
        if answer["truncated"]:
            st.info("标题超过了模型能读的长度，只按开头的部分分类。")
        shares = {item["pred_class"]: item["confidence"] for item in answer["top_k"]}
        first = dict(list(shares.items())[:SHOWN_CLASSES])
        st.altair_chart(bars(first, list(shares), "{:.1%}".format, full=1), width="stretch")
        if len(shares) > len(first):
            st.caption(f"其余 {len(shares) - len(first):,} 个类别合计 {sum(shares.values()) - sum(first.values()):.1%}")


def occlude(api: Api, answer: dict) -> list[dict] | str:
    """What the class loses when each piece of the title is left out, or why that is not known.

    Occlusion (Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks") of the words and
    characters that the model sees. The loss is one of log-odds: it does not vanish where the model is very sure.

    Returns:
        For each piece its "text", the "drop" of the log-odds, and the probability "without" it.
    """
    text, pieces = answer["text"], []
    for piece in api.pieces(text, answer["model"]):
        if (start := text.find(piece, pieces[-1][1] if pieces else 0)) >= 0:
            pieces.append((start, start + len(piece)))
    answer["cut"], pieces = len(pieces) > OCCLUDED, pieces[:OCCLUDED]
    reply = api.predict_list([text[:start] + text[end:] for start, end in pieces], answer["model"], ALL_CLASSES)
    if "error" in reply:
        return reply["error"]
    found = []
    for (start, end), item in zip(pieces, reply["predictions"], strict=True):
        shares = {share["pred_class"]: share["confidence"] for share in item.get("top_k", [])}
        without = shares.get(answer["pred_class"], 0.0)
        drop = log_odds(answer["confidence"]) - log_odds(without)
        found.append({"text": text[start:end], "drop": drop, "without": without})
    return found


def log_odds(share: float) -> float:
    """Of a probability, which the API gives to six places."""
    share = min(max(share, 1e-6), 1 - 1e-6)
    return math.log(share / (1 - share))


def show_characters(api: Api, answer: dict) -> None:
    """Shade the characters by what they were worth; asked once for an answer."""
    st.subheader("哪些词起了作用")
    if "drops" not in answer:
        with st.spinner("正在逐词比较…"):
            answer["drops"] = occlude(api, answer)
    if isinstance(answer["drops"], str):
        st.warning(f"没有得到逐词的比较。{plain(answer['drops'])}")
        return
    scale = colours([item["pred_class"] for item in answer["top_k"]])
    colour = scale.range[scale.domain.index(answer["pred_class"])]
    if answer["drops"]:
        st.altair_chart(tiles(answer["drops"], colour), width="stretch")
    cut = f"只比较前 {OCCLUDED} 个。" if answer["cut"] else ""
    label = plain(answer["pred_class"])
    st.caption(
        f"每次去掉模型看到的一个词或字再预测：颜色越浓，去掉后越不像“{label}”，最浓的是影响最大的；"
        f"灰色表示去掉后反而更像。{cut}"
    )


def show_history(history: list[dict]) -> None:
    with st.expander(f"本次访问的记录（{len(history)} 条）"):
        st.dataframe(
            history[::-1],
            hide_index=True,
            column_config={"置信度": st.column_config.NumberColumn(format="percent")},
        )


def remember(answer: dict) -> None:
    entry = {
        "类别": answer["pred_class"],
        "置信度": answer["confidence"],
        "标题": short(answer["text"]),
        "模型": answer["model"],
        "时间": time.strftime("%H:%M:%S"),
    }
    st.session_state.history = [*st.session_state.get("history", []), entry][-HISTORY:]


def choose(example: str) -> None:
    st.session_state.title = example


def main() -> None:
    api = st.session_state.api
    st.title("新闻标题分类")
    with st.form("question", border=False):
        title = st.text_input("新闻标题", key="title", placeholder="输入一条新闻标题，按回车预测")
        asked = st.form_submit_button("预测", type="primary")
    st.caption("或点一条试试：")
    with st.container(horizontal=True):
        picked = [st.button(example, on_click=choose, args=(example,)) for example in EXAMPLES]
    if asked or any(picked):
        with st.spinner("正在预测…"):
            st.session_state.answer = api.predict(title, model_for_titles())
        if "error" not in st.session_state.answer:
            remember(st.session_state.answer)
    answer = st.session_state.get("answer")
    if answer and "error" in answer:
        st.error(f"没有得到结果。{plain(answer['error'])}")
    elif answer:
        show_answer(answer)
        show_characters(api, answer)
    if history := st.session_state.get("history"):
        show_history(history)


if __name__ == "__main__":
    main()
