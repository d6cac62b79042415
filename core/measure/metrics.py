"""Classification metrics: overall, for each class, as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

SCORES = ("precision", "recall", "f1")


def classification_metrics(true: Sequence[int], predicted: Sequence[int], labels: Sequence[str]) -> dict[str, Any]:
    """`accuracy`, `n`, `per_class` {name: precision, recall, f1, n} and its averages, fractions 0 to 1.

    The averages are `macro_precision`, `macro_recall`, `macro_f1`, in which the classes that have a row in `true` count
    alike, and `weighted_precision`, `weighted_recall`, `weighted_f1`, in which they count by their rows.
    """
    from sklearn.metrics import precision_recall_fscore_support

    scores = precision_recall_fscore_support(true, predicted, labels=range(len(labels)), zero_division=0.0)
    per_class = {
        name: {"precision": float(precision), "recall": float(recall), "f1": float(f1), "n": int(n)}
        for name, precision, recall, f1, n in zip(labels, *scores, strict=True)
    }
    present = [row for row in per_class.values() if row["n"]]
    averages = {f"macro_{name}": sum(row[name] for row in present) / len(present) for name in SCORES}
    averages |= {f"weighted_{name}": sum(row["n"] * row[name] for row in present) / len(true) for name in SCORES}
    correct = sum(one == other for one, other in zip(true, predicted, strict=True))
    return {
        "accuracy": correct / len(true),
        **averages,
        "n": len(true),
        "per_class": per_class,
    }


def metrics_table(metrics: dict[str, Any]) -> str:
    """Metrics as a table: of each class, averages last; without classes one number a line.

    Names stand at the right, as Chinese ones vary in width.
    """
    if "per_class" not in metrics:
        return "\n".join(f"{value:9.4f} {name}" for name, value in metrics.items() if isinstance(value, float))
    lines = ["precision  recall      f1       n  id class"]
    for index, (name, row) in enumerate(metrics["per_class"].items()):
        lines.append(f"{row['precision']:9.4f} {row['recall']:7.4f} {row['f1']:7.4f} {row['n']:7d}  {index:2d} {name}")
    for prefix, kind in {"": "all together", "macro_": "macro average", "weighted_": "weighted average"}.items():
        if f"{prefix}f1" in metrics:
            precision, recall, f1 = (metrics[f"{prefix}{name}"] for name in SCORES)
            n = sum(row["n"] for row in metrics["per_class"].values())
            lines.append(f"{precision:9.4f} {recall:7.4f} {f1:7.4f} {n:7d}     {kind}")
    return "\n".join(lines)


def headline(metrics: Mapping[str, Any], best_by: str) -> str:
    """The metric that a model is first judged by: accuracy where that is one, else the one it is selected by."""
    return "accuracy" if "accuracy" in metrics else best_by


def in_words(metrics: dict[str, Any], best_by: str) -> str:
    """`accuracy 0.8125, macro-F1 0.8135`: the headline, and the metric that models are selected by."""
    names = dict.fromkeys((headline(metrics, best_by), best_by))
    return ", ".join(f"{readable(name)} {metrics[name]:.4f}" for name in names)


def readable(name: str) -> str:
    """`macro_f1` -> `macro-F1`."""
    return name.replace("_f1", "-F1").replace("_", " ")
