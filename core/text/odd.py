"""Texts in which something went wrong before: garbled, with lost, invisible or private characters."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence

from core.text.decode import GB18030, UTF8, decode_line
from core.text.strange import count_strange

GARBLED = "garbled, UTF-8 once read as GBK (涓婚槦 for 主队)"
PRIVATE_USE = re.compile("[\ue000-\uf8ff]")


def is_garbled(text: str) -> bool:
    """Whether a text is UTF-8 that was read as GBK once (涓婚槦 for 主队)."""
    return count_strange(text) > 0 and decode_line(text.encode(GB18030, "replace"), GB18030)[1] == UTF8


def count_odd(texts: Sequence[str]) -> dict[str, int]:
    """How many of some texts are odd, for each way to be it."""
    return {
        "with U+FFFD, a character lost in an earlier conversion": sum("\ufffd" in text for text in texts),
        GARBLED: sum(map(is_garbled, texts)),
        "with control, zero-width or private-use characters": sum(map(_has_odd, texts)),
    }


def _has_odd(text: str) -> bool:
    return not text.isprintable() and any(not (c.isprintable() or c.isspace()) for c in text)


def watch(texts: Iterable[str], name: str, unit: str) -> Iterator[str]:
    """Texts as they come; after the last one it is told how many were not to be trusted.

    Args:
        texts: of a file.
        name: what the file is called.
        unit: what each of them is, a line or a row.
    """
    garbled = private = 0
    for text in texts:
        garbled += is_garbled(text)
        private += PRIVATE_USE.search(text) is not None
        yield text
    for count, what in ((garbled, GARBLED), (private, "with private-use characters")):
        if count:
            print(f"warning: {name}: {count} {unit}(s) {what}: do not trust their classes", file=sys.stderr)
