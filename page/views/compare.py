"""模型对比: the same titles through all models that the API serves, and where they differ."""

from collections import Counter
from itertools import combinations

import numpy as np
import streamlit as st

from page.charts import SHOWN_CLASSES, matrix
from page.client import Api, plain
from page.progress import show_run
from page.run import BatchRun, ModelAnswers
from page.served import TITLES, task_of, trouble
from page.titles import ask_titles, short, truth

SHOWN_ROWS = 1000
HOW = "要对比，请这样启动 API：`python api.py --model teacher --model soft`"


def compare_one(api: Api, names: list[str]) -> None:
    """One title through all models."""
    with st.form("compare_one", border=False):
        title = st.text_input("新闻标题", key="compare_title", placeholder="输入一条新闻标题，按回车对比")
        if st.form_submit_button("对比", type="primary"):
            with st.spinner("正在预测…"):
                st.session_state.compare_answers = {name: api.predict(title, name) for name in names}
    answers = st.session_state.get("compare_answers", {})
    good = {name: answer for name, answer in answers.items() if "error" not in answer}
    for name, answer in answers.items():
        if "error" in answer:
            st.error(f"模型 {plain(name)} 没有结果。{plain(answer['error'])}")
    if not good:
        return
    st.text(short(next(iter(good.values()))["text"]))
    if len(good) > 1:
        if len({answer["pred_class"] for answer in good.values()}) == 1:
            st.success("各模型一致。")
        else:
            st.warning("各模型不一致。")
    st.dataframe(
        [
            {
                "模型": name,
                "类别": answer["pred_class"],
                "置信度": answer["confidence"],
                "耗时（毫秒）": answer["elapsed_ms"],
            }
            for name, answer in good.items()
        ],
        hide_index=True,
        column_config={
            "置信度": st.column_config.NumberColumn(format="percent"),
            "耗时（毫秒）": st.column_config.NumberColumn(format="%.1f"),
        },
    )
    shares = [
        {
            "row": item["pred_class"],
            "column": name,
            "share": item["confidence"],
            "shown": f"{item['confidence']:.1%}",
        }
        for name, answer in good.items()
        for item in answer["top_k"]
    ]
    labels = sorted({cell["row"] for cell in shares})
    st.altair_chart(matrix(shares, labels, list(good), "", ""), width="stretch")


def scores(run: BatchRun, right: list[str | None] | None) -> list[dict]:
    """A row for each model: accuracy where there are labels, pace, errors."""
    rows = []
    for name, answers in run.answers.items():
        row = {"模型": name}
        if right:
            pairs = confusion(answers, right)
            hits = sum(count for (label, pred_class), count in pairs.items() if label == pred_class)
            row["准确率"] = hits / sum(pairs.values()) if pairs else None
        row["毫秒/条"] = answers.ms
        if answers.answered.any():
            row["平均置信度"] = float(answers.confidence[answers.answered].mean())
        rows.append(row | {"没有结果": int((~answers.answered).sum())})
    return rows


def confusion(answers: ModelAnswers, right: list[str | None]) -> dict[tuple[str, str], int]:
    """{(label, predicted class): titles}, of the titles that have both."""
    counts: dict[tuple[str, str], int] = {}
    for row in np.flatnonzero(answers.answered).tolist():
        if right[row] is not None:
            pair = right[row], answers.label(row)
            counts[pair] = counts.get(pair, 0) + 1
    return counts


def classes_of(answers: ModelAnswers) -> np.ndarray:
    """The class name of each row, None where there is none."""
    return np.array([*answers.labels, None], dtype=object)[np.where(answers.answered, answers.codes, -1)]


def show_agreement(run: BatchRun) -> np.ndarray:
    """Show which share of the titles two models agree on.

    Returns:
        The rows that all models answered, but not alike.
    """
    predicted = {name: classes_of(answers) for name, answers in run.answers.items()}
    both = np.all([answers.answered for answers in run.answers.values()], axis=0)
    pairs = []
    for one, other in combinations(predicted, 2):
        same = (predicted[one] == predicted[other])[both]
        pairs.append({"模型": one, "另一个": other, "一致": float(same.mean()) if len(same) else None})
    st.subheader("一致率")
    st.dataframe(pairs, hide_index=True, column_config={"一致": st.column_config.NumberColumn(format="percent")})
    first, *others = predicted.values()
    return np.flatnonzero(both & np.any([first != other for other in others], axis=0))


def show_disagreements(run: BatchRun, rows: np.ndarray, right: list[str | None] | None) -> None:
    st.subheader("不一致的标题")
    more = f"，表中是前 {SHOWN_ROWS:,} 条" if len(rows) > SHOWN_ROWS else ""
    st.caption(f"共 {len(rows):,} 条{more}。")
    shown = rows[:SHOWN_ROWS].tolist()
    table = {"行": [row + 1 for row in shown]}
    if right:
        table["标签"] = [right[row] for row in shown]
    for name, answers in run.answers.items():
        table[f"模型 {name}"] = [f"{answers.label(row)} {answers.confidence[row]:.0%}" for row in shown]
    table["标题"] = [short(run.titles[row]) for row in shown]
    if shown:
        st.dataframe(table, hide_index=True)


def show_confusion(run: BatchRun, right: list[str | None]) -> None:
    st.subheader("混淆矩阵")
    name = st.selectbox("模型", list(run.answers))
    counts = confusion(run.answers[name], right)
    wrong: Counter[str] = Counter()
    for pair, count in counts.items():
        wrong.update(dict.fromkeys(pair, count) if pair[0] != pair[1] else {})
    labels = {label for pair in counts for label in pair}
    labels = sorted(sorted(labels, key=lambda label: (-wrong[label], label))[:SHOWN_CLASSES])
    totals = {label: sum(counts.get((label, other), 0) for other in labels) for label in labels}
    cells = [
        {"row": label, "column": other, "share": count / totals[label], "shown": f"{count:,}"}
        for label in labels
        for other in labels
        if (count := counts.get((label, other), 0))
    ]
    if cells:
        st.altair_chart(matrix(cells, labels, labels, "标签", "预测"), width="stretch")


def compare_many(
    api: Api, models: dict[str, list[str]], run: BatchRun | None, right: list[str | None] | None, running: bool
) -> None:
    """A table or pasted lines through all models; what came of the last ones stands above."""
    show_last(run, right, running)
    given = ask_titles("compare")
    if st.button("开始对比", type="primary", disabled=given is None or running, key="compare_start") and given:
        if run:
            run.stop()
        labels = truth(given, next(iter(models.values())))
        st.session_state.compare_run = BatchRun(api.predict_list, given.titles, models), labels
        st.rerun()


def show_last(run: BatchRun | None, right: list[str | None] | None, running: bool) -> None:
    """The last comparison, or how far it is."""
    if run:
        show_run(run, running, "compare")
        if not running and run.done:
            show_comparison(run, right)
        st.divider()


def show_comparison(run: BatchRun, right: list[str | None] | None) -> None:
    if right and (unknown := right.count(None)):
        st.warning(f"{unknown:,} 条的标签不是模型的类别（名称或序号），不计入准确率。")
    percent = st.column_config.NumberColumn(format="percent")
    numbers = {
        "准确率": percent,
        "平均置信度": percent,
        "毫秒/条": st.column_config.NumberColumn(format="%.2f"),
    }
    st.dataframe(scores(run, right), hide_index=True, column_config=numbers)
    st.caption("毫秒/条：服务器算一批的时间除以条数，各批的中位数。")
    differing = show_agreement(run)
    show_disagreements(run, differing, right)
    if right:
        show_confusion(run, right)


def main() -> None:
    api = st.session_state.api
    run, right = st.session_state.get("compare_run", (None, None))
    running = run is not None and run.running
    st.set_page_config(layout="wide")
    st.title("模型对比")
    answer = api.models()
    models = {model["name"]: model["labels"] for model in answer.get("models", ()) if task_of(model) == TITLES}
    if "error" in answer:
        if not trouble():  # which is said already
            st.error(f"没有得到模型列表。{plain(answer['error'])}")
        show_last(run, right, running)
    elif len(models) < 2:
        st.info(f"这个 API 只有一个模型。{HOW}")
        show_last(run, right, running)
    else:
        one, many = st.tabs(["一条标题", "很多标题"])
        with one:
            compare_one(api, list(models))
        with many:
            compare_many(api, models, run, right, running)


if __name__ == "__main__":
    main()
