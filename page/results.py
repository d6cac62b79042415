"""The answered batch as the page shows it: numbers, a table whose classes can be corrected, pictures, downloads."""

from functools import partial

import numpy as np
import streamlit as st

from core.answers import UNSURE
from page.batch import RIGHT_CLASS, TOP_K, Batch
from page.charts import SHOWN_CLASSES, bars, histogram
from page.client import plain
from page.titles import short

SHOWN_ROWS = 2000  # of the table; the files have all
NO_CLASS = "没有结果"
BINS = 20
TABLE_HEIGHT, EDITED_WIDTH = 420, 115  # pixels
KINDS = {
    ".xlsx": ("下载 Excel（XLSX）", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ".csv": ("下载 CSV", "text/csv"),
}
RETRAIN = """python utils.py import --add corrections.csv --to my_data
python train.py --data-dir my_data"""


def show_result(batch: Batch) -> None:
    numbers = st.container(horizontal=True, gap="large")
    left, right = st.columns(2)
    with left:
        min_confidence = st.slider(
            f"最低置信度：低于它的回答是“{UNSURE}”",
            0,
            100,
            format="%d%%",
            help="越高，答得越少，答对的比例越大。上传的表格有标签列时，上面会说答对多少。",
            key="batch_min_confidence",
        )
    with right:
        choices = [*batch.answers.labels, UNSURE, NO_CLASS]
        classes = st.multiselect("只看类别", choices, placeholder="全部", key="batch_classes")
    with numbers:
        show_numbers(batch, min_confidence / 100)
    show_table(batch, min_confidence / 100, classes)
    show_downloads(batch, min_confidence / 100)
    if batch.answers.answered.any():
        show_pictures(batch)


def show_numbers(batch: Batch, min_confidence: float) -> None:
    """How many answers there are, and what is left of them with a least confidence."""
    answers = batch.answers
    coverage, accuracy = batch.judged(min_confidence)
    st.metric("有结果", f"{int(answers.answered.sum()):,}", width="content")
    st.metric("出错", f"{len(answers.errors):,}", width="content")
    if coverage is not None:
        median = float(np.median(answers.confidence[answers.answered]))
        st.metric("置信度中位数", f"{median:.1%}", width="content")
        st.metric("覆盖率（有把握的）", f"{coverage:.1%}", width="content")
    if batch.right is not None:
        unknown = int((batch.right < 0).sum())
        odd = f"{unknown:,} 条的标签不是模型的类别（名称或序号），不计入准确率。" if unknown else None
        st.metric("准确率（其中答对的）", "–" if accuracy is None else f"{accuracy:.1%}", help=odd, width="content")


def show_table(batch: Batch, min_confidence: float, classes: list[str]) -> None:
    """The answers of some classes (none named: of all), least sure first; what is shown can be corrected."""
    answers, unsure = batch.answers, batch.unsure(min_confidence)
    wanted = np.ones(len(unsure), bool)
    if classes:
        codes = [code for code, name in enumerate(answers.labels) if name in classes]
        wanted = np.isin(answers.codes, codes) & ~unsure
        wanted |= ((UNSURE in classes) & unsure) | ((NO_CLASS in classes) & ~answers.answered)
    rows = np.flatnonzero(wanted)
    rows = rows[np.argsort(np.where(answers.answered, answers.confidence, 2)[rows], kind="stable")]
    more = f"，表中是前 {SHOWN_ROWS:,} 条，下载的文件有全部" if len(rows) > SHOWN_ROWS else ""
    st.caption(
        f"符合的有 {len(rows):,} 条，最没把握的在前{more}。类别错了，就双击“{RIGHT_CLASS}”一格，选正确的；"
        "选原来的类别，就是确认。"
    )
    _edit(batch, rows[:SHOWN_ROWS].tolist(), unsure)


def _edit(batch: Batch, rows: list[int], unsure: np.ndarray) -> None:
    """The table itself; what it began with stays until other rows are shown, for its edits are counted from there."""
    answers = batch.answers
    shown = st.session_state.get("batch_shown")
    look = (batch, rows, unsure[rows].tolist(), answers.codes[rows].tolist())
    if shown is None or shown["look"] != look or shown["key"] not in st.session_state:  # not after another view
        number = shown["number"] + 1 if shown else 0
        shown = {"look": look, "number": number, "key": f"batch_table_{number}"}
        shown["corrected"] = [batch.corrected.get(row) for row in rows]
        st.session_state.batch_shown = shown
    key = shown["key"]
    table = {
        "类别": [f"{UNSURE}（{answers.label(row)}）" if unsure[row] else answers.label(row) for row in rows],
        RIGHT_CLASS: shown["corrected"],
        "标题": [short(batch.run.titles[row]) for row in rows],
        **({"标签": [short(batch.given.labels[row]) for row in rows]} if batch.given.labels else {}),
        "置信度": [float(answers.confidence[row]) if answers.answered[row] else None for row in rows],
        "行": [row + 1 for row in rows],
    }
    if answers.errors or answers.truncated.any():
        table["说明"] = [batch.note(row, False) for row in rows]
    st.data_editor(
        table,
        key=key,
        hide_index=True,
        placeholder="",
        height=TABLE_HEIGHT if len(rows) > 10 else "auto",
        disabled=[name for name in table if name != RIGHT_CLASS],
        column_config={
            RIGHT_CLASS: st.column_config.SelectboxColumn(options=answers.labels, width=EDITED_WIDTH),
            "置信度": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1, width="small"),
            "行": st.column_config.NumberColumn(width="small"),
        },
        on_change=lambda: take_edits(batch, rows, st.session_state[key]["edited_rows"]),
    )


def take_edits(batch: Batch, rows: list[int], edits: dict[int, dict[str, str | None]]) -> None:
    """Keep the classes that were chosen in the table, and forget those that were taken back."""
    for position, cells in edits.items():
        if RIGHT_CLASS in cells:
            batch.corrected.pop(rows[int(position)], None)
            if cells[RIGHT_CLASS]:
                batch.corrected[rows[int(position)]] = cells[RIGHT_CLASS]


def show_downloads(batch: Batch, min_confidence: float) -> None:
    own = "、".join(map(short, batch.given.columns[:4])) + ("……" if len(batch.given.columns) > 4 else "")
    top_k = st.segmented_control(
        "下载的文件里，每条给出",
        range(1, min(TOP_K, len(batch.answers.labels)) + 1),
        default=1,
        format_func=lambda k: f"最可能的 {k} 类" if k > 1 else "一个类别",
        key="batch_top_k",
    )
    top_k = top_k or 1
    columns, _ = batch.table(min_confidence, top_k)
    added = columns[len(batch.given.columns) :]
    with st.container(horizontal=True):
        for number, (suffix, (label, mime)) in enumerate(KINDS.items()):
            st.download_button(
                label,
                partial(batch.file, suffix, min_confidence, top_k),
                f"predictions{suffix}",
                mime,
                on_click="ignore",
                type="secondary" if number else "primary",
                icon=":material/download:",
                key=f"batch_download{suffix}",
            )
    st.caption(
        f"原来的列（{plain(own)}）都在，后面加上{plain('、'.join(added))}。"
        "以 = + - @ 开头的文字前加了撇号，Excel 不会把它当公式运行。"
    )
    if batch.corrected:
        with st.container(border=True):
            st.download_button(
                f"下载更正（{len(batch.corrected):,} 条）",
                batch.corrections,
                "corrections.csv",
                "text/csv",
                on_click="ignore",
                icon=":material/edit_note:",
                key="batch_corrections",
            )
            st.caption("把它放到训练数据所在的机器上，加进训练数据（这里叫 my_data），再训练：")
            st.code(RETRAIN, language=None)


def show_pictures(batch: Batch) -> None:
    answers = batch.answers
    counts = np.bincount(answers.codes[answers.answered], minlength=len(answers.labels)).tolist()
    confidence = answers.confidence[answers.answered]
    total = len(confidence)
    by_count = sorted(zip(answers.labels, counts, strict=True), key=lambda item: -item[1])
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("类别分布")
        chart = bars(dict(by_count[:SHOWN_CLASSES]), answers.labels, lambda count: f"{count:,}（{count / total:.1%}）")
        st.altair_chart(chart, width="stretch")
    with right:
        st.subheader("置信度分布")
        st.altair_chart(histogram(np.histogram(confidence, BINS, (0, 1))[0].tolist()), width="stretch")
