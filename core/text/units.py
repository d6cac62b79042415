"""Units: the parts of a text that are labelled or pointed at, whose edges are where an entity or an answer may end.

A unit is a character of Chinese, a run of letters of another script, a number, or a sign by itself. Spaces are none.
"""

import re
from collections.abc import Sequence

IDEOGRAPHS = "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
LONGEST = 24  # characters of a unit; a longer run is several
UNIT = re.compile(rf"[^\W\d_{IDEOGRAPHS}]{{1,{LONGEST}}}|\d{{1,{LONGEST}}}|\S")
IDEOGRAPH = re.compile(f"[{IDEOGRAPHS}]")
# Full-width letters and digits as vocabularies have them; signs stay, as Chinese texts have full-width ones.
NARROW = {ord(wide): ord(wide) - 0xFEE0 for wide in "０１２３４５６７８９"}
NARROW |= {
    ord(capital) + shift: ord(capital) + shift - 0xFEE0
    for capital in map(chr, range(0xFF21, 0xFF3B))
    for shift in (0, 32)
}
Units = list[tuple[int, int]]


def is_ideographic(character: str) -> bool:
    """Whether a character is written without spaces around it, as those of Chinese."""
    return (
        IDEOGRAPH.match(character) is not None or "\u3000" <= character <= "\u303f" or "\uff00" <= character <= "\uffef"
    )


def find_units(text: str) -> Units:
    """Where the units of a text begin and end."""
    return [match.span() for match in UNIT.finditer(text)]


def words_of(text: str, units: Units) -> list[str]:
    """The units as a tokenizer reads them."""
    return [text[start:end].translate(NARROW) for start, end in units]


def words_at(starts: Sequence[int], places: Sequence[tuple[int, int]]) -> list[int]:
    """Which word, from 1, each of some ascending places in a text stands in, or the one before where in none."""
    found, word = [], 0
    for start in starts:
        while word + 1 < len(places) and places[word + 1][0] <= start:
            word += 1
        found.append(word + 1 if places else 0)
    return found
