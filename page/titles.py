"""Titles given to the page: a file or pasted lines read, a column chosen, a preview shown."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

import streamlit as st

from core.console import UserError
from core.text.decode import Text, open_text
from page.client import plain

MAX_TITLES = 200_000
MAX_PASTED = 100_000  # characters
LOOK_ROWS = 1000  # that tell what a file holds
PREVIEW_ROWS = 5
SHOWN_CHARACTERS = 200
NO_COLUMN = -1
TITLE_NAMES = {"title", "text", "标题", "新闻标题", "headline", "content"}
LABEL_NAMES = {"label", "class", "pred_class", "标签", "类别", "分类", "category"}
LONGEST_CELL = 1_000_000  # characters
MAX_COLUMNS = 200
MAX_CELLS = 4_000_000  # of all rows; a blank line counts as one
MAX_DELIMITERS = 20_000  # in a row, those inside quotes too
WIDE = f"这个文件的一行有 {MAX_COLUMNS} 列以上：请只留下标题和标签两列，或把标题另存为 TXT（每行一条）"
HUGE = f"这个文件超过 {MAX_CELLS:,} 格：请只留下标题和标签两列，或分成几个文件"
NO_TEXT = "读不出这个文件：请另存为 UTF-8 文本（Excel 选“CSV UTF-8”，记事本把编码选为 UTF-8）"
JSON = "这是 JSON，不是每行一条的文字：请把标题另存为 TXT（每行一条）或 CSV"


@dataclass(frozen=True)
class Given:
    """Titles to predict, and the label written beside each where there is one."""

    titles: list[str]
    labels: list[str] | None = None


def short(text: str) -> str:
    """The beginning of a text, for a table."""
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def read_rows(content: bytes, name: str) -> list[list[str]]:
    """The rows of a file in UTF-8 or GB18030, of too many the first ones.

    A name in .csv or .tsv means columns, any other a title a line; lines of `title<TAB>label` have two columns, split
    at the last tab.

    Raises:
        UserError: it is no text, no CSV, or empty; in Chinese.
    """
    try:
        text = open_text(io.BytesIO(content), name)
    except UserError as fault:
        raise UserError(JSON if "is JSON" in str(fault) else NO_TEXT) from fault
    with text:
        rows = _read_table(text.parts(LONGEST_CELL + 1), name) if has_columns(name) else _read_lines(text)
    if not any(cell.strip() for row in rows for cell in row):
        raise UserError("文件里没有标题：请每行写一条")
    return rows


def has_columns(name: str) -> bool:
    """Whether the file of this name has columns."""
    return name.lower().endswith((".csv", ".tsv"))


def _read_lines(text: Text) -> list[list[str]]:
    """The lines of a text, in two cells where those looked at have a tab each."""
    lines = list(islice(text.lines(), MAX_TITLES + 2))
    looked = [line for line in lines[:LOOK_ROWS] if line.strip()]
    tabs = looked and all("\t" in line for line in looked)
    return [list(line.rpartition("\t")[::2]) if tabs and "\t" in line else [line] for line in lines]


def _read_table(lines: Iterator[str], name: str) -> list[list[str]]:
    """The rows of a TSV, or of a CSV with whichever of the usual delimiters its first line has most of.

    Raises:
        UserError: quotes have no partner, a cell is too long, or there are too many of them; in Chinese.
    """
    first = next(lines, "")
    delimiter = "\t" if name.lower().endswith(".tsv") else max(",\t;", key=re.sub('"[^"]*"', "", first).count)
    csv.field_size_limit(LONGEST_CELL)
    delimiters = cells = 0  # of the row that is being read, of all rows

    def bounded() -> Iterator[str]:
        nonlocal delimiters
        for line in chain([first], lines):
            delimiters += line.count(delimiter)
            if delimiters > MAX_DELIMITERS:
                raise UserError(WIDE)
            if len(line) > LONGEST_CELL:
                raise csv.Error("limit")
            yield line

    table = csv.reader(bounded(), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    try:
        for row in table:
            delimiters, cells = 0, cells + max(1, len(row))
            if len(row) > MAX_COLUMNS or cells > MAX_CELLS:
                raise UserError(WIDE if len(row) > MAX_COLUMNS else HUGE)
            rows += [row] if row else []
            if len(rows) > MAX_TITLES + 1:
                break
    except csv.Error as fault:
        what = f"有一格超过 {LONGEST_CELL:,} 个字：是不是少了一个引号？" if "limit" in str(fault) else "引号没有配对："
        raise UserError(
            f'读到第 {table.line_num} 行，这个文件的{what}标题以 " 开头时，要写成 """…"，'
            "或用 Excel 打开后另存为“CSV UTF-8”"
        ) from fault
    return rows


def ask_titles(key: str, labelled: bool = False) -> Given | None:
    """The widgets that titles are given by; None until there are some.

    Args:
        key: sets the widgets of one page apart from those of another.
        labelled: whether a column of labels may be chosen too.
    """
    source = st.radio(
        "来源", ["上传文件", "粘贴文字"], horizontal=True, key=f"{key}_source", label_visibility="collapsed"
    )
    try:
        rows, is_table = _uploaded(key) if source == "上传文件" else _pasted(key)
        return _choose(rows, is_table, labelled) if rows else None
    except UserError as fault:
        st.error(plain(fault))
        return None


def _uploaded(key: str) -> tuple[list[list[str]], bool]:
    upload = st.file_uploader(
        "TXT（每行一条标题）或 CSV，UTF-8 或 GBK 编码", type=["txt", "csv", "tsv"], key=f"{key}_upload"
    )
    known = st.session_state.get(f"{key}_rows")
    if upload is None:
        st.session_state.pop(f"{key}_rows", None)
        return [], False
    if known is None or known[0] != upload.file_id:  # read once, not at each run of the page
        known = upload.file_id, read_rows(upload.getvalue(), upload.name)
        st.session_state[f"{key}_rows"] = known
    return known[1], has_columns(upload.name)


def _pasted(key: str) -> tuple[list[list[str]], bool]:
    text = st.text_area("每行一条标题", key=f"{key}_pasted", height=160, max_chars=MAX_PASTED)
    return (read_rows(text.encode("utf-8", "replace"), "pasted.txt") if text.strip() else []), False


def _choose(rows: list[list[str]], is_table: bool, labelled: bool) -> Given:
    """Choose the columns, and show the first rows."""
    width = max(len(row) for row in rows[:LOOK_ROWS])
    names = ["标题", "标签"][:width]
    if is_table:
        names = [f"第 {number} 列" for number in range(1, width + 1)]
        if st.checkbox("第一行是列名", value=True):
            header, rows = rows[0], rows[1:]
            names[: len(header)] = [" ".join(name.split()) or names[column] for column, name in enumerate(header)]
    if not rows:
        raise UserError("除了列名，文件里没有标题：请每行写一条，或去掉“第一行是列名”")
    if len(rows) > MAX_TITLES:
        raise UserError(f"超过 {MAX_TITLES:,} 条：请分成几个文件，或用命令 python predict_fun.py --file")
    title_column, label_column = (0, NO_COLUMN) if width == 1 else _choose_columns(rows, names, labelled)
    titles = [row[title_column] if title_column < len(row) else "" for row in rows]
    labels = None
    if label_column != NO_COLUMN:
        labels = [row[label_column] if label_column < len(row) else "" for row in rows]
    preview = {"标签": [short(label) for label in labels[:PREVIEW_ROWS]]} if labels else {}
    preview["标题"] = [short(title) for title in titles[:PREVIEW_ROWS]]
    if lost := sum("\ufffd" in title for title in titles):
        st.warning(f"{lost:,} 条标题里有读不出的字（显示为 �）：请看看文件的编码，另存为 UTF-8 再上传")
    st.caption(f"共 {len(rows):,} 条，前 {min(PREVIEW_ROWS, len(rows))} 条是：")
    st.dataframe(preview, hide_index=True)
    return Given(titles, labels)


def _choose_columns(rows: list[list[str]], names: list[str], labelled: bool) -> tuple[int, int]:
    """The columns of the titles and of the labels: by their names, else the longest texts and none."""
    numbers = range(len(names))
    lengths = [sum(len(row[column]) for row in rows[:LOOK_ROWS] if column < len(row)) for column in numbers]

    def find(words: set[str], otherwise: int) -> int:
        return next((column for column in numbers if names[column].lower() in words), otherwise)

    label_column = NO_COLUMN
    with st.container(horizontal=True):  # widgets without a key start afresh with each other file
        title_column = st.selectbox(
            "标题所在的列", numbers, find(TITLE_NAMES, lengths.index(max(lengths))), format_func=names.__getitem__
        )
        if labelled:
            label_column = st.selectbox(
                "标签所在的列",
                [NO_COLUMN, *numbers],
                find(LABEL_NAMES, NO_COLUMN) + 1,
                format_func=lambda column: "没有标签" if column == NO_COLUMN else names[column],
            )
    return title_column, label_column
