"""Texts as a tagger reads them, unit by unit: the edges of units are where an entity may begin or end."""

from collections.abc import Sequence
from typing import NamedTuple

from core.text.tokenizer import Tokenizer
from core.text.units import NARROW, Units, find_units, words_at, words_of
from core.text.words import EncodedWords, encode_places, encode_words
from ner.tags import Entity


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
    if tokenizer.reads_words:
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
