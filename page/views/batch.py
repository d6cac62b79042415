"""批量预测: a file of titles or pasted lines, predicted in the background; table, pictures, CSV."""

import io

import numpy as np
import streamlit as st

from core.answers import COLUMNS
from core.tables.write import write_rows
from page.charts import SHOWN_CLASSES, bars, histogram
from page.client import Api, plain
from page.progress import show_run
from page.run import BatchRun
from page.titles import ask_titles, short

SHOWN_ROWS = 2000  # of the table; the CSV has all
NO_CLASS = "没有结果"
BINS = 20


def as_csv(run: BatchRun) -> bytes:
    """One row for each title, the columns of predict_fun.py; no cell runs as a formula."""
    [answers] = run.answers.values()

    def rows():
        yield COLUMNS
        for row, title in enumerate(run.titles):
            cells = ["", "", "", answers.errors.get(row, "没有预测")]
            if answers.answered[row]:
                cells = [answers.label(row), f"{answers.confidence[row]:.6f}", bool(answers.truncated[row]), ""]
            yield [title, *cells]

    file = io.BytesIO()
    write_rows(file, rows())
    return file.getvalue()


def show_pictures(run: BatchRun) -> None:
    [answers] = run.answers.values()
    counts = np.bincount(answers.codes[answers.answered], minlength=len(answers.labels)).tolist()
    confidence = answers.confidence[answers.answered]
    total = len(confidence)
    by_count = sorted(zip(answers.labels, counts, strict=True), key=lambda item: -item[1])
    st.subheader("类别分布")
    chart = bars(dict(by_count[:SHOWN_CLASSES]), answers.labels, lambda count: f"{count:,}（{count / total:.1%}）")
    st.altair_chart(chart, width="stretch")
    st.subheader("置信度分布")
    st.altair_chart(histogram(np.histogram(confidence, BINS, (0, 1))[0].tolist()), width="stretch")


def show_table(run: BatchRun) -> None:
    """The answers that the filters leave, the first ones of them in a table."""
    [answers] = run.answers.values()
    st.subheader("结果")
    with st.container(horizontal=True):
        classes = st.multiselect("只看类别", [*answers.labels, NO_CLASS], placeholder="全部")
        limit = st.slider("只看置信度不高于", 0, 100, 100, format="%d%%")
    wanted = np.ones(len(run.titles), bool)
    if classes:
        codes = [answers.labels.index(name) for name in classes if name in answers.labels]
        wanted = np.isin(answers.codes, codes) | ((NO_CLASS in classes) & ~answers.answered)
    if limit < 100:
        wanted &= answers.answered & (answers.confidence <= limit / 100)
    rows = np.flatnonzero(wanted)
    shown = rows[:SHOWN_ROWS].tolist()
    more = f"，表中是前 {SHOWN_ROWS:,} 条，下载的文件有全部" if len(rows) > SHOWN_ROWS else ""
    st.caption(f"符合的有 {len(rows):,} 条{more}。")
    table = {
        "行": [row + 1 for row in shown],
        "类别": [answers.label(row) for row in shown],
        "置信度": [float(answers.confidence[row]) if answers.answered[row] else None for row in shown],
        "标题": [short(run.titles[row]) for row in shown],  # last: a phone shows the first columns
    }
    if answers.errors or answers.truncated.any():
        table["说明"] = [
            answers.errors.get(row) or ("过长，只读了开头" if answers.truncated[row] else "") for row in shown
        ]
    percent = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)
    st.dataframe(table, hide_index=True, column_config={"置信度": percent})


def show_result(run: BatchRun) -> None:
    [answers] = run.answers.values()
    failed = len(answers.errors)
    with st.container(horizontal=True, gap="large"):
        st.metric("有结果", f"{int(answers.answered.sum()):,}", width="content")
        st.metric("出错", f"{failed:,}", width="content")
        if answers.answered.any():
            median = float(np.median(answers.confidence[answers.answered]))
            st.metric("置信度中位数", f"{median:.1%}", width="content")
    st.download_button(
        "下载 CSV",
        lambda: as_csv(run),
        "predictions.csv",
        "text/csv",
        on_click="ignore",
        type="primary",
        icon=":material/download:",
        key="batch_download",
    )
    st.caption("UTF-8 编码，Excel 可直接打开；以 = + - @ 开头的标题前加了撇号，Excel 不会把它当公式运行。")
    if answers.answered.any():
        show_pictures(run)
    show_table(run)


def start(api: Api, titles: list[str]) -> None:
    health = api.health()
    if "error" in health:
        st.error(f"没有开始。{plain(health['error'])}")
        return
    if old := st.session_state.get("batch_run"):
        old.stop()
    st.session_state.batch_run = BatchRun(api.predict_list, titles, {health["model"]: health["labels"]})
    st.rerun()


def main() -> None:
    st.title("批量预测")
    run: BatchRun | None = st.session_state.get("batch_run")
    running = run is not None and run.running
    given = ask_titles("batch")
    if st.button("开始预测", type="primary", disabled=given is None or running, key="batch_start") and given:
        start(st.session_state.api, given.titles)
    if run:
        st.divider()
        show_run(run, running, "batch")
        if not running and run.done:
            show_result(run)


if __name__ == "__main__":
    main()
