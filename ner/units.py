"""Units: the parts of a text that are tagged, whose edges are where an entity may begin or end.

A unit is a character of Chinese, a run of letters of another script, a number, or a sign by itself. Spaces are none.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from core.text.tokenizer import Tokenizer, is_word_vocab
from core.text.words import EncodedWords, encode_places, encode_words
from ner.tags import Entity

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


def entities_in_units(entities: Sequence[Entity], units: Units) -> tuple[list[Entity], int]:
    """Entities of a text over its units, and how many begin or end within one: these take all of it.

    An entity without a unit of its own is left out.
    """
    found, inside, index, taken = [], 0, 0, 0
    for start, end, label in entities:
        while index < len(units) and units[index][1] <= start:
            index += 1
        first = max(index, taken)
        last = first
        while last < len(units) and units[last][0] < end:
            last += 1
        inside += first == last or units[first][0] != start or units[last - 1][1] != end
        if first < last:
            found.append(Entity(first, last, label))
            taken = last
    return found, inside


class Encoded(NamedTuple):
    """Texts as a model reads them, row by row; a long text has several rows, an empty one has none.

    Attributes:
        columns: the model's inputs: `input_ids`, the pieces of units; where the vocabulary has words of Chinese also
            `word_ids`, the row as its words, and `word_of`, which of these each piece stands in.
        words: of each row the unit that each token is a piece of, NO_WORD where it counts in another row or is none.
        sentences: the index of the text that each row is of.
        units: of each text.
    """

    columns: dict[str, list[list[int]]]
    words: list[list[int]]
    sentences: list[int]
    units: list[Units]


def encode(texts: Sequence[str], tokenizer: Tokenizer) -> Encoded:
    """Encode texts unit by unit, none of them cut."""
    units = list(map(find_units, texts))
    rows = encode_words(tokenizer, [words_of(text, own) for text, own in zip(texts, units, strict=True)])
    columns = {"input_ids": rows.input_ids}
    if is_word_vocab(tokenizer.vocab):
        columns |= _as_words(texts, tokenizer, rows, units)
    return Encoded(columns, rows.words, rows.sentences, units)


def _as_words(
    texts: Sequence[str], tokenizer: Tokenizer, rows: EncodedWords, units: Sequence[Units]
) -> dict[str, list[list[int]]]:
    """The rows as words, and which of these each piece of a unit stands in."""
    columns: dict[str, list[list[int]]] = {"word_ids": [], "word_of": []}
    starts = [
        [units[sentence][unit][0] for unit in pieces[1:-1]]
        for pieces, sentence in zip(rows.pieces, rows.sentences, strict=True)
    ]
    ends = [units[sentence][pieces[-2]][1] for pieces, sentence in zip(rows.pieces, rows.sentences, strict=True)]
    ranges = zip(rows.sentences, starts, ends, strict=True)
    parts = [texts[sentence][own[0] : end].translate(NARROW) for sentence, own, end in ranges]
    room = tokenizer.max_length - 2  # which words fill less of than pieces do, but for the oddest of texts
    for (ids, places), own in zip(encode_places(tokenizer, parts), starts, strict=True):
        columns["word_ids"].append([tokenizer.cls_id, *ids[:room], tokenizer.sep_id])
        word_of = words_at([start - own[0] for start in own], places[:room])
        columns["word_of"].append([0, *word_of, len(ids[:room]) + 1])
    return columns


def words_at(starts: Sequence[int], places: Sequence[tuple[int, int]]) -> list[int]:
    """Which word, from 1, each of some ascending places in a text stands in, or the one before where in none."""
    found, word = [], 0
    for start in starts:
        while word + 1 < len(places) and places[word + 1][0] <= start:
            word += 1
        found.append(word + 1 if places else 0)
    return found
