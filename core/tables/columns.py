"""The header of a table, and which of its columns hold texts and labels."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from core.console import UserError
from core.tables.cells import cell_text, is_blank
from core.text.names import name_key

# In the order in which they are taken where a table has several.
TEXT_NAMES: tuple[str, ...] = (
    "标题",
    "新闻标题",
    "文章标题",
    "title",
    "headline",
    "text",
    "文本",
    "文本内容",
    "正文",
    "内容",
    "content",
)
TEXT_NAMES += ("content", "新闻内容", "句子", "sentence", "评论", "评论内容", "review", "comment")
LABEL_NAMES = ("类别", "分类", "标签", "类型", "类目", "新闻类别", "label", "category", "class", "labels", "classes")
HEADER_ROWS = 20  # among which the header is looked for
LONGEST_NAME = 20  # characters of a column's name that nobody has told us
PREDICTED = "预测"  # goes before the columns of answers where the table has one of their names


def find_header(rows: Sequence[Sequence[Any]], wanted: Sequence[str] = ()) -> int | None:
    """Which of the first rows of a table is its header; None: it has none.

    It is the first row with the name of a column that is known or wanted. In a table of several columns without such
    names it is the first row that is written, if it looks like no other: all of its cells short words, and none of them
    found again further down a column whose values repeat.
    """
    if (named := with_names(rows, wanted)) is not None:
        return named
    number = next((number for number, row in enumerate(rows) if not is_blank(row)), None)
    if number is None or len(rows[number]) < 2:
        return None
    first, others = rows[number], rows[number + 1 :]
    if not others or not all(isinstance(cell, str) and 0 < len(cell.strip()) <= LONGEST_NAME for cell in first):
        return None
    for column, cell in enumerate(first):
        counts = Counter(cell_text(row[column]) for row in others if column < len(row))
        if counts[cell]:
            return None
    return number


def with_names(rows: Sequence[Sequence[Any]], wanted: Sequence[str]) -> int | None:
    """The first of some rows with the name of a column that is known or wanted, and is no value of that column."""
    known = {name_key(name) for name in (*TEXT_NAMES, *LABEL_NAMES, *wanted)}
    for number, row in enumerate(rows[:HEADER_ROWS]):
        for column, cell in enumerate(row):
            if (key := name_key(cell_text(cell))) in known:
                others = (other for other in rows if other != row and column < len(other))  # a header may be repeated
                if all(name_key(cell_text(other[column])) != key for other in others):
                    return number
    return None


def name_columns(header: Sequence[Any], width: int) -> list[str]:
    """Different names for the columns of a table; one that has none is called by its letter, as in a sheet."""
    written = [" ".join(cell_text(cell).split()) for cell in header] + [""] * (width - len(header))
    return distinct([name or letter(index) for index, name in enumerate(written)])


def distinct(names: Iterable[str]) -> list[str]:
    """Names made different: the second of one is called name_2."""
    found: dict[str, None] = {}
    numbers: Counter[str] = Counter()
    for name in names:
        free = name
        while free in found:
            numbers[name] += 1
            free = f"{name}_{numbers[name] + 1}"
        found[free] = None
    return list(found)


def free_names(columns: Sequence[str], added: Sequence[str]) -> list[str]:
    """The names of columns that come beside those of a table, with 预测 before all where one of them is taken."""
    names = list(added)
    while not set(names).isdisjoint(columns):
        names = [PREDICTED + name for name in names]
    return names


def letter(index: int) -> str:
    """What a sheet calls its column: 0 is A, 26 is AA."""
    return (letter(index // 26 - 1) if index >= 26 else "") + chr(ord("A") + index % 26)


def choose_columns(
    columns: Sequence[str], wanted: Sequence[str], known: Sequence[str], flag: str, table: str
) -> list[int]:
    """The columns that are wanted, or else the first that is called by a known name.

    Args:
        columns: names of all.
        wanted: names, or letters as in a sheet; empty: none was named.
        known: names to look for where none is wanted.
        flag: by which a column is named, for the message.
        table: what the table is called, for the message.

    Returns:
        Their indices; empty: none is wanted and none known.

    Raises:
        UserError: there is no column of a wanted name.
    """
    keys = [name_key(name) for name in columns]
    if not wanted:
        return next(([keys.index(name_key(name))] for name in known if name_key(name) in keys), [])
    letters = [letter(index) for index in range(len(columns))]
    found = []
    for name in wanted:
        if name_key(name) in keys:
            found.append(keys.index(name_key(name)))
        elif name.upper() in letters:
            found.append(letters.index(name.upper()))
        else:
            raise UserError(f"{table} has no column {name!r}: {flag} must be one of {', '.join(map(repr, columns))}")
    return found


def guess_columns(rows: Sequence[Sequence[Any]]) -> tuple[list[int], list[int]]:
    """The columns of texts and of labels of a table of two whose names say nothing: ([text], [label]), else ([], []).

    The values of one repeat and the other's are longer and repeat less.
    """
    if not rows or len(rows[0]) != 2:
        return [], []
    cells = [[cell_text(row[column]) for row in rows] for column in range(2)]
    kinds = [len(set(column)) for column in cells]
    lengths = [sum(map(len, column)) for column in cells]
    label = kinds.index(min(kinds))
    is_clear = kinds[label] * 2 <= kinds[1 - label] and lengths[label] < lengths[1 - label]
    return ([1 - label], [label]) if is_clear else ([], [])


def text_columns(names: Sequence[str], wanted: Sequence[str], file: str) -> list[int]:
    """The columns of a table that hold its texts: those wanted, the one called like a text, or the only one.

    Raises:
        UserError: there is no such column.
    """
    chosen = choose_columns(names, wanted, TEXT_NAMES, "--column", file)
    if chosen or len(names) == 1:
        return chosen or [0]
    raise UserError(
        f"{file}: which column holds the texts? Its columns are {', '.join(map(repr, names))}: name it "
        f"with --column {names[0]}"
    )
