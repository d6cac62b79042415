"""Pairs of a question and a passage as token ids, in windows that overlap, with the place of each token in the passage.

[CLS] question [SEP] a part of the passage [SEP]. What is asked for is a stretch of units (core/text/units.py), so that
its ends never lie within a token, and whose places are those of the untouched text.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from core.text.tokenizer import Tokenizer
from core.text.units import NARROW, Units, find_units, words_at, words_of
from core.text.windows import cut_windows
from core.text.words import NO_WORD, encode_places, encode_words_apart

QUESTION, CONTEXT, SHARED, SHARED_PAIR = range(4)  # kinds of tokens: `token_type_ids`
KINDS = 4
STRIDE = 0.65  # of the room of a window is between the beginnings of two
QUESTION_SHARE = 0.5  # of a row, at most: a longer question is cut at its end
CROWD = 16  # tokens of units that a word stands for at most


def visible_units(text: str) -> Units:
    """Where the units of a text begin and end that can be seen: an answer neither begins nor ends with another."""
    return [(start, end) for start, end in find_units(text) if text[start].isprintable()]


class Part(NamedTuple):
    """A text in pieces that no window splits, and its units.

    Attributes:
        ids: of each piece its tokens.
        units: of the text.
        tokens: of each unit its tokens, as they stand apart.
        piece_of: of each unit the piece that it begins in.
    """

    ids: list[list[int]]
    units: Units
    tokens: list[list[int]]
    piece_of: list[int]


@dataclass
class EncodedPairs:
    """Pairs as a model reads them, row by row; a long passage has several rows, one with nothing in it has none.

    Attributes:
        columns: the model's inputs: `input_ids`, units by their pieces, and `token_type_ids`, one of `KINDS` for each
            token that the encoder reads; where it reads words also `word_ids`, the row as its words, and `word_of`,
            which of these each of `input_ids` stands in.
        units: of each row, the unit of the passage whose first piece each of `input_ids` is; NO_WORD elsewhere.
        told: of each row the units, from the first to before the last, whose answers it is asked for: it is the row in
            which they stand farthest from the ends.
        pairs: of each row, the index of its pair.
        places: of each pair, where the units of its passage begin and end.
        truncated: of each pair, whether its question was cut.
    """

    columns: dict[str, list[list[int]]]
    units: list[list[int]] = field(default_factory=list)
    told: list[tuple[int, int]] = field(default_factory=list)
    pairs: list[int] = field(default_factory=list)
    places: list[Units] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)


def encode_pairs(
    tokenizer: Tokenizer,
    questions: Sequence[str],
    contexts: Sequence[str],
    as_words: bool = False,
    stride: float = STRIDE,
) -> EncodedPairs:
    """Encode questions and the passages that they are asked about; nothing of a passage is cut.

    Args:
        tokenizer: `max_length` is how many tokens the encoder reads at once.
        questions: a longer one than half of a row is cut at its end.
        contexts: the passage of each question; repeated ones are encoded once.
        as_words: whether the encoder reads words, whose states go to their characters.
        stride: share of a window's room that lies between the beginnings of two windows.
    """
    names = ("input_ids", "token_type_ids", *(("word_ids", "word_of") if as_words else ()))
    encoded = EncodedPairs({name: [] for name in names})
    texts = list(dict.fromkeys([*questions, *contexts]))
    most = int((tokenizer.max_length - 3) * QUESTION_SHARE)
    parts = dict(zip(texts, _split(tokenizer, texts, as_words, tokenizer.max_length - 3 - most), strict=True))
    for index, (question, context) in enumerate(zip(questions, contexts, strict=True)):
        asked, whole = parts[question], parts[context]
        size, pieces = 0, 0
        while pieces < len(asked.ids) and size + len(asked.ids[pieces]) <= most:
            size += len(asked.ids[pieces])
            pieces += 1
        encoded.truncated.append(pieces < len(asked.ids))
        encoded.places.append(whole.units)
        row = _Row(tokenizer, asked, pieces, _kinds(question, asked.units, context, whole.units))
        for window in cut_windows(list(map(len, whole.ids)), tokenizer.max_length - 3 - size, 1 - stride):
            units = _between(whole.piece_of, window.start, window.end)
            if not units:  # a piece of nothing that can be seen
                continue
            told = _between(whole.piece_of, window.first, window.last)
            for name, values in row.columns(whole, window.start, window.end, units, as_words).items():
                encoded.columns[name].append(values)
            encoded.units.append(row.unit_of_token(whole, units))
            encoded.told.append((told.start, told.stop))
            encoded.pairs.append(index)
    return encoded


class _Row:
    """The rows of a pair: a question, the first so many pieces of it, before some pieces of the passage."""

    def __init__(self, tokenizer: Tokenizer, asked: Part, pieces: int, kinds: list[int]) -> None:
        self.tokenizer, self.asked, self.pieces, self.kinds = tokenizer, asked, pieces, kinds
        self.units = _between(asked.piece_of, 0, pieces)
        self.tokens = [token for unit in self.units for token in asked.tokens[unit]]

    def unit_of_token(self, whole: Part, units: range) -> list[int]:
        """The unit that each token is the first piece of."""
        found = [NO_WORD] * (len(self.tokens) + 2)
        for unit in units:
            found += [unit, *[NO_WORD] * (len(whole.tokens[unit]) - 1)]
        return [*found, NO_WORD]

    def columns(self, whole: Part, start: int, end: int, units: range, as_words: bool) -> dict[str, list[int]]:
        """What the model reads of the pieces of a passage from `start` to before `end`, whose units these are."""
        cls, sep = [self.tokenizer.cls_id], [self.tokenizer.sep_id]
        tokens = [token for unit in units for token in whole.tokens[unit]]
        columns = {"input_ids": [*cls, *self.tokens, *sep, *tokens, *sep]}
        before = [QUESTION] * (len(self.tokens) + 2)
        if not as_words:
            own = [self.kinds[unit] for unit in units for _ in whole.tokens[unit]]
            return {**columns, "token_type_ids": [*before, *own, CONTEXT]}
        asked = [ids[0] for ids in self.asked.ids[: self.pieces]]
        words = [ids[0] for ids in whole.ids[start:end]]
        kinds = [CONTEXT] * len(words)
        for unit in units:
            place = whole.piece_of[unit] - start
            kinds[place] = max(kinds[place], self.kinds[unit])
        shift = len(asked) + 2 - start
        own = [self.asked.piece_of[unit] + 1 for unit in self.units for _ in self.asked.tokens[unit]]
        theirs = [whole.piece_of[unit] + shift for unit in units for _ in whole.tokens[unit]]
        return {
            **columns,
            "word_ids": [*cls, *asked, *sep, *words, *sep],
            "token_type_ids": [*[QUESTION] * (len(asked) + 2), *kinds, CONTEXT],
            "word_of": [0, *own, len(asked) + 1, *theirs, len(asked) + len(words) + 2],
        }


def _split(tokenizer: Tokenizer, texts: Sequence[str], as_words: bool, most: int) -> list[Part]:
    """Texts in pieces: their words, or their units, of which so many tokens are kept at most."""
    units = list(map(visible_units, texts))
    most = min(most, CROWD) if as_words else most
    words = [words_of(text, own) for text, own in zip(texts, units, strict=True)]
    distinct = list({word: None for own in words for word in own})
    [encoded] = encode_words_apart(tokenizer, [distinct])
    tokens_of = {word: ids[:most] for word, ids in zip(distinct, encoded, strict=True)}
    apart = [[tokens_of[word] for word in own] for own in words]
    if not as_words:
        return [Part(ids, own, ids, list(range(len(own)))) for ids, own in zip(apart, units, strict=True)]
    found = []
    narrow = [text.translate(NARROW) for text in texts]
    for (ids, places), own, tokens in zip(encode_places(tokenizer, narrow), units, apart, strict=True):
        if not ids:  # what can be seen of the text, its tokenizer does not see
            ids, places = [tokenizer.unknown_id] * bool(own), [(0, 1)] * bool(own)
        piece_of = [word - 1 for word in words_at([start for start, _ in own], places)]
        ids, piece_of = _spread(ids, piece_of, tokens, tokenizer.unknown_id)
        found.append(Part([[word] for word in ids], own, tokens, piece_of))
    return found


def _spread(words: list[int], word_of: list[int], tokens: list[list[int]], unknown: int) -> tuple[list[int], list[int]]:
    """Words, and of each unit its word, with unknown ones added for units that a word has too many of.

    Those are what the tokenizer does not see, or takes for one unknown word however long it is.
    """
    spread: list[int] = []
    found: list[int] = []
    taken = size = 0
    for word, own in zip(word_of, tokens, strict=True):
        if word >= taken:
            spread += words[taken : word + 1]
            taken, size = word + 1, 0
        elif size + len(own) > CROWD:
            spread.append(unknown)
            size = 0
        size += len(own)
        found.append(len(spread) - 1)
    return spread + words[taken:], found


def _between(piece_of: Sequence[int], start: int, end: int) -> range:
    """The units that begin in the pieces from `start` to before `end`."""
    return range(bisect_left(piece_of, start), bisect_left(piece_of, end))


def _kinds(question: str, asked: Units, context: str, units: Units) -> list[int]:
    """What each unit of a passage shares with the question: nothing, itself, or itself and the one beside it."""
    own = [question[start:end].translate(NARROW).lower() for start, end in asked]
    known = {word for word in own if word.isalnum()}
    pairs = {pair for pair in pairwise(own) if known.issuperset(pair)}
    words = [context[start:end].translate(NARROW).lower() for start, end in units]
    kinds = [SHARED if word in known else CONTEXT for word in words]
    for at, pair in enumerate(pairwise(words)):
        if pair in pairs:
            kinds[at] = kinds[at + 1] = SHARED_PAIR
    return kinds
