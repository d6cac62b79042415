"""How good predictions are: overall, for each class, as a table."""

from collections.abc import Sequence
from typing import Any


def classification_metrics(true: Sequence[int], predicted: Sequence[int], labels: Sequence[str]) -> dict[str, Any]:
    """`accuracy`, `macro_f1`, `n` and `per_class` {name: precision, recall, f1, n}, fractions 0 to 1.

    Macro-F1 is the mean F1 of the classes that have a row in `true`.
    """
    from sklearn.metrics import precision_recall_fscore_support

    scores = precision_recall_fscore_support(true, predicted, labels=range(len(labels)), zero_division=0.0)
    per_class = {
        name: {"precision": float(precision), "recall": float(recall), "f1": float(f1), "n": int(n)}
        for name, precision, recall, f1, n in zip(labels, *scores, strict=True)
    }
    present = [row["f1"] for row in per_class.values() if row["n"]]
    correct = sum(one == other for one, other in zip(true, predicted, strict=True))
    return {
        "accuracy": correct / len(true),
        "macro_f1": sum(present) / len(present),
        "n": len(true),
        "per_class": per_class,
    }


def metrics_table(metrics: dict[str, Any]) -> str:
    """The classes of `classification_metrics` as a table; names stand last, since Chinese ones have no fixed width."""
    lines = ["precision  recall      f1       n  id class"]
    for index, (name, row) in enumerate(metrics["per_class"].items()):
        lines.append(f"{row['precision']:9.4f} {row['recall']:7.4f} {row['f1']:7.4f} {row['n']:7d}  {index:2d} {name}")
    return "\n".join(lines)
