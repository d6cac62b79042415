"""Report on labelled texts before a model is trained on them, to read and as a picture.

Between two files near repeats count as the same title, which differ in punctuation, spaces, width, case or what stands
in brackets only; within a file, and where labels contradict each other, exact text does.
"""

import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.console import quoted
from core.files import atomic_write
from core.measure.data_faults import Splits, contested_titles, find_stops, shared_titles
from core.measure.plots import draw_data_set
from core.text.tokenizer import MAX_UNKNOWN_SHARE, Tokenizer, read_vocab

MAX_SHIFT = 0.1  # of the rows of a file may be of other classes than train.txt would have them
MAX_CUT_SHARE = 0.01  # of the titles of a file; more of them cut is worth a look
MAX_SHARED_EXAMPLES = 5
MAX_LABEL_EXAMPLES = 10
MAX_CHARACTERS = 20
CHUNK = 10_000  # titles encoded at once, to keep memory small


@dataclass
class Tokens:
    """The titles of a split in tokens.

    Attributes:
        lengths: (titles,) int, tokens of each, [CLS] and [SEP] included, nothing cut.
        unknown_share: the share of the visible characters, 0 to 1, that become [UNK].
        unknown: how often each character that the vocabulary lacks occurs.
    """

    lengths: np.ndarray
    unknown_share: float
    unknown: Counter[str]


def measure_tokens(texts: Sequence[str], tokenizer: Tokenizer) -> Tokens:
    """Measure titles with a tokenizer; its `max_length` should be larger than any of them."""
    lengths: list[int] = []
    visible = unknown = 0.0
    characters: Counter[str] = Counter()
    for start in range(0, len(texts), CHUNK):
        chunk = texts[start : start + CHUNK]
        encoded = tokenizer.encode(chunk).input_ids
        lengths += map(len, encoded)
        visible += _count_visible(chunk)
        affected = [text for text, ids in zip(chunk, encoded, strict=True) if tokenizer.unknown_id in ids]
        unknown += tokenizer.unknown_share(affected) * _count_visible(affected)
        characters.update("".join(affected))
    alone = tokenizer.encode(list(characters)).input_ids
    lacking = [character for character, ids in zip(characters, alone, strict=True) if tokenizer.unknown_id in ids]
    unknown_characters = Counter({character: characters[character] for character in lacking})
    return Tokens(np.array(lengths), unknown / max(visible, 1), unknown_characters)


def _count_visible(texts: Sequence[str]) -> int:
    return len("".join("".join(texts).split()))


def check(
    labels: Sequence[str], splits: Splits, vocab: Path, max_length: int, folder: Path, train_flags: Sequence[str]
) -> tuple[str, list[str]]:
    """Examine a data set, and write report.txt and data.png.

    Args:
        labels: class names in the order of their ids.
        splits: "train", "dev" and, where there is one, "test".
        vocab: the `vocab.txt` that counts tokens.
        max_length: tokens that training keeps of a title, [CLS] and [SEP] included.
        folder: where the two files go.
        train_flags: what train.py needs to be told to train on this data.

    Returns:
        The report, less the rows and warnings of each file, which stand at its top and which reading has printed; and
        why nothing sensible can be trained on it, a phrase each.

    Raises:
        UserError: the vocabulary cannot be used, or a file cannot be written.
    """
    tokenizer = Tokenizer(read_vocab(vocab), sys.maxsize)  # nothing is cut
    tokens = {name: measure_tokens(titles.texts, tokenizer) for name, titles in splits.items()}
    report, phrases = describe(labels, splits, tokens, max_length, vocab)
    train_command = " ".join(["python train.py", *map(quoted, train_flags)])
    stops = find_stops(labels, splits)
    if stops:
        report += "\n\nnot to be trained on:\n  " + "\n  ".join(stops)
    elif phrases:
        listed = "\n  ".join(phrases)
        report += f"\n\nlook at these first:\n  {listed}\nthen train: {train_command}"
    else:
        report += f"\n\nready to train: {train_command}"
    files = ""
    for name, titles in splits.items():
        files += f"{name}.txt: {len(titles.texts)} titles\n"
        files += "".join(f"  warning: {warning}\n" for warning in titles.warnings)
    atomic_write(folder / "report.txt", lambda file: file.write(f"{files}\n{report}\n".encode()))
    lengths = {name: measured.lengths for name, measured in tokens.items()}
    draw_data_set(labels, _class_counts(labels, splits), lengths, max_length, folder / "data.png")
    return report, stops


def describe(
    labels: Sequence[str], splits: Splits, tokens: Mapping[str, Tokens], max_length: int, vocab: Path
) -> tuple[str, list[str]]:
    """Put all that was found into words.

    Args:
        labels: class names in the order of their ids.
        splits: "train", "dev" and, where there is one, "test".
        tokens: what `measure_tokens` said of each split.
        max_length: tokens that training keeps of a title, [CLS] and [SEP] included.
        vocab: where the vocabulary is from.

    Returns:
        The report, and what in it should be looked at before training, a phrase each.
    """
    sections = (
        _describe_classes(labels, splits),
        _describe_repeats(splits),
        _describe_contested(labels, contested_titles(splits)),
        _describe_tokens(tokens, max_length, vocab),
    )
    return "\n\n".join("\n".join(lines) for lines, _ in sections), [phrase for _, found in sections for phrase in found]


def _describe_classes(labels: Sequence[str], splits: Splits) -> tuple[list[str], list[str]]:
    counts = _class_counts(labels, splits)
    lines = ["rows of each class", "".join(f"{name:>8}" for name in splits) + "   id class"]
    for index, label in enumerate(labels):
        lines.append("".join(f"{count[index]:8d}" for count in counts.values()) + f"  {index:3d} {label}")
    lines.append("".join(f"{count.sum():8d}" for count in counts.values()) + "      all")
    present = sorted((count, label) for count, label in zip(counts["train"], labels, strict=True) if count)
    (least, rarest), (most, commonest) = present[0], present[-1]
    lines.append(f"imbalance of train: {most / least:.1f} ({commonest} has {most} rows, {rarest} {least})")
    phrases = []
    for name, count in counts.items():
        absent = [labels[index] for index in np.flatnonzero(count == 0).tolist()]
        if absent:
            more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
            phrases.append(f"{name} has no row of class {', '.join(absent[:5])}{more}")
        shift = np.abs(count / count.sum() - counts["train"] / counts["train"].sum()).sum() / 2  # total variation
        if shift > max(MAX_SHIFT, math.sqrt(len(labels) / count.sum())):  # the root: over twice what chance makes of it
            phrases.append(
                f"the classes are shared out otherwise in {name} than in train ({shift:.0%} of the rows): "
                "what is best on it need not be best in use"
            )
    return lines, phrases


def _class_counts(labels: Sequence[str], splits: Splits) -> dict[str, np.ndarray]:
    return {name: np.bincount(titles.labels, minlength=len(labels)) for name, titles in splits.items()}


def _describe_repeats(splits: Splits) -> tuple[list[str], list[str]]:
    lines = ["rows that repeat an earlier row of their file"]
    for name, titles in splits.items():
        repeated = [text for text, count in Counter(titles.texts).items() if count > 1]
        lines.append(f"  {name}: {len(titles.texts) - len(set(titles.texts))}")
        lines += [f"    {_quote(text)}" for text in repeated[:MAX_SHARED_EXAMPLES]]
    lines += ["", "titles that stand in two files, near repeats included (the model has met what it is judged on)"]
    phrases = []
    for (one, other), shared in shared_titles(splits).items():
        lines.append(f"  {one} and {other}: {len(shared)}")
        lines += [f"    {_quote(text)}" for text in shared[:MAX_SHARED_EXAMPLES]]
        if shared:
            phrases.append(f"{one} and {other} share {len(shared)} title(s), which inflates scores: drop one of each")
    return lines, phrases


def _describe_contested(
    labels: Sequence[str], contested: dict[str, dict[int, list[str]]]
) -> tuple[list[str], list[str]]:
    in_train = sum(sum("train" in names for names in found.values()) > 1 for found in contested.values())
    lines = [f"titles with two labels: {in_train} within train, {len(contested) - in_train} in or across other files"]
    for text, found in list(contested.items())[:MAX_LABEL_EXAMPLES]:
        sides = " / ".join(f"{labels[label]} ({', '.join(names)})" for label, names in found.items())
        lines.append(f"  {sides}: {_quote(text)}")
    return lines, [f"{len(contested)} title(s) have two labels: which is right?"] if contested else []


def _describe_tokens(tokens: Mapping[str, Tokens], max_length: int, vocab: Path) -> tuple[list[str], list[str]]:
    lines = [
        f"tokens of a title, [CLS] and [SEP] included; characters that become [UNK] (vocabulary: {vocab})",
        f"{'median':>8}{'95 %':>8}{'99 %':>8}{'longest':>9}{f'cut at {max_length}':>12}{'[UNK]':>9}  file",
    ]
    cut, lacking = [], []
    unknown: Counter[str] = Counter()
    for name, measured in tokens.items():
        numbers = np.percentile(measured.lengths, (50, 95, 99, 100), method="inverted_cdf")
        cut_share = (measured.lengths > max_length).mean()
        row = "{:8d}{:8d}{:8d}{:9d}".format(*numbers)
        lines.append(f"{row}{cut_share:12.2%}{measured.unknown_share:9.2%}  {name}")
        unknown += measured.unknown
        if cut_share > MAX_CUT_SHARE:
            cut.append(f"{cut_share:.1%} of {name}")
        if measured.unknown_share > MAX_UNKNOWN_SHARE:
            lacking.append(f"{measured.unknown_share:.1%} of {name}")
    if unknown:
        most = (f"{_printable(character)} {count}" for character, count in unknown.most_common(MAX_CHARACTERS))
        lines.append(f"most frequent of {len(unknown)} unknown characters: {', '.join(most)}")
    phrases = []
    if cut:
        phrases.append(f"titles cut at {max_length} tokens: {', '.join(cut)}: raise --max-length")
    if lacking:
        phrases.append(f"characters not in the vocabulary: {', '.join(lacking)}: choose a BERT that knows them")
    return lines, phrases


def _quote(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")


def _printable(character: str) -> str:
    return character if character.isprintable() else f"U+{ord(character):04X}"
