"""Which columns of a table hold reviews, and which hold the states of aspects."""

import re
from collections.abc import Sequence
from pathlib import Path

from core.console import UserError
from core.tables.columns import TEXT_NAMES
from core.text.decode import open_text
from core.text.names import clean_name, name_key

REVIEW_NAMES = ("review", "content", "评论", "评论内容", "评价", "text", "文本", "内容", "正文", "comment", *TEXT_NAMES)
# Columns that stand beside aspects in public sets and exports, and are none.
OTHERS = ("id", "index", "content_id", "source", "star", "stars", "score", "rating", "user", "date", "time", "shop")
OTHERS += ("编号", "序号", "来源", "评分", "星级", "总评分", "用户", "日期", "时间", "店铺", "商家")
OTHER_KEYS = {name_key(name) for name in OTHERS}
MOST_ASPECTS, MOST_VALUES, LONGEST_VALUE = 60, 6, 20


def read_list(path: Path) -> list[str]:
    """The lines of a file with something in them, in order."""
    with open_text(path) as file:
        return [line.strip() for line in file.lines() if line.strip()]


def refuse_twins(columns: Sequence[str], table: str) -> None:
    """Refuse a table with two columns of one name, of which the reader has called the second one name_2.

    Raises:
        UserError: it has some.
    """
    keys = {name_key(name) for name in columns}
    twins = [name for name in columns if (m := re.fullmatch(r"(.+)_\d+", name)) and name_key(m[1]) in keys]
    if twins:
        names = ", ".join(sorted({repr(name.rpartition("_")[0]) for name in twins}))
        raise UserError(f"{table} has two columns named {names}: rename or delete one, each aspect has one column")


def find_review(columns: Sequence[str], table: str) -> int:
    """The column of the reviews.

    Raises:
        UserError: none is called like one.
    """
    keys = [name_key(name) for name in columns]
    for name in REVIEW_NAMES:
        if name_key(name) in keys:
            return keys.index(name_key(name))
    shown = ", ".join(map(repr, columns[:30]))
    raise UserError(
        f"{table}: which column holds the reviews? Call it review, content or 评论; its columns are {shown}"
    )


def find_aspects(
    columns: Sequence[str], rows: Sequence[Sequence[str]], review: int, named: Sequence[str] | None, table: str
) -> list[int]:
    """The columns of the aspects: those that are named, else all whose cells hold few different short values.

    Raises:
        UserError: a named one is missing, or there is none, or too many.
    """
    keys = [name_key(name) for name in columns]
    if named is not None:
        if missing := [name for name in named if name_key(name) not in keys]:
            raise UserError(
                f"{table} has no column for the aspect(s) {', '.join(missing[:20])}: its columns are "
                f"{', '.join(map(repr, columns[:30]))}"
            )
        found = [keys.index(name_key(name)) for name in named]
    else:
        found = [place for place in range(len(columns)) if place != review and keys[place] not in OTHER_KEYS]
        found = [place for place in found if _holds_states([row[place] for row in rows])]
    if not 1 <= len(found) <= MOST_ASPECTS:
        raise UserError(
            f"{table} has {len(found)} column(s) of aspects, and 1 to {MOST_ASPECTS} are possible: give each aspect a "
            "column with its states, or name the columns in aspects.txt, one a line"
        )
    return found


def _holds_states(cells: Sequence[str]) -> bool:
    values = {clean_name(cell) for cell in cells} - {""}
    return 1 <= len(values) <= MOST_VALUES and all(len(value) <= LONGEST_VALUE for value in values)
