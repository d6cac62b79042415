"""Sentences whose words, or characters, are given, as token ids: what is tagged keeps its edges.

So the end of an entity never lies within a token, whatever words a vocabulary has.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from core.text.tokenizer import CHARACTERS_A_TOKEN, CHUNK, Tokenizer, replace_surrogates
from core.text.windows import cut_windows

NO_WORD = -1  # in place of the index of a word, at [CLS] and [SEP]
SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass
class EncodedWords:
    """Token ids of sentences, row by row; a long sentence has several rows, which overlap, one without words none.

    Attributes:
        input_ids: of each row, [CLS] first and [SEP] last, not padded.
        words: of each row the index of the word that each token belongs to, NO_WORD at [CLS] and [SEP]. Each word of a
            sentence is told in one row, where it stands farthest from the ends, and NO_WORD in the others.
        pieces: the same, told in every row that has the word.
        sentences: the index of the sentence that each row is of.
    """

    input_ids: list[list[int]] = field(default_factory=list)
    words: list[list[int]] = field(default_factory=list)
    pieces: list[list[int]] = field(default_factory=list)
    sentences: list[int] = field(default_factory=list)


def encode_words(tokenizer: Tokenizer, sentences: Sequence[Sequence[str]]) -> EncodedWords:
    """Encode each word by itself, with one token at least; nothing is cut, but of a word that no row has room for."""
    encoded, room = EncodedWords(), tokenizer.max_length - 2
    for index, whole in enumerate(encode_words_apart(tokenizer, sentences)):
        tokens = [ids[:room] for ids in whole]
        for window in cut_windows(list(map(len, tokens)), room):
            own = range(window.start, window.end)
            pieces = [word for word in own for _ in tokens[word]]
            told = [word if window.first <= word < window.last else NO_WORD for word in pieces]
            ids = [token for word in own for token in tokens[word]]
            encoded.input_ids.append([tokenizer.cls_id, *ids, tokenizer.sep_id])
            encoded.words.append([NO_WORD, *told, NO_WORD])
            encoded.pieces.append([NO_WORD, *pieces, NO_WORD])
            encoded.sentences.append(index)
    return encoded


def encode_words_apart(tokenizer: Tokenizer, sentences: Sequence[Sequence[str]]) -> Iterator[list[list[int]]]:
    """Of each sentence the ids of each of its words, encoded by itself, with one token at least."""
    longest = CHARACTERS_A_TOKEN * tokenizer.max_length
    for start in range(0, len(sentences), CHUNK):
        part = sentences[start : start + CHUNK]
        chunk = [[replace_surrogates(word[:longest]) for word in words] for words in part]
        encodings = tokenizer.tokenizer.encode_batch(chunk, is_pretokenized=True)
        for words, encoding in zip(part, encodings, strict=True):
            tokens: list[list[int]] = [[] for _ in words]
            places = cast(list[int], encoding.word_ids)  # None at special tokens alone, and none are added
            for token_id, word in zip(encoding.ids, places, strict=True):
                tokens[word].append(token_id)
            # Of a blank or an invisible character nothing is left.
            yield [ids or [tokenizer.unknown_id] for ids in tokens]


def encode_places(tokenizer: Tokenizer, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """Of each text the ids of its tokens, without [CLS] and [SEP], and where each begins and ends in it."""
    encodings = tokenizer.tokenizer.encode_batch([SURROGATE.sub("\ufffd", text) for text in texts])
    return [(encoding.ids, encoding.offsets) for encoding in encodings]
