"""How good predictions are: overall, for each class, as a table."""

from collections.abc import Sequence
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
    """`classification_metrics` as a table, averages last; names stand at the right, as Chinese ones vary in width."""
    lines = ["precision  recall      f1       n  id class"]
    for index, (name, row) in enumerate(metrics["per_class"].items()):
        lines.append(f"{row['precision']:9.4f} {row['recall']:7.4f} {row['f1']:7.4f} {row['n']:7d}  {index:2d} {name}")
    for kind in ("macro", "weighted"):
        precision, recall, f1 = (metrics[f"{kind}_{name}"] for name in SCORES)
        lines.append(f"{precision:9.4f} {recall:7.4f} {f1:7.4f} {metrics['n']:7d}     {kind} average")
    return "\n".join(lines)
