"""实体识别: pieces of text with their entities coloured, and a table of them."""

import io
from typing import Any

import streamlit as st

from core.tables.write import write_format
from page.charts import PALETTE
from page.client import ENTITIES, plain
from page.served import ENTITIES as TASK
from page.served import Mark, ask_many, choose_model, marked
from page.titles import MAX_PASTED

EXAMPLE = "李明昨天在上海参加了华为公司的发布会。\n周岚从青岛调到联合国儿童基金会，下周去日内瓦。"
SHOWN = 100  # texts whose entities are coloured; the table has all
COLUMNS = ["行", "实体", "类型", "开始", "结束", "置信度"]


def types_of(labels: list[str]) -> dict[str, str]:
    """{type of entities: its colour} of a model with BIO tags."""
    types = sorted({label.partition("-")[2] for label in labels if "-" in label})
    return {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(types)}


def legend(colours: dict[str, str]) -> str:
    """HTML of the types in their colours."""
    text, marks = "", []
    for name, colour in colours.items():
        marks.append(Mark(len(text), len(text) + len(name), colour))
        text += name + "  "
    return marked(text, marks)


def table(answers: list[dict[str, Any]]) -> list[list[Any]]:
    """A row for each entity."""
    return [
        [row, each["text"], each["label"], each["start"], each["end"], each["confidence"]]
        for row, answer in enumerate(answers, 1)
        for each in answer.get("entities", ())
    ]


def show(answers: list[dict[str, Any]], colours: dict[str, str]) -> None:
    """Colour the entities in their texts, and list them."""
    rows = table(answers)
    st.html(legend(colours))
    with st.container(border=True):
        for answer in answers[:SHOWN]:
            if "error" in answer:
                st.error(plain(answer["error"]))
                continue
            marks = [
                Mark(each["start"], each["end"], colours.get(each["label"], PALETTE[-1]), each["label"])
                for each in answer["entities"]
            ]
            st.html(marked(answer["text"], marks))
    if len(answers) > SHOWN:
        st.caption(f"只显示前 {SHOWN} 段；表格里是全部。")
    st.caption(f"{len(answers):,} 段里有 {len(rows):,} 个实体。位置从 0 数起，不含结束的那个字。")
    if rows:
        st.dataframe(
            [dict(zip(COLUMNS, row, strict=True)) for row in rows],
            hide_index=True,
            column_config={
                "实体": st.column_config.Column(width="medium"),  # names of organisations are long
                "置信度": st.column_config.NumberColumn(format="percent"),
            },
        )
        file = io.BytesIO()
        write_format(file, ".csv", COLUMNS, iter(rows))
        st.download_button("下载 CSV", file.getvalue(), "entities.csv", "text/csv", icon=":material/download:")


def main() -> None:
    st.title("实体识别")
    if (model := choose_model(TASK)) is None:
        return
    text = st.text_area("文字，一行一段", EXAMPLE, key="entities_text", height=140, max_chars=MAX_PASTED)
    texts = [line for line in text.splitlines() if line.strip()]
    if st.button("识别", type="primary", disabled=not texts):
        st.session_state.entities = ask_many(texts, model["name"], ENTITIES), types_of(model["labels"])
    found, colours = st.session_state.get("entities", (None, {}))
    if isinstance(found, str):
        st.error(f"没有得到结果。{plain(found)}")
    elif found:
        show(found, colours)


if __name__ == "__main__":
    main()
