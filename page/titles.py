"""Titles given to the page: a file or pasted lines read, columns chosen, a preview shown."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from core.console import UserError
from core.tables.cells import cell_text
from core.tables.columns import LABEL_NAMES, TEXT_NAMES, choose_columns
from core.text.names import name_key
from page.client import plain
from page.uploads import LOOK_ROWS, SUFFIXES, Sheet, read_pasted, read_upload

MAX_PASTED = 100_000  # characters
PREVIEW_ROWS = 5
SHOWN_CHARACTERS = 200
NO_COLUMN = -1


@dataclass(frozen=True)
class Given:
    """Titles to predict, and what came with them.

    Attributes:
        titles: texts.
        labels: written beside the titles; None: nothing was.
        columns: names of the columns of the table that the titles are from.
        rows: cells of that table, a row for each title.
    """

    titles: list[str]
    labels: list[str] | None = None
    columns: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)


def short(text: str) -> str:
    """The beginning of a text, for a table."""
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def truth(given: Given, labels: Sequence[str]) -> list[str | None] | None:
    """The class written beside each title, None for what is no class; a label is a class name or its id."""
    if given.labels is None:
        return None
    known = {name_key(name): name for name in labels} | {str(index): name for index, name in enumerate(labels)}
    return [known.get(name_key(label)) for label in given.labels]


def ask_titles(key: str) -> Given | None:
    """The widgets that titles are given by; None until there are some.

    Args:
        key: sets the widgets of one page apart from those of another.
    """
    source = st.radio(
        "来源", ["上传文件", "粘贴文字"], horizontal=True, key=f"{key}_source", label_visibility="collapsed"
    )
    try:
        sheet = _uploaded(key) if source == "上传文件" else _pasted(key)
        return _choose(sheet) if sheet else None
    except UserError as fault:
        st.error(plain(fault))
        return None


def _uploaded(key: str) -> Sheet | None:
    upload = st.file_uploader(
        "Excel（XLSX）、CSV、TSV、JSONL、Parquet 表格，或 TXT（每行一条标题）",
        type=[suffix[1:] for suffix in SUFFIXES],
        key=f"{key}_upload",
    )
    known = st.session_state.get(f"{key}_sheet")
    if upload is None:
        st.session_state.pop(f"{key}_sheet", None)
        return None
    if known is None or known[0] != upload.file_id:  # read once, not at each run of the page
        with st.spinner("正在读文件…"):
            known = upload.file_id, read_upload(upload.getvalue(), upload.name)
        st.session_state[f"{key}_sheet"] = known
    return known[1]


def _pasted(key: str) -> Sheet | None:
    text = st.text_area(
        "每行一条标题，或从 Excel 复制的几列（列名也可以一起复制）",
        key=f"{key}_pasted",
        height=160,
        max_chars=MAX_PASTED,
    )
    return read_pasted(text) if text.strip() else None


def _choose(sheet: Sheet) -> Given:
    """Choose the columns, and show the first rows."""
    for note in sheet.notes:
        st.info(plain(note))
    if sheet.headed is not None:
        sheet = sheet.with_header(st.checkbox("第一行是列名", value=sheet.headed))
    rows = sheet.rows
    if not rows:
        raise UserError("除了列名，文件里没有标题：请每行写一条，或去掉“第一行是列名”")
    title_column, label_column = (0, NO_COLUMN) if len(sheet.columns) == 1 else _choose_columns(sheet)
    titles = [cell_text(row[title_column]) for row in rows]
    labels = None if label_column == NO_COLUMN else [cell_text(row[label_column]) for row in rows]
    if lost := sum("\ufffd" in title for title in titles):
        st.warning(f"{lost:,} 条标题里有读不出的字（显示为 �）：请看看文件的编码，另存为 UTF-8 再上传")
    st.caption(f"共 {len(rows):,} 条，前 {min(PREVIEW_ROWS, len(rows))} 条是：")
    first = rows[:PREVIEW_ROWS]
    st.dataframe(
        {name: [short(cell_text(row[column])) for row in first] for column, name in enumerate(sheet.columns)},
        hide_index=True,
    )
    return Given(titles, labels, sheet.columns, rows)


def _choose_columns(sheet: Sheet) -> tuple[int, int]:
    """The columns of the titles and of the labels: by their names, else the longest texts and none."""
    numbers = range(len(sheet.columns))
    lengths = [sum(len(cell_text(row[column])) for row in sheet.rows[:LOOK_ROWS]) for column in numbers]

    def find(names: Sequence[str], otherwise: int) -> int:
        return next(iter(choose_columns(sheet.columns, (), names, "", "")), otherwise)

    with st.container(horizontal=True):  # widgets without a key start afresh with each other file
        title_column = st.selectbox(
            "标题所在的列",
            numbers,
            find(TEXT_NAMES, lengths.index(max(lengths))),
            format_func=sheet.columns.__getitem__,
        )
        label_column = st.selectbox(
            "标签所在的列（可以没有）",
            [NO_COLUMN, *numbers],
            find(LABEL_NAMES, NO_COLUMN) + 1,
            format_func=lambda column: "没有标签" if column == NO_COLUMN else sheet.columns[column],
        )
    return title_column, label_column
