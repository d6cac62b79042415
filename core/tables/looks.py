"""What a file holds that is no list of texts with a class each, by its looks: another task reads it."""

import re
from collections.abc import Collection
from itertools import islice
from pathlib import Path

from core.console import UserError
from core.tables.cells import cell_text
from core.tables.columns import LABEL_NAMES, choose_columns
from core.tables.read import open_table
from core.text.decode import open_text

ASPECTS, ENTITIES, QUESTIONS = "aspects", "entities", "questions"
LOOK_LINES, LOOK_CHARACTERS = 200, 10_000  # looked at, and of each
TAG = re.compile(r"[BIESMLUW][-_]\S+|O")  # of a token
SPANS = re.compile(r'\s*\{.*"(entities"\s*:\s*\[|label"\s*:\s*\{|labels?"\s*:\s*\[\s*(\[\s*\d|\{[^{}]*"start"))')
MARKED = '"start"', '"end"', '"labels"'  # keys of a list of tasks, as Label Studio exports it
PASSAGES = '"paragraphs"', '"qas"'  # keys of a file of questions
MOST_VALUES, LONGEST_VALUE = 6, 20  # of a column that says one of a few states


def are_tags(names: Collection[str]) -> bool:
    """Whether names are tags of tokens, such as O and B-LOC."""
    return "O" in names and len(names) > 1 and all(map(TAG.fullmatch, names))


def looks_of(path: Path) -> str:
    """What a file seems to hold: ASPECTS, ENTITIES or QUESTIONS; "": none of them, or it cannot be read."""
    try:
        with open_text(path, may_be_json=True) as file:
            lines = list(islice(file.parts(LOOK_CHARACTERS), LOOK_LINES))
    except UserError:  # a workbook
        lines = []
    text = "".join(lines)
    if text.lstrip().startswith("{") and all(key in text for key in PASSAGES):
        return QUESTIONS
    cells = [cells for line in lines if (cells := line.split()) and cells[0] != "-DOCSTART-"]
    has_tags = are_tags({row[-1] for row in cells}) and all(len(row) > 1 for row in cells)
    is_list = text.lstrip().startswith("[") and all(key in text for key in MARKED)
    if has_tags or is_list or any(map(SPANS.match, lines)):
        return ENTITIES
    try:
        return ASPECTS if len(state_columns(path)) > 1 else ""
    except UserError:
        return ""


def state_columns(path: Path) -> list[str]:
    """The columns of a table that each say one of a few states; none where one is known to hold labels.

    Raises:
        UserError: it cannot be read, or is no table.
    """
    with open_table(path) as table:
        if choose_columns(table.columns, (), LABEL_NAMES, "", table.name):
            return []
        values: list[set[str]] = [set() for _ in table.columns]
        for row in table.rows:
            for own, cell in zip(values, row, strict=True):
                if len(own) <= MOST_VALUES:
                    own.add(cell_text(cell).strip())
        return [
            name
            for name, own in zip(table.columns, values, strict=True)
            if 0 < len(own - {""}) <= MOST_VALUES and max(map(len, own)) <= LONGEST_VALUE
        ]
