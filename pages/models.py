"""模型信息: what the API says of its models, and how the measured ones compare in accuracy and speed."""

from typing import Any

import streamlit as st

from core.api_client import fits, plain
from core.benchmark_report import frontier
from core.page_charts import frontier_chart

STAGES = {
    "teacher": "教师模型（BERT 微调）",
    "soft": "软标签蒸馏的学生模型",
    "hard": "硬标签蒸馏的学生模型",
    "int8": "INT8 量化模型",
    "pruned": "剪枝模型",
}
ARCHITECTURE = {
    "kind": "类型",
    "num_hidden_layers": "层数",
    "hidden_size": "隐藏维度",
    "num_attention_heads": "注意力头数",
    "intermediate_size": "前馈层维度",
    "vocab_size": "词表大小",
    "embedding_size": "词向量维度",
    "num_layers": "层数",
    "num_labels": "类别数",
    "dropout": "Dropout",
    "pooling": "池化",
}
SPLITS = {"dev": "验证集", "test": "测试集"}
SCORES = {"accuracy": float, "macro_f1": float, "n": int}
ROW = {"name": str, "runtime": str, "accuracy": float, "p50_ms": float}


def show_model(model: dict[str, Any], default: bool) -> None:
    with st.container(border=True):
        st.subheader(plain(model["name"]) + ("（默认）" if default else ""))
        st.caption(plain(STAGES.get(str(model.get("stage")), model.get("stage") or "")))
        show_scores(model.get("metrics"))
        st.dataframe(facts(model), hide_index=True)


def show_scores(metrics: object) -> None:
    metrics = metrics if isinstance(metrics, dict) else {}
    known = {split: scores for split, scores in metrics.items() if split in SPLITS and fits(scores, SCORES)}
    with st.container(horizontal=True, gap="large"):
        for split, scores in known.items():
            name, n = SPLITS[split], f"{scores['n']:,} 条"
            st.metric(f"{name}准确率（{n}）", f"{scores['accuracy']:.2%}", width="content")
            st.metric(f"{name}宏平均 F1", f"{scores['macro_f1']:.2%}", width="content")


def facts(model: dict[str, Any]) -> dict[str, list[str]]:
    """A table of two columns."""
    rows = {"类别": "、".join(model["labels"])}
    architecture = model.get("architecture")
    for name, value in architecture.items() if isinstance(architecture, dict) else ():
        rows[ARCHITECTURE.get(name, name)] = words(value)
    if fits(model, {"params": int}):
        rows["参数量"] = f"{model['params']:,}"
    rows["最大长度（token）"] = words(model.get("max_length"))
    rows["文件大小（MB）"] = words(model.get("size_mb"))
    rows["文件的 SHA-256"] = words(model.get("sha256"))
    return {"项目": list(rows), "内容": list(rows.values())}


def words(value: object) -> str:
    """A value for a person."""
    if value is None:
        return "未知"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def show_benchmark(benchmark: object) -> None:
    st.subheader("准确率与速度")
    rows = benchmark.get("rows") if isinstance(benchmark, dict) else None
    rows = [row for row in rows if fits(row, ROW) and row["p50_ms"] > 0] if isinstance(rows, list) else []
    if not rows:
        st.info("还没有测量结果：在 API 所在的文件夹运行 `python benchmark.py`，再刷新这个页面。")
        return
    best = frontier(rows)
    st.altair_chart(frontier_chart(rows, best), width="stretch")
    st.caption(f"在 {plain(benchmark.get('machine'))} 上测得，{plain(benchmark.get('threads'))} 个线程。越靠左上越好。")
    st.dataframe(
        [
            {
                "模型": row["name"],
                "运行时": row["runtime"],
                "准确率": row["accuracy"],
                "p50（毫秒）": row["p50_ms"],
                "最优": row in best,
            }
            for row in sorted(rows, key=lambda row: row["p50_ms"])
        ],
        hide_index=True,
        column_config={
            "准确率": st.column_config.NumberColumn(format="percent"),
            "p50（毫秒）": st.column_config.NumberColumn(format="%.2f"),
        },
    )


def main() -> None:
    st.title("模型信息")
    answer = st.session_state.api.models()
    if "error" in answer:
        st.error(f"没有得到模型信息。{plain(answer['error'])}")
        return
    for model in answer["models"]:
        show_model(model, model["name"] == answer.get("default"))
    show_benchmark(answer.get("benchmark"))


if __name__ == "__main__":
    main()
