"""Which columns of a table hold reviews, and which hold the states of aspects."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from core.console import UserError, shorten
from core.tables.columns import TEXT_NAMES
from core.text.decode import open_text
from core.text.names import clean_name, name_key

REVIEW_NAMES = ("review", "content", "评论", "评论内容", "评价", "text", "文本", "内容", "正文", "comment", *TEXT_NAMES)
# Columns that stand beside aspects in public sets and exports, and are none.
OTHERS = ("id", "index", "content_id", "source", "star", "stars", "score", "rating", "user", "date", "time", "shop")
OTHERS += ("user_id", "username", "nickname", "用户名", "用户昵称", "昵称")
OTHERS += ("编号", "序号", "来源", "评分", "星级", "总评分", "用户", "日期", "时间", "店铺", "商家")
OTHERS += ("评论日期", "评论时间", "评价日期", "评价时间", "发布日期", "发布时间", "性别", "年龄", "年龄段", "城市")
OTHERS += ("省份", "地区", "渠道", "平台", "会员等级", "gender", "sex", "age", "city", "region", "channel", "platform")
OTHER_KEYS = {name_key(name) for name in OTHERS}
MOST_ASPECTS, MOST_VALUES, LONGEST_VALUE = 60, 6, 20
NEARLY_ALL = 0.9  # of the cells of a column, which make it an aspect with some cells to mend
WHOLE = re.compile(r"([+-]?\d+)\.0+")  # a number as pandas writes it where a column has empty cells too
MEASURED = re.compile(r"\d|^\W+$")  # found in a number, a day, or a dash in place of one

# A day, a month or a time, by `name_key`.
DAY = re.compile(
    r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}(\D.*)?|\d{4}[-/.]\d{1,2}|\d{1,2}:\d\d.*|(19|20)\d{6}"
    r"|\d{4}年(\d{1,2}月?)?|(\d{4}年)?\d{1,2}月(\d{1,2}[日号]?.*)?"
)


def read_list(path: Path) -> list[str]:
    """The lines of a file with something in them, in order."""
    with open_text(path) as file:
        return [line.strip() for line in file.lines() if line.strip()]


def state_in(cell: str) -> str:
    """The name or number of a state that a cell holds, "" where it holds none or nan; 1.0 is 1."""
    name = clean_name(cell)
    return "" if name.lower() == "nan" else found[1] if (found := WHOLE.fullmatch(name)) else name


def refuse_twins(columns: Sequence[str], chosen: Sequence[str], named: Sequence[str] | None, table: str) -> None:
    """Refuse a table with two columns of a name that is chosen, but for case, width or spaces.

    The reader has called the second of one name name_2, which is no twin where it is `named` itself.

    Raises:
        UserError: it has some.
    """
    keys = Counter(map(name_key, columns))
    again = set(columns) - set(named or ())
    if twins := [name for name in chosen if keys[name_key(name)] > 1 or f"{name}_2" in again]:
        raise UserError(
            f"{table} has two columns named {', '.join(map(repr, twins))} (case, width and spaces do not tell them "
            "apart): rename or delete one, each aspect has one column"
        )


def find_review(columns: Sequence[str], table: str, warnings: Sequence[str] = ()) -> int:
    """The column of the reviews.

    Args:
        columns: names of all.
        table: what the table is called, for the message.
        warnings: what was odd about it, which may be why there is none.

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
        + "".join(f"; {told}" for told in warnings)
    )


def find_aspects(
    columns: Sequence[str],
    rows: Sequence[tuple[int, Sequence[str]]],
    review: int,
    named: Sequence[str] | None,
    table: str,
) -> list[int]:
    """The columns of the aspects: those that are named, else all whose cells hold few different short values.

    Args:
        columns: names of all.
        rows: each with its number in the file.
        review: the column of the reviews.
        named: names of the aspects.
        table: what the table is called, for the message.

    Raises:
        UserError: a named one is missing, named twice or the reviews, or there is none, or too many, or a column is
            one but for some cells.
    """
    keys = [name_key(name) for name in columns]
    if named is not None:
        counts = Counter(map(name_key, named))
        if twice := [name for name in named if counts[name_key(name)] > 1]:
            raise UserError(f"{table}: aspects.txt names {', '.join(twice)} as two aspects: leave one of them")
        if missing := [name for name in named if name_key(name) not in keys]:
            raise UserError(
                f"{table} has no column for the aspect(s) {', '.join(missing[:20])}: its columns are "
                f"{', '.join(map(repr, columns[:30]))}"
            )
        found = [keys.index(name_key(name)) for name in named]
        if review in found:
            raise UserError(f"{table}: aspects.txt names {columns[review]!r}, which holds the reviews: leave it out")
    else:
        found = [place for place in range(len(columns)) if place != review and keys[place] not in OTHER_KEYS]
        found = [
            place for place in found if _holds_states(columns[place], [(at, row[place]) for at, row in rows], table)
        ]
    if not found:
        raise UserError(
            f"{table}: none of its columns {', '.join(map(repr, columns[:30]))} holds the states of an aspect: give "
            "each aspect a column, with a state such as 正面 or 未提及 in each cell"
        )
    if len(found) > MOST_ASPECTS:
        raise UserError(
            f"{table} has {len(found)} column(s) of aspects, and 1 to {MOST_ASPECTS} are possible: name those "
            "that are aspects in aspects.txt, one a line"
        )
    return found


def _holds_states(column: str, cells: Sequence[tuple[int, str]], table: str) -> bool:
    """Whether the numbered cells of a column hold few different short values, and no days.

    Of names of users, 匿名用户 but for some, nearly all do, and are none: apart from the commonest they hardly repeat.

    Raises:
        UserError: nearly all of them do, and the others are no numbers or days among such.
    """
    keys = {cell: name_key(state_in(cell)) for cell in dict.fromkeys(cell for _, cell in cells)}
    counts = Counter(keys[cell] for _, cell in cells if keys[cell])
    if sum(count for key, count in counts.items() if DAY.fullmatch(key)) >= NEARLY_ALL * counts.total():
        return False
    short = [key for key, _ in counts.most_common() if len(key) <= LONGEST_VALUE]
    usual = short[:MOST_VALUES]
    odd = next(((number, cell) for number, cell in cells if keys[cell] and keys[cell] not in usual), None)
    if odd is None:
        return bool(usual)
    is_measured = len(short) > MOST_VALUES and all(map(MEASURED.search, short)) and "-2" not in short
    if sum(counts[key] for key in usual) < NEARLY_ALL * counts.total() or is_measured:
        return False
    others = counts.total() - counts[usual[0]]
    if 2 * sum(counts[key] for key in usual[1:] if counts[key] > 1) < others:
        return False
    spelt = {key: clean_name(cell) for cell, key in reversed(keys.items())}
    raise UserError(
        f"{table} row {odd[0]}: {column!r} holds {shorten(clean_name(odd[1]))}, and nearly everywhere else one of "
        f"{', '.join(spelt[key] for key in usual)}: mend this cell and its like, or list the aspects in aspects.txt, "
        "one a line, if this column is none"
    )
