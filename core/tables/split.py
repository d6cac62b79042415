"""Labelled rows shared out among train, dev and test, so that none of a part is met again in another."""

import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

SHARE = 0.1  # of the rows of a class that go to dev, and to test
BRACKETED = re.compile(r"[(（【\[［〔][^(（【\[［〔)）】\]］〕]*[)）】\]］〕]")  # the innermost: linear in any text
SHORTEST = 6  # characters left of a text without its brackets that tell it from others


def near_key(text: str) -> str:
    """What two texts have in common that differ in punctuation, spaces, width, case or what stands in brackets only."""
    bare = _letters(BRACKETED.sub("", text))
    return bare if len(bare) >= SHORTEST else _letters(text) or text


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


def unseen(texts: Iterable[str], known: Iterable[str]) -> list[str]:
    """Texts of which neither a known one nor an earlier one is a near repeat; what is judged is learned from nowhere.

    Args:
        texts: to learn from.
        known: those that models are judged on, and others that are not to be met again.
    """
    found: dict[str, str] = {}
    for text in texts:
        found.setdefault(near_key(text), text)
    seen = set(map(near_key, known))
    return [text for key, text in found.items() if key not in seen]


def group_rows(texts: Sequence[str]) -> list[list[int]]:
    """The rows of each text and its near repeats; linear in the number of texts."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        groups[near_key(text)].append(row)
    return list(groups.values())


def split_rows(texts: Sequence[str], labels: Sequence[str], parts: Sequence[str], seed: int) -> dict[str, list[int]]:
    """Share out rows, stratified by label; repeats and near repeats of a text go to one part.

    Args:
        texts: a text for each row.
        labels: a label for each row.
        parts: names of the small parts; a tenth of the rows of each label goes to each, one text at the least.
        seed: of the shuffle.

    Returns:
        The rows of "train" and of each part, in the order in which they were given.
    """
    by_label: defaultdict[str, list[list[int]]] = defaultdict(list)
    for group in group_rows(texts):
        by_label[Counter(labels[row] for row in group).most_common(1)[0][0]].append(group)
    split: dict[str, list[int]] = {name: [] for name in ("train", *parts)}
    shuffle = random.Random(seed).shuffle
    for label in sorted(by_label):
        groups = by_label[label]
        shuffle(groups)
        groups.sort(key=lambda group: len(group) > 1)  # texts that stand alone first: what is repeated is for train
        wanted = max(1, round(SHARE * sum(map(len, groups))))
        for number, name in enumerate(parts):
            kept, taken, spare = [], 0, len(groups) - len(parts) + number  # one is for each part that follows
            for group in groups:
                if spare and (not taken or taken + len(group) <= wanted):
                    taken, spare = taken + len(group), spare - 1
                    split[name] += group
                else:
                    kept.append(group)
            groups = kept
        split["train"] += [row for group in groups for row in group]
    return {name: sorted(rows) for name, rows in split.items()}
