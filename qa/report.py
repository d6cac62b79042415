"""Report on labelled questions before a model is trained on them."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.console import listed
from core.files import atomic_write
from core.tables.split import near_key
from core.text.pairs import visible_units
from core.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from qa.data import Questions

MAX_EXAMPLES = 3


def check(splits: Mapping[str, "Questions"], tokenizer: Tokenizer, folder: Path) -> str:
    """What a data set is like, as text; it is written to report.txt in a folder too."""
    parts = [_counts(splits), _lengths(splits, tokenizer), _answers(splits), _leaks(splits), _contested(splits)]
    parts += [_lost(splits)]
    report = "\n\n".join(parts) + "\n"
    atomic_write(folder / "report.txt", lambda file: file.write(report.encode("utf-8", "replace")))
    return f"{report}\nwrote report.txt to {folder}"


def _counts(splits: Mapping[str, "Questions"]) -> str:
    """Questions, passages and answers of each split."""
    rows = {
        "questions": [len(split) for split in splits.values()],
        "passages": [len({item.context for item in split.items}) for split in splits.values()],
        "references": [sum(map(len, split.answers)) for split in splits.values()],
        "without answer": [sum(not own for own in split.answers) for split in splits.values()],
    }
    lines = [" " * 16 + "".join(f"{name:>10}" for name in splits)]
    lines += [f"{name:<16}" + "".join(f"{count:>10,}" for count in counts) for name, counts in rows.items()]
    return "\n".join(lines)


def _lengths(splits: Mapping[str, "Questions"], tokenizer: Tokenizer) -> str:
    """Characters of passages, windows, unknown tokens, and answers that end within a unit."""
    from qa.data import encode, span_in_units

    lines = []
    for name, split in splits.items():
        lengths = [len(context) for context in {item.context for item in split.items}]
        p50, p95 = np.percentile(lengths, (50, 95))
        rows = encode(split.items, tokenizer)
        windows = Counter(rows.pairs)
        first = dict(reversed(list(zip(rows.pairs, rows.units, strict=True))))
        inside = beyond = 0
        for pair, spans in enumerate(split.spans):
            units = rows.places[pair]
            if not spans or not (ends := span_in_units(spans[0], units)):
                continue
            inside += (units[ends[0]][0], units[ends[1]][1]) != spans[0]
            beyond += ends[1] > max(first[pair])
        ids = rows.columns["input_ids"]
        unknown = sum(row.count(tokenizer.unknown_id) for row in ids) / max(1, sum(map(len, ids)))
        known = max(1, sum(map(bool, split.spans)))
        lines.append(
            f"{name}: characters of a passage p50 {p50:.0f}, p95 {p95:.0f}, longest {max(lengths)}; "
            f"{len(ids) / len(split):.2f} windows a question, up to {max(windows.values())}; {beyond / known:.1%} of "
            f"the answers end beyond the first; {unknown:.2%} of the tokens unknown; {inside} answers end within a "
            f"word or number, which no model can tell to the character; {sum(rows.truncated)} questions are cut"
        )
    return "\n".join(lines)


def _answers(splits: Mapping[str, "Questions"]) -> str:
    """How long answers are, in units, and how many stand more than once in their passage."""
    lines = []
    for name, split in splits.items():
        known = [(item.context, *spans[0]) for item, spans in zip(split.items, split.spans, strict=True) if spans]
        lengths = [len(visible_units(context[start:end])) for context, start, end in known]
        if not lengths:
            continue
        shown = "  ".join(f"p{share} {np.percentile(lengths, share):.0f}" for share in (50, 90, 95, 99, 100))
        twice = sum(context.count(context[start:end]) > 1 for context, start, end in known) / len(known)
        lines.append(f"{name}: units of an answer {shown}; {twice:.1%} stand more than once in their passage")
    return "\n".join(lines)


def _leaks(splits: Mapping[str, "Questions"]) -> str:
    """Passages and questions in two splits, near repeats included."""
    lines = []
    for one, other in combinations(splits, 2):
        for at, what in enumerate(("questions", "passages")):
            texts = [{near_key(item[at]): item[at] for item in splits[name].items} for name in (one, other)]
            shared = sorted(texts[1][key] for key in texts[0].keys() & texts[1].keys())
            examples = "".join(f"\n    {text[:60]}" for text in shared[:MAX_EXAMPLES])
            lines.append(f"{what} both in {one} and {other}: {len(shared)}, near repeats included{examples}")
    return "\n".join(lines)


def _contested(splits: Mapping[str, "Questions"]) -> str:
    """The same question about the same passage, answered differently."""
    answers: dict[tuple[str, str], set[tuple[str, ...]]] = defaultdict(set)
    for split in splits.values():
        for item, own in zip(split.items, split.answers, strict=True):
            answers[item].add(tuple(sorted(own)))
    contested = [(item, own) for item, own in answers.items() if len(own) > 1]
    lines = [f"questions that are asked twice about a passage and answered differently: {len(contested)}"]
    lines += [f"    {item[0]}: {' / '.join(map(' | '.join, sorted(own)))}" for item, own in contested[:MAX_EXAMPLES]]
    return "\n".join(lines)


def _lost(splits: Mapping[str, "Questions"]) -> str:
    """Answers that their passage does not have where they should be."""
    notes = [f"{name} {note}" for name, split in splits.items() for note in split.notes]
    return f"answers that stand neither at their answer_start nor once nearby: {len(notes)}{listed(notes)}"
