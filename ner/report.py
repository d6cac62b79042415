"""Report on labelled sentences before a model is trained on them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.files import atomic_write
from core.tables.split import near_key
from core.text.tokenizer import Tokenizer
from ner.tags import count_types
from ner.units import encode, entities_in_units

if TYPE_CHECKING:
    from ner.data import Sentences

MAX_EXAMPLES = 10
MIN_SEEN = 3  # times that a string is an entity, before its other places look like faults
MIN_LENGTH = 2  # characters of such a string


def check(types: Sequence[str], splits: Mapping[str, "Sentences"], tokenizer: Tokenizer, folder: Path) -> str:
    """What a data set is like, as text; it is written to report.txt in a folder too."""
    parts = [_counts(types, splits), _lengths(splits, tokenizer), _leaks(splits), _contested(splits), _missed(splits)]
    report = "\n\n".join(parts) + "\n"
    atomic_write(folder / "report.txt", lambda file: file.write(report.encode()))
    return f"{report}\nwrote report.txt to {folder}"


def _counts(types: Sequence[str], splits: Mapping[str, "Sentences"]) -> str:
    """Entities of each type in each split, and their share."""
    counts = {name: count_types(split.entities) for name, split in splits.items()}
    lines = ["entities   " + "".join(f"{name:>16}" for name in splits) + "  type"]
    for label in types:
        cells = (f"{count[label]:8d} ({count[label] / max(count.total(), 1):5.1%})" for count in counts.values())
        lines.append(" " * 11 + "".join(f"{cell:>16}" for cell in cells) + f"  {label}")
    lines.append("all        " + "".join(f"{count.total():>16,}" for count in counts.values()))
    lines.append("sentences  " + "".join(f"{len(split):>16,}" for split in splits.values()))
    without = (sum(not entities for entities in split.entities) / len(split) for split in splits.values())
    lines.append("no entity  " + "".join(f"{share:>16.1%}" for share in without))
    return "\n".join(lines)


def _lengths(splits: Mapping[str, "Sentences"], tokenizer: Tokenizer) -> str:
    """Characters, windows, unknown characters, and entities that end within a unit."""
    lines = []
    for name, split in splits.items():
        rows = encode(split.items, tokenizer)
        lengths = np.array(list(map(len, split.items)))
        p50, p95 = np.percentile(lengths, (50, 95))
        windows = Counter(rows.sentences)
        longer = sum(count > 1 for count in windows.values())
        pairs = zip(split.entities, rows.units, strict=True)
        inside = sum(entities_in_units(entities, units)[1] for entities, units in pairs)
        unknown = sum(ids.count(tokenizer.unknown_id) for ids in rows.columns["input_ids"])
        share = unknown / max(1, sum(map(len, rows.columns["input_ids"])))
        lines.append(
            f"{name}: characters p50 {p50:.0f}, p95 {p95:.0f}, longest {lengths.max()}; {longer} sentence(s) longer "
            f"than the encoder, read in overlapping windows, none cut; {share:.2%} of the tokens unknown; {inside} "
            "entities end within a word or number, which no model can tell to the character"
        )
    return "\n".join(lines)


def _leaks(splits: Mapping[str, "Sentences"]) -> str:
    """Sentences in two splits, near repeats included."""
    texts = {name: {near_key(text): text for text in split.items} for name, split in splits.items()}
    lines = []
    for one, other in combinations(splits, 2):
        shared = sorted(texts[other][key] for key in texts[one].keys() & texts[other].keys())
        examples = "".join(f"\n    {text}" for text in shared[:3])
        lines.append(f"sentences both in {one} and {other}: {len(shared)}, near repeats included{examples}")
    return "\n".join(lines)


def _contested(splits: Mapping[str, "Sentences"]) -> str:
    """Strings with several types."""
    types: dict[str, Counter[str]] = defaultdict(Counter)
    for split in splits.values():
        for text, entities in zip(split.items, split.entities, strict=True):
            for start, end, label in entities:
                types[text[start:end]][label] += 1
    contested = {string: count for string, count in types.items() if len(count) > 1}
    first = sorted(contested, key=lambda string: -contested[string].total())[:MAX_EXAMPLES]
    lines = [f"strings with more than one type: {len(contested)} of {len(types)}"]
    lines += [
        f"    {string}: {', '.join(f'{label} {n}' for label, n in contested[string].most_common())}" for string in first
    ]
    return "\n".join(lines)


def _missed(splits: Mapping[str, "Sentences"]) -> str:
    """Places where a string that is an entity elsewhere stands without a label: likely faults of the labels."""
    seen: Counter[str] = Counter()
    for split in splits.values():
        for text, entities in zip(split.items, split.entities, strict=True):
            seen.update(text[start:end] for start, end, _ in entities)
    usual = {string for string, count in seen.items() if count >= MIN_SEEN and len(string) >= MIN_LENGTH}
    lengths, found = sorted({len(string) for string in usual}, reverse=True), []
    total: Counter[str] = Counter()
    for name, split in splits.items():
        for text, entities in zip(split.items, split.entities, strict=True):
            taken = {place for start, end, _ in entities for place in range(start, end)}
            for start in range(len(text)):
                for string in (text[start : start + length] for length in lengths):
                    places = range(start, start + len(string))
                    if string in usual and taken.isdisjoint(places):
                        total[string] += 1
                        found.append((string, name, text))
                        taken.update(places)
                        break
    likely = [each for each in found if seen[each[0]] > total[each[0]]]  # more often labelled than not
    likely.sort(key=lambda each: total[each[0]] / seen[each[0]])
    lines = [f"likely label faults, places without a label of a string that has mostly one: {len(likely)}"]
    lines += [
        f"    {string} ({seen[string]} labelled, {total[string]} not) {name}: {text}"
        for string, name, text in likely[:MAX_EXAMPLES]
    ]
    return "\n".join(lines)
