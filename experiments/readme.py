"""The tables and pictures of all READMEs, remade from results/, so that no figure of a table is typed by hand.

    python -m experiments.readme             # rewrites the tables, redraws the pictures
    python -m experiments.readme --check     # changes nothing; exits with 1 if a table is stale or a picture missing

A table stands between two comments, each at the start of a line; GitHub does not show them:

    <!-- table: rows rows/rows.json -->
    <!-- /table -->

The first names a kind of table and a file in results/ that a command of the project wrote. While there is no such file
the table is empty. A picture that a page shows is redrawn from the table's file of the same name.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from config import parse
from core.console import UserError, run
from core.files import atomic_write
from experiments.readme_tables import KINDS, Kind
from experiments.readme_words import CHINESE, ENGLISH, reword

RESULTS = Path("results")
PAGES = {
    folder / name: words
    for folder in (Path(), RESULTS)
    for name, words in (("README.md", (ENGLISH, CHINESE)), ("README_EN.md", (ENGLISH,)))
}
MARKER = re.compile(r"^(<!--\s*/?table\b.*)$", re.MULTILINE)
START = re.compile(r"<!-- table: (\S+) (\S+) -->")
END = "<!-- /table -->"
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s:]+)\)")


@dataclass
class ReadmeConfig:
    """Knobs of the command."""

    check: bool = False
    """Only tell what is not as it should be."""


class Table(NamedTuple):
    """A table of a page: its first comment, its kind, where its figures are, and what stands there now."""

    marker: str
    kind: Kind
    source: Path
    shown: str


def find_tables(page: Path, text: str) -> list[Table]:
    """The tables of a page, in order.

    Raises:
        UserError: a comment is wrong, or the other one of its pair is missing.
    """
    pieces = MARKER.split(text)  # text, comment, table, comment, text, comment, …
    tables = []
    for start, shown, end in zip_longest(pieces[1::4], pieces[2::4], pieces[3::4], fillvalue=""):
        found = START.fullmatch(start)
        if not found:
            raise UserError(f"{page} has {start} where a table should begin: write <!-- table: KIND FILE -->")
        if found[1] not in KINDS:
            raise UserError(f"{page} has {start}: there is no such kind, take one of {', '.join(KINDS)}")
        if end != END:
            raise UserError(f"{page} has {start} without {END}: add that on a line of its own, after the table")
        tables.append(Table(start, KINDS[found[1]], RESULTS / found[2], shown))
    return tables


def use(table: Table, function: Callable[..., Any], *args: Path) -> Any:
    """What a function makes of a table's figures.

    Raises:
        UserError: they are not what the command writes.
    """
    try:
        return function(json.loads(table.source.read_text(encoding="utf-8")), *args)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as fault:
        raise UserError(
            f"{table.source} is damaged, unfinished or not for {table.marker}: run `{table.kind.command}` again"
        ) from fault


def remake(page: Path, table: Table) -> str:
    """What should stand between the comments of a table.

    Raises:
        UserError: its file is gone, damaged or unfinished.
    """
    if table.source.exists():
        text = reword(use(table, table.kind.table), PAGES[page])
        if not re.search(r"^(\|---.*\n\||- )", text, re.MULTILINE):
            raise UserError(f"{table.source} holds no figures yet: run `{table.kind.command}` to its end")
        return f"\n\n{text}\n\n"
    if table.shown.strip():
        raise UserError(f"{page} has figures at {table.marker}, but there is no {table.source}: bring it back")
    return "\n"


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(ReadmeConfig, argv, __doc__)
    fresh: dict[Path, str] = {}
    tables: dict[Path, Table] = {}
    pictures: dict[Path, Path] = {}
    faults = []
    for page in PAGES:
        try:
            text = page.read_text(encoding="utf-8")
        except (OSError, ValueError) as fault:
            raise UserError(f"{page} cannot be read: run this in the folder of the project") from fault
        pieces = MARKER.split(text)
        for index, table in enumerate(find_tables(page, text)):
            pieces[4 * index + 2] = remake(page, table)
            tables[table.source] = table
            if pieces[4 * index + 2] != table.shown:
                faults.append(
                    f"{page}: {table.marker} is not what {table.source} says: run `python -m experiments.readme`"
                )
        fresh[page] = "".join(pieces)
        pictures |= {page.parent / link: page for link in PICTURE.findall(text)}
    for source in tables:
        if not source.exists():
            print(
                f"there is no {source} yet: its table stays empty until `{tables[source].kind.command}` has written it"
            )
    if not config.check:
        for source, table in tables.items():
            if table.kind.draw and source.is_file() and (picture := source.with_suffix(".png")) in pictures:
                use(table, table.kind.draw, picture)
        for page, text in fresh.items():
            atomic_write(page, lambda file, text=text: file.write(text.encode("utf-8")))
        print(f"{len(faults)} table(s) changed in {', '.join(map(str, PAGES))}")
        faults = []
    faults += [f"{page} shows {path}, which does not exist" for path, page in pictures.items() if not path.is_file()]
    if faults:
        raise UserError("\n".join(faults))


if __name__ == "__main__":
    run(main)
