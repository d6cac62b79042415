"""Report of a pruning: the model before and after in figures, as a table and in words."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from core.bert.shape import describe_layers, encoder_flops, layer_shapes
from core.measure.metrics import headline, readable
from core.text.tokenizer import Tokenizer


def figures(
    model: nn.Module, dev: dict[str, Any], best_by: str, size_mb: float, seq_len: int, p50_ms: float
) -> dict[str, Any]:
    """Scores, sizes and speed of a model with a BERT.

    Args:
        model: the model.
        dev: its metrics on the dev data.
        best_by: the one that models are selected by.
        size_mb: of its file.
        seq_len: tokens of a typical row, which FLOPs are counted for.
        p50_ms: the median time of an item alone.
    """
    return {
        **{name: dev[name] for name in (headline(dev, best_by), best_by)},
        "params": sum(parameter.numel() for parameter in model.parameters()),
        "encoder_flops": encoder_flops(model.architecture, seq_len),
        "size_mb": round(size_mb, 3),
        "p50_ms": round(p50_ms, 3),
        "layers": layer_shapes(model.architecture),
        "vocab_size": model.bert.embeddings.word_embeddings.num_embeddings,
    }


def table(before: dict[str, Any], after: dict[str, Any], best_by: str) -> str:
    """Both models side by side."""
    names = dict.fromkeys((headline(before, best_by), best_by))
    rows = [(f"dev {readable(name)}", before[name], after[name], ".4f") for name in names]
    for title, key, form in (
        ("parameters", "params", ",d"),
        ("encoder FLOPs a row", "encoder_flops", ",d"),
        ("file, MB", "size_mb", ".2f"),
        ("ms an item alone, p50", "p50_ms", ".2f"),
    ):
        rows.append((title, before[key], after[key], form))
    lines = [f"{'':<22}{'before':>14}{'after':>14}{'kept':>8}"]
    for title, old, new, form in rows:
        lines.append(f"{title:<22}{old:>14{form}}{new:>14{form}}{f'{new / old:.0%}' if old else '-':>8}")
    return "\n".join(lines)


def unknown_characters(tokenizers: Sequence[Tokenizer], texts: Sequence[str]) -> dict[str, Any]:
    """`dev_characters`, the visible ones in the dev texts, and how many of them each tokenizer does not know."""
    visible = len("".join("".join(texts).split()))
    unknown = [round(tokenizer.unknown_share(texts) * visible) for tokenizer in tokenizers]
    return {"dev_characters": visible, "dev_unknown_characters": unknown}


def describe(report: dict[str, Any]) -> str:
    """A report in words, below its table.

    Args:
        report: `before` and `after` (see `figures`), `best_by`, `ratio_p50`, and what the pruning was.
    """
    before, after, ratio = report["before"], report["after"], f"{report['ratio_p50']:.2f} times as fast"
    lines = [table(before, after, report["best_by"]), ""]
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
