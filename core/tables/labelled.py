"""Labelled texts out of tables: their columns found, labels cleaned, faults told before anything is written."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.answers import text_fault
from core.console import UserError, shorten
from core.tables.cells import cell_text, join_cells
from core.tables.columns import LABEL_NAMES, TEXT_NAMES, choose_columns, guess_columns, letter
from core.tables.looks import are_tags
from core.tables.read import Table, open_table
from core.tables.split import group_rows
from core.text.names import clean_name, name_key

NUMBERED = re.compile(r"(\D+)(\d+)", re.ASCII)  # a class that was a number, and the word before it
MERGED = "Of merged cells only the first one has the label: fill it down"


@dataclass
class Labelled:
    """Labelled rows: `texts` and `labels` (names) row by row, the part that each was given for, and where it is from.

    `label_column` is what the column of the labels is called.
    """

    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    label_column: str = ""

    def keep(self, rows: Sequence[int]) -> None:
        """Leave out all but some rows."""
        for column in (self.texts, self.labels, self.parts, self.places):
            column[:] = [column[row] for row in rows]


def read_labelled(
    paths: Mapping[str, Sequence[Path]], text: Sequence[str], label: str | None, join: str, sheet: str | None
) -> Labelled:
    """Read the labelled rows of tables; tells the columns that were taken, and counts what was skipped.

    Args:
        paths: of the tables for each part.
        text: names of the columns of texts; empty: the first one that is called like one.
        label: name of the column of labels; None: the first one that is called like one.
        join: what stands between the texts of several columns.
        sheet: of a workbook; None: see `open_table`.

    Raises:
        UserError: a table cannot be read, or its columns are not found; in two of three rows there is no label.
    """
    rows = Labelled()
    for part, each in paths.items():
        for path in each:
            with open_table(path, wanted=[*text, *([label] if label else [])], sheet=sheet) as table:
                _read_rows(table, text, label, join, rows)
            rows.parts += [part] * (len(rows.texts) - len(rows.parts))
    return rows


def _read_rows(table: Table, text: Sequence[str], label: str | None, join: str, rows: Labelled) -> None:
    cells = list(table.rows)
    text_columns = choose_columns(table.columns, text, TEXT_NAMES, "--text", table.name)
    label_columns = choose_columns(table.columns, [label] if label else [], LABEL_NAMES, "--label", table.name)
    if not text_columns and not label_columns:
        text_columns, label_columns = guess_columns(cells)
    if not text_columns or not label_columns or label_columns[0] in text_columns:
        raise UserError(
            f"{table.name}: which column holds the text, and which the label? Its columns are "
            f"{', '.join(map(repr, table.columns))}: name them with --text and --label"
        )
    rows.label_column = table.columns[label_columns[0]]
    names = ", ".join(repr(table.columns[column]) for column in text_columns)
    without_text = without_label = blank = 0
    for number, row in enumerate(cells, start=table.first_row):
        one, cell = join_cells(row, text_columns, join), row[label_columns[0]]
        if isinstance(cell, list):  # as doccano writes them
            if len(cell) > 1:
                raise UserError(f"{table.name} row {number} has {len(cell)} labels: a text must have one class")
            cell = cell[0] if cell else None
        if isinstance(cell, list | dict):
            raise UserError(f"{table.name} row {number}: its label is no class: {shorten(cell_text(cell))}")
        name = cell_text(cell)
        has_text, has_name = not text_fault(one), bool(clean_name(name))
        blank += not has_text and not has_name
        without_text += has_name and not has_text
        without_label += has_text and not has_name
        if has_text and has_name:
            rows.texts.append(one)
            rows.labels.append(name)
            rows.places.append(f"{table.name} row {number}")
    print(f"{table.name}: {len(cells)} rows; text: {names}; label: {rows.label_column!r}")
    for warning in table.warnings:
        print(f"  warning: {warning}")
    if without_label * 2 > len(cells):
        raise UserError(
            f"{table.name}: {without_label} of {len(cells)} rows have no label in column {rows.label_column!r}: is it "
            f"the right column (--label)? {MERGED}"
        )
    counts = {"blank row(s)": blank, "row(s) without a text": without_text, "row(s) without a label": without_label}
    for what, count in counts.items():
        if count:
            print(f"  warning: {count} {what}, skipped")
    if without_label and letter(label_columns[0]) in table.merged:
        print(f"  warning: column {rows.label_column!r} has merged cells. {MERGED}")


def clean_labels(rows: Labelled, known: Sequence[str] = ()) -> None:
    """Give every label the spelling of its class; tells how many were written otherwise.

    Args:
        rows: labels that differ in outer blanks, quotes, invisible characters, case, width or spaces only are of one
            class, which is called as most of them are.
        known: names of classes, which are kept.
    """
    spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name in rows.labels:
        spellings[name_key(name)][clean_name(name)] += 1
    names = {key: counts.most_common(1)[0][0] for key, counts in spellings.items()}
    names |= {name_key(name): name for name in known}
    cleaned = [names[name_key(name)] for name in rows.labels]
    changed = Counter((old, new) for old, new in zip(rows.labels, cleaned, strict=True) if old != new)
    if changed:
        some = ", ".join(f"{old!r} -> {new!r} {count}" for (old, new), count in changed.most_common(5))
        print(f"  {sum(changed.values())} label(s) cleaned: {some}{' …' if len(changed) > 5 else ''}")
    rows.labels = cleaned


def name_classes(rows: Labelled) -> list[str]:
    """The names of the classes in order; numbers that would be taken for the ids of others get a word before them."""
    names = sorted(
        set(rows.labels), key=lambda name: (not _is_id(name), int(name_key(name)) if _is_id(name) else 0, name)
    )
    ids = [str(index) for index in range(len(names))]
    if all(name_key(name) not in ids or name_key(name) == ids[index] for index, name in enumerate(names)):
        return names
    word = rows.label_column if not rows.label_column.isascii() else "类"
    renamed = {name: f"{word}{name}" if _is_id(name) else name for name in names}
    print(f"  labels are numbers, which would be taken for the ids of others: {names[0]} is called {renamed[names[0]]}")
    rows.labels = [renamed[name] for name in rows.labels]
    return [renamed[name] for name in names]


def numbers_of(names: Sequence[str]) -> dict[str, str]:
    """The classes that `name_classes` gave a word, by the number that each was called; none where it gave none."""
    found = [match for name in names if (match := NUMBERED.fullmatch(name))]
    same_word = len({match[1] for match in found}) == 1
    return {match[2]: match[0] for match in found} if same_word and len(found) > 1 else {}


def _is_id(name: str) -> bool:
    return name_key(name).isascii() and name_key(name).isdigit()


def require_classes(rows: Labelled) -> None:
    """Refuse labels that are no classes.

    Raises:
        UserError: there is no row, one class alone, or a class for every other row, or they are tags of tokens.
    """
    count, classes = len(rows.labels), len(set(rows.labels))
    if not count:
        raise UserError("no row has both a text and a label: are these the right columns (--text, --label)?")
    if classes * 2 > count and classes > 2:
        raise UserError(
            f"{classes} classes in {count} rows: is {rows.label_column!r} the text column? Name the columns with "
            "--text and --label"
        )
    if are_tags(set(rows.labels)):
        raise UserError(f"{', '.join(sorted(set(rows.labels))[:5])} are tags of tokens, and no classes of texts")
    if classes < 2:
        raise UserError(f"the only class is {rows.labels[0]}: at least two are needed")


def find_faults(rows: Labelled, fewest: int) -> tuple[set[int], list[str]]:
    """What cannot be trained on: texts with two labels, and classes of too few texts.

    Args:
        rows: all of them.
        fewest: different texts that a class needs among the rows for train.

    Returns:
        The rows concerned, and each fault in a sentence.
    """
    labels_of: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row, (text, label) in enumerate(zip(rows.texts, rows.labels, strict=True)):
        labels_of[text].setdefault(label, row)
    contested = {text: found for text, found in labels_of.items() if len(found) > 1}
    bad = {row for row, text in enumerate(rows.texts) if text in contested}
    faults = [
        f"two labels for {shorten(text)}: " + ", ".join(f"{label} ({rows.places[row]})" for label, row in found.items())
        for text, found in contested.items()
    ]
    pool = [row for row, part in enumerate(rows.parts) if part == "train" and row not in bad]
    groups = Counter(
        Counter(rows.labels[pool[row]] for row in group).most_common(1)[0][0]
        for group in group_rows([rows.texts[row] for row in pool])
    )
    own: defaultdict[str, list[int]] = defaultdict(list)
    for row, label in enumerate(rows.labels):
        own[label].append(row)
    for label in sorted(own):
        if groups[label] < fewest:
            bad.update(own[label])
            faults.append(
                f"class {label!r} has {groups[label]} different text(s) to train on, and needs {fewest}, one for each "
                f"part: {rows.places[own[label][0]]}"
            )
    return bad, faults
