"""The web page: type a news title, press 预测, see its class. It asks a running api.py and knows only HTTP.

Start `python api.py` in another terminal, then:

    streamlit run app.py

The environment variable NEWS_API_URL is the server's address, http://127.0.0.1:8004 where it is not set; NEWS_API_KEY
is its key, where it asks for one.
"""

import os
import re
import sys
from urllib.parse import urlsplit

import altair as alt
import requests
import streamlit as st

EXAMPLES = [
    "SpaceX 星舰今日成功发射，开启火星移民新篇章",
    "央行宣布下调存款准备金率0.5个百分点",
    "国足主场2比1逆转取胜，晋级十二强赛",
    "一线城市二手房成交量连续三个月回升",
    "教育部公布今年高考报名人数与时间安排",
]
PREDICT_SECONDS = 30
STATUS_SECONDS = 2


def plain(text: object) -> str:
    """The text with its Markdown switched off, for what Streamlit shows as Markdown."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(str(text).split()))


def call(url: str, path: str, expected: set[str], seconds: float, question: dict | None = None) -> dict:
    """Ask the API: POST with a question, else GET.

    Returns:
        Its JSON answer, which has the expected keys, or {"error": what to do, in Chinese Markdown}.
    """
    try:
        with requests.Session() as session:
            # A proxy named in the environment cannot reach this machine's own loopback address.
            session.trust_env = urlsplit(url).hostname not in {"127.0.0.1", "localhost", "::1"}
            if key := os.environ.get("NEWS_API_KEY", "").strip():
                session.headers["Authorization"] = f"Bearer {key}".encode()
            method = "POST" if question else "GET"
            response = session.request(method, url.rstrip("/") + path, json=question, timeout=seconds)
    except requests.Timeout:
        return {"error": f"API 在 {seconds} 秒内没有回答：请稍后再试，或查看 `python api.py` 的终端"}
    except requests.ConnectionError:
        return {"error": "连不上 API：请先在另一个终端运行 `python api.py`，或在侧栏改正地址"}
    except (requests.RequestException, ValueError):
        return {"error": "API 地址不对：请在侧栏改正，例如 `http://127.0.0.1:8004`"}
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        answer = {}
    if response.ok and expected <= answer.keys():
        return answer
    if "error" in answer:
        return {"error": plain(answer["error"])}
    if response.status_code >= 500:
        return {"error": f"服务器出错（{response.status_code}）：请查看 `python api.py` 的终端"}
    return {"error": "这个地址不是新闻标题分类的 API：请在侧栏改正，例如 `http://127.0.0.1:8004`"}


def predict(url: str, title: str) -> dict:
    """The API's answer on one title with the probabilities of all classes, or {"error": …}."""
    expected = {"text", "pred_class", "confidence", "top_k", "model", "truncated", "elapsed_ms"}
    # The server lowers top_k to the number of its classes.
    return call(url, "/predict", expected, PREDICT_SECONDS, {"text": title, "top_k": 1000})


@st.fragment(run_every="10s")
def show_status(url: str) -> None:
    health = call(url, "/health", {"model", "labels"}, STATUS_SECONDS)
    if "error" in health:
        st.error(f"未连接。{health['error']}")
    else:
        st.success(f"已连接：模型 {plain(health['model'])}，{len(health['labels'])} 个类别")


def show_answer(answer: dict) -> None:
    text = answer["text"]
    with st.container(border=True):
        st.text(text if len(text) <= 200 else text[:200] + "…")
        with st.container(horizontal=True, gap="large"):
            st.metric("类别", plain(answer["pred_class"]), width="content")
            st.metric("置信度", f"{answer['confidence']:.1%}", width="content")
        st.caption(f"耗时 {answer['elapsed_ms']:.1f} ms，模型 {plain(answer['model'])}")
        if answer["truncated"]:
            st.info("标题超过了模型能读的长度，只按开头的部分分类。")
        st.altair_chart(bars(answer["top_k"]), width="stretch")


def bars(classes: list[dict]) -> alt.Chart:
    """Horizontal bars of [{"pred_class", "confidence"}] in the order given; a full bar is 100 %."""
    rows = [
        {"label": f"{item['pred_class']}  {item['confidence']:.1%}", "confidence": item["confidence"]}
        for item in classes
    ]
    return (
        alt.Chart(alt.Data(values=rows), height=28 * len(rows))
        .mark_bar()
        .encode(
            x=alt.X("confidence:Q", axis=None, scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("label:N", sort=None, title=None),
        )
    )


def choose(example: str) -> None:
    st.session_state.title = example


def main() -> None:
    st.set_page_config(page_title="新闻标题分类", page_icon="📰")
    with st.sidebar:
        url = st.text_input("API 地址", os.environ.get("NEWS_API_URL") or "http://127.0.0.1:8004")
    st.title("新闻标题分类")
    with st.form("question", border=False):
        title = st.text_input("新闻标题", key="title", placeholder="输入一条新闻标题，按回车预测")
        asked = st.form_submit_button("预测", type="primary")
    st.caption("或点一条试试：")
    with st.container(horizontal=True):
        picked = [st.button(example, on_click=choose, args=(example,)) for example in EXAMPLES]
    if asked or any(picked):
        with st.spinner("正在预测…"):
            st.session_state.answer = predict(url, title)
    answer = st.session_state.get("answer")
    if answer and "error" in answer:
        st.error(f"没有得到结果。{answer['error']}")
    elif answer:
        show_answer(answer)
    with st.sidebar:  # last, so that a slow server does not hold up the page
        show_status(url)


if __name__ == "__main__":
    if not st.runtime.exists():
        sys.exit("error: the page runs inside Streamlit: start it with `streamlit run app.py`")
    main()
