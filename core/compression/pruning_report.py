"""What pruning cost and gained: a model in figures before and after, as a table and in words."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from core.compression.structured_pruning import describe_layers, encoder_flops, layer_shapes
from core.text.tokenizer import Encoder


def figures(model: nn.Module, dev: dict[str, Any], size_mb: float, seq_len: int, p50_ms: float) -> dict[str, Any]:
    """A BERT classifier in figures.

    Args:
        model: the model.
        dev: its `classification_metrics` on the dev data.
        size_mb: of its file.
        seq_len: tokens of a typical title, which FLOPs are counted for.
        p50_ms: the median time of a title alone.
    """
    return {
        "accuracy": dev["accuracy"],
        "macro_f1": dev["macro_f1"],
        "params": sum(parameter.numel() for parameter in model.parameters()),
        "encoder_flops": encoder_flops(model.architecture, seq_len),
        "size_mb": round(size_mb, 3),
        "p50_ms": round(p50_ms, 3),
        "layers": layer_shapes(model.architecture),
        "vocab_size": model.bert.embeddings.word_embeddings.num_embeddings,
    }


def table(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Both models side by side."""
    rows = (
        ("dev accuracy", "accuracy", ".4f"),
        ("dev macro-F1", "macro_f1", ".4f"),
        ("parameters", "params", ",d"),
        ("encoder FLOPs a title", "encoder_flops", ",d"),
        ("file, MB", "size_mb", ".2f"),
        ("ms a title alone, p50", "p50_ms", ".2f"),
    )
    lines = [f"{'':<22}{'before':>14}{'after':>14}{'kept':>8}"]
    for title, key, form in rows:
        kept = f"{after[key] / before[key]:.0%}" if before[key] else "-"
        lines.append(f"{title:<22}{before[key]:>14{form}}{after[key]:>14{form}}{kept:>8}")
    return "\n".join(lines)


def unknown_characters(encoders: Sequence[Encoder], texts: Sequence[str]) -> dict[str, Any]:
    """`dev_characters`, the visible ones in the dev titles, and how many of them each encoder does not know."""
    visible = len("".join("".join(texts).split()))
    unknown = [round(encoder.unknown_share(texts) * visible) for encoder in encoders]
    return {"dev_characters": visible, "dev_unknown_characters": unknown}


def describe(report: dict[str, Any]) -> str:
    """A report in words, below its table.

    Args:
        report: `before` and `after` (see `figures`), `ratio_p50`, and what the pruning was.
    """
    before, after, ratio = report["before"], report["after"], f"{report['ratio_p50']:.2f} times as fast"
    lines = [table(before, after), ""]
    if report["method"] == "unstructured":
        lines += [
            f"{report['sparsity_in_scope']:.1%} of the weights in scope ({report['scope']}) are zero, "
            f"{report['sparsity']:.1%} of the whole model",
            f"measured {ratio}: a zero is stored and multiplied like any number, so dense kernels run no faster and "
            "the file is no smaller; for a faster model cut it: --keep-flops 0.5",
        ]
        return "\n".join(lines)
    lines += [f"measured {ratio}; {describe_layers(after)}"]
    if after["vocab_size"] < before["vocab_size"]:
        characters, unknown = report["dev_characters"], report["dev_unknown_characters"]
        lines.append(
            f"{before['vocab_size'] - after['vocab_size']:,} of {before['vocab_size']:,} tokens removed: "
            f"{unknown[1] - unknown[0]} more of the {characters:,} characters in the dev titles are [UNK]"
        )
    return "\n".join(lines)
