"""Names of classes as people write them: cleaned, compared, checked."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from core.console import UserError

WIDE = re.compile("[\uff01-\uffee]")
QUOTES = ('""', "''", "“”", "‘’", "＂＂", "「」")


def clean_name(name: str) -> str:
    """A name of a class without what is not part of it: invisible characters, outer quotes, blanks at its ends.

    Blanks within, of any kind and number, become one space each.
    """
    if not name.isprintable():
        name = "".join(c for c in name if c.isprintable() or c.isspace())
    name = " ".join(name.split())
    start, end = 0, len(name)
    while end - start > 2 and name[start] + name[end - 1] in QUOTES:
        start, end = start + 1, end - 1
        start += name[start] == " "
        end -= end > start and name[end - 1] == " "
    return name[start:end]


def name_key(name: str) -> str:
    """What two names have in common that differ in case, width or spaces only."""
    narrow = WIDE.sub(lambda found: unicodedata.normalize("NFKC", found[0]), clean_name(name))
    return "".join(unicodedata.normalize("NFC", narrow).casefold().split())


def check_names(written: Sequence[str], path: Path) -> list[str]:
    """Clean names, and refuse those that cannot be told apart, from each other or from ids.

    Args:
        written: the names of classes as they stand in the file, in the order of their ids.
        path: the file, for the message.

    Raises:
        UserError: there are fewer than two, one stands twice, is no name or the id of another, or two differ in quotes,
            invisible characters, case, width or spaces only.
    """
    names = [clean_name(line) for line in written]
    ids = [str(index) for index in range(len(names))]
    known: dict[str, int] = {}
    for index, (line, name) in enumerate(zip(written, names, strict=True)):
        where = f"{path} line {index + 1}"
        if not name:
            raise UserError(f"{where} is blank: name a class on each line")
        if "\t" in line or "\ufffd" in line:
            what = "a tab" if "\t" in line else "broken bytes"
            raise UserError(f"{where} holds {what}: {line!r}; write the name of one class alone on it")
        first = known.setdefault(name_key(name), index)
        if first != index and written[first] == line:
            raise UserError(f"{where} names a class twice: {name}; line {first + 1} does so already: drop one of them")
        if first != index:
            raise UserError(
                f"{path} names the classes {written[first]!r} and {line!r}, which differ in quotes, invisible "
                "characters, case, width or spaces only: rename one of them, or make them one class, here and in the "
                "labelled files"
            )
        if name_key(name) in ids and name_key(name) != ids[index]:
            raise UserError(
                f"{path} names a class {name}, which is the id of another one (ids are counted from 0): "
                f"rename such classes, here and in the labelled files, for example to {name}星"
            )
    if len(names) < 2:
        raise UserError(f"{path} names {len(names)} class(es): at least two are needed, one name a line")
    return names
