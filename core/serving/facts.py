"""Public facts of served models, and the newest benchmark of them."""

import json
from pathlib import Path
from typing import Any

from core.files import sha256
from core.model_files.facts import CLASSIFICATION, Facts, licence_of, numbers_of

SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")


def model_facts(name: str, path: Path | None, facts: Facts) -> dict[str, Any]:
    """The public facts of a model: task, stage, sizes, labels, metrics, licence, its file; no local path."""
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
        "sha256": sha256(path) if path else None,
        "size_mb": round(path.stat().st_size / 1e6, 1) if path else None,
    }


def summary(architecture: dict[str, Any]) -> dict[str, Any]:
    """The numbers and words of an architecture, without the rest of a BERT's config."""
    bert = architecture.get("bert_config", {})
    plain = {name: value for name, value in architecture.items() if not isinstance(value, dict)}
    return plain | {name: bert[name] for name in SIZES if name in bert}


def read_benchmark(folder: Path) -> dict[str, Any] | None:
    """Machine, threads and rows of the newest benchmark.json anywhere in a folder; None without a readable one."""
    for path in sorted(folder.glob("**/benchmark.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            kept = {name: found[name] for name in ("machine", "threads", "rows")}
            json.dumps(kept, allow_nan=False)  # which an answer of the API cannot hold
            return kept
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return None
