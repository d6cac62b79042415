"""模型信息: what the API says of its models, and how the measured ones compare in accuracy and speed."""

from typing import Any

import streamlit as st

from core.measure.benchmark_report import frontier
from page.charts import SHOWN_CLASSES, frontier_chart
from page.client import fits, plain
from page.served import trouble

STAGES = {
    "teacher": "教师模型（BERT 微调）",
    "soft": "软标签蒸馏的学生模型",
    "soft_bert": "软标签蒸馏的 BERT 学生模型",
    "hard": "硬标签蒸馏的学生模型",
    "hard_bert": "硬标签蒸馏的 BERT 学生模型",
    "pruned": "剪枝模型",
    "structured_pruned": "结构化剪枝模型",
}
ARCHITECTURE = {
    "type": "类型",
    "num_hidden_layers": "层数",
    "hidden_size": "隐藏维度",
    "num_attention_heads": "注意力头数",
    "intermediate_size": "前馈层维度",
    "vocab_size": "词表大小",
    "embedding_dim": "词向量维度",
    "pooling": "池化",
    "dropout": "dropout",
    "quantization": "量化",
    "layers": "剪枝后各层（注意力头/前馈层）",
}
LICENCES = {"unknown": "未知", "research-only": "仅供学习与研究"}
TYPES = {"bert": "BERT", "bilstm": "双向 LSTM"}
SPLITS = {"dev": "验证集", "test": "测试集"}
METRICS = {  # others stand under their own name
    "accuracy": "准确率",
    "macro_f1": "宏平均 F1",
    "macro_precision": "宏平均精确率",
    "macro_recall": "宏平均召回率",
    "weighted_f1": "加权 F1",
    "weighted_precision": "加权精确率",
    "weighted_recall": "加权召回率",
    "loss": "损失",
}
ROW = {"name": str, "runtime": str, "accuracy": float, "p50_ms": float}


def show_model(model: dict[str, Any], default: bool) -> None:
    with st.container(border=True):
        st.subheader(plain(model["name"]) + ("（默认）" if default else ""))
        stage, int8, _ = str(model.get("stage") or "").partition("_int8")
        st.caption(plain(STAGES.get(stage, stage)) + ("，INT8 量化" if int8 else ""))
        more = "……" if len(model["labels"]) > SHOWN_CLASSES else ""
        shown = plain("、".join(model["labels"][:SHOWN_CLASSES]))
        st.caption(f"{len(model['labels'])} 个类别：{shown}{more}")
        scores = known_scores(model.get("metrics"))
        with st.container(horizontal=True, gap="large"):
            for split, values in scores.items():
                name, value = next(iter(values.items()))  # the one that the model was selected by
                st.metric(SPLITS[split] + plain(METRICS.get(name, name)), share(value), width="content")
        st.caption("　".join(plain(f"{name}：{words(value)}") for name, value in origin(model).items()))
        with st.expander("指标、结构与文件"):
            st.table({plain(name): plain(value) for name, value in facts(model, scores).items()}, border="horizontal")
            st.caption("文件的 SHA-256")
            st.code(words(model.get("sha256")), language=None, wrap_lines=True)


def origin(model: dict[str, Any]) -> dict[str, Any]:
    """What a person asks first of a model: how old, of how much data, on what terms, how large."""
    licence = words(model.get("licence"))
    rows = model.get("training_rows")
    found = {"文件日期": model.get("made"), "训练数据": f"{rows:,} 条" if fits(rows, int) else None}
    return found | {"编码器的许可证": LICENCES.get(licence, licence), "大小": f"{words(model.get('size_mb'))} MB"}


def known_scores(metrics: object) -> dict[str, dict[str, float]]:
    """The numbers measured on the splits that the page has a name for, whatever they are."""
    metrics = metrics if isinstance(metrics, dict) else {}
    splits = {split: metrics[split] for split in SPLITS if isinstance(metrics.get(split), dict)}
    numbers = {
        split: {str(name): value for name, value in values.items() if fits(value, float)}
        for split, values in splits.items()
    }
    return {split: values for split, values in numbers.items() if values}


def share(value: float) -> str:
    """A metric for a person: a fraction as a percentage."""
    return f"{value:.2%}" if 0 <= value <= 1 else f"{value:.4g}"


def facts(model: dict[str, Any], scores: dict[str, dict[str, float]]) -> dict[str, str]:
    """What is known of a model."""
    table = {}
    for split, values in scores.items():
        found = [f"{METRICS.get(name, name)} {share(value)}" for name, value in values.items() if name != "n"]
        rows = [f"{values['n']:,.0f} 条"] if "n" in values else []
        table[SPLITS[split]] = "，".join([*rows, *found])
    architecture = model.get("architecture")
    for name, value in architecture.items() if isinstance(architecture, dict) else ():
        if name in ARCHITECTURE:
            table[ARCHITECTURE[name]] = words(value)
    table["最大长度"] = f"{words(model.get('max_length'))} 个 token"
    return table


def words(value: object) -> str:
    """A value for a person."""
    if value is None:
        return "未知"
    if fits(value, [{"heads": int, "ffn": int}]):
        return "  ".join(f"{layer['heads']}/{layer['ffn']}" for layer in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return TYPES.get(value, value) if isinstance(value, str) else str(value)


def measured(benchmark: object) -> list[dict[str, Any]]:
    """The rows of a benchmark that have an accuracy and a latency."""
    rows = benchmark.get("rows") if isinstance(benchmark, dict) else None
    return [row for row in rows if fits(row, ROW) and row["p50_ms"] > 0] if isinstance(rows, list) else []


def show_benchmark(benchmark: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    st.subheader("准确率与速度")
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
        if not trouble():  # which is said already
            st.error(f"没有得到模型信息。{plain(answer['error'])}")
        return
    benchmark = answer.get("benchmark")
    if rows := measured(benchmark):
        show_benchmark(benchmark, rows)
    st.subheader("正在服务的模型")
    for model in answer["models"]:
        show_model(model, model["name"] == answer.get("default"))
    if not rows:
        st.info("还没有准确率与速度的测量结果：在 API 所在的文件夹运行 `python benchmark.py`，再刷新这个页面。")


if __name__ == "__main__":
    main()
