"""阅读理解: a passage and a question; the answer is marked in the passage."""

from typing import Any

import streamlit as st

from page.charts import BLUE
from page.client import plain
from page.served import QUESTIONS, Mark, choose_model, marked

PASSAGE = (
    "县博物馆的农具展从三月开到六月，每天九点开门，十七点关门，周一闭馆。"
    "馆长说，展品大半是村民捐的，最老的一架水车有一百二十年。"
)
QUESTION = "展览几点关门？"
TOP = 5  # answers that are listed
MAX_PASSAGE, MAX_QUESTION = 200_000, 1000  # characters


def place(span: dict[str, Any]) -> list[Mark]:
    """Where an answer stands; nowhere, where there is none."""
    start, end = span.get("start"), span.get("end")
    return [Mark(start, end, BLUE)] if isinstance(start, int) and isinstance(end, int) else []


def show(answer: dict[str, Any], passage: str) -> None:
    """The answer, its place, and what else it might have been."""
    with st.container(border=True):
        with st.container(horizontal=True, gap="large"):
            st.metric("答案", plain(answer["answer"]) or "（文章里没有）", width="content")
            st.metric("置信度", f"{answer['confidence']:.1%}", width="content")
        st.caption(f"耗时 {answer['elapsed_ms']:.1f} ms")
        if answer["truncated"]:
            st.info("问题超过了模型能读的长度，只按开头的部分回答。")
        st.html(marked(passage, place(answer)))
    st.subheader("可能的答案")
    st.dataframe(
        [{"答案": each["answer"] or "（文章里没有）", "置信度": each["confidence"]} for each in answer["top_k"]],
        hide_index=True,
        column_config={"置信度": st.column_config.NumberColumn(format="percent")},
    )


def main() -> None:
    st.title("阅读理解")
    if (model := choose_model(QUESTIONS)) is None:
        return
    with st.form("qa", border=False):
        passage = st.text_area("文章", PASSAGE, key="qa_passage", height=200, max_chars=MAX_PASSAGE)
        question = st.text_input("问题", QUESTION, key="qa_question", max_chars=MAX_QUESTION)
        if st.form_submit_button("回答", type="primary"):
            with st.spinner("正在读…"):
                found = st.session_state.api.ask_passage(question, passage, model["name"], TOP)
            st.session_state.qa_answer = found, passage
    answer, passage = st.session_state.get("qa_answer", (None, ""))
    if answer and "error" in answer:
        st.error(f"没有得到结果。{plain(answer['error'])}")
    elif answer:
        show(answer, passage)


if __name__ == "__main__":
    main()
