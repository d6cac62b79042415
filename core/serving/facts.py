"""Public facts of served models, and the newest benchmark of them."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

from core.files import sha256
from core.model_files.facts import CLASSIFICATION, Facts, licence_of, numbers_of

ROW: tuple[str, ...] = (
    "name",
    "runtime",
    "file",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "macro_f1",
    "size_mb",
    "params",
    "peak_mb",
)
ROW += ("encoder_flops", "cold_start_s", "p50_ms", "p95_ms", "titles_per_s", "ratio_p50", "ratio_throughput")
SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")


def model_facts(name: str, path: Path | None, facts: Facts) -> dict[str, Any]:
    """The public facts of a model: task, stage, sizes, labels, metrics, licence, file and its day; no local path."""
    metrics, best_by = facts.get("metrics") or {}, facts.get("best_by")
    return {
        "name": name,
        "task": facts.get("task", CLASSIFICATION),
        "stage": facts["stage"],
        "architecture": summary(facts["architecture"]),
        "labels": facts["labels"],
        "max_length": facts["max_length"],
        "licence": licence_of(facts),
        "metrics": {split: numbers_of(found, best_by) for split, found in metrics.items() if found},
        "training_rows": (facts.get("training") or {}).get("rows"),
        "made": date.fromtimestamp(path.stat().st_mtime).isoformat() if path else None,
        "sha256": sha256(path) if path else None,
        "size_mb": round(path.stat().st_size / 1e6, 1) if path else None,
    }


def summary(architecture: dict[str, Any]) -> dict[str, Any]:
    """The numbers and words of an architecture, without the rest of a BERT's config."""
    bert = architecture.get("bert_config", {})
    plain = {name: value for name, value in architecture.items() if not isinstance(value, dict)}
    return plain | {name: bert[name] for name in SIZES if name in bert}


def read_benchmark(folder: Path) -> dict[str, Any] | None:
    """Machine, threads and rows of the newest benchmark.json anywhere in a folder, as far as their fields are known.

    None without a readable one. A file is named without its folder.
    """
    for path in sorted(folder.glob("**/benchmark.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            rows = [{name: row[name] for name in ROW if is_plain(row.get(name, ...))} for row in found["rows"]]
            for row in rows:
                row |= {
                    name: re.split(r"[/\\]", row[name])[-1]
                    for name in ("name", "file")
                    if isinstance(row.get(name), str)
                }
            if all(is_plain(found[name]) for name in ("machine", "threads")):
                return {"machine": found["machine"], "threads": found["threads"], "rows": rows}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return None


def is_plain(value: Any) -> bool:
    """Whether a JSON value is one word or one finite number, or null."""
    return value is None or isinstance(value, str | bool) or (isinstance(value, int | float) and abs(value) < 1e300)
