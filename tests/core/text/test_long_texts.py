"""Texts without end cost what is kept of them, and give the tokens that they gave whole."""

import tracemalloc

import pytest

from core.text.tokenizer import CHARACTERS_A_TOKEN, Tokenizer
from core.text.words import encode_words

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "央", "行", "降", "息", "a", "##a", ","]
WORDS = [*VOCAB[:4], "央行", "降息", "央", "行", "a"]


@pytest.mark.parametrize("vocab", [VOCAB, WORDS])
@pytest.mark.parametrize("truncation", ["end", "head_tail"])
def test_the_kept_tokens_are_those_of_the_whole_text(vocab: list[str], truncation: str):
    tokenizer, whole = Tokenizer(vocab, 12, truncation), Tokenizer(vocab, 10**9)
    for unit in ("央行降息，", "a" * 99 + " ", "a," * 30, "好\u200b 央"):
        for count in (1, 12 * CHARACTERS_A_TOKEN // len(unit) + 3, 20_000 // len(unit)):
            text = "行" + unit * count + "息"
            [ids], [everything] = tokenizer.encode([text]).input_ids, whole.encode([text]).input_ids
            if len(everything) <= 12:
                assert len(ids) <= 12
            elif truncation == "end":
                assert ids == [*everything[:11], everything[-1]]
            else:
                assert ids == [*everything[:3], *everything[-9:]]
            if len(everything) > 12:
                assert tokenizer.encode([text]).truncated == [True]


def test_a_text_that_is_cut_before_its_tokens_are_known_counts_as_cut():
    text = "央" + " " * 100_000 + "行"
    encoded = Tokenizer(VOCAB, 12).encode([text, "央"])
    assert encoded.truncated == [True, False] and encoded.input_ids[1] == [2, 4, 3]


def test_sentences_of_many_and_of_long_words():
    tokenizer = Tokenizer(VOCAB, 6)
    encoded = encode_words(tokenizer, [["央"] * 100_000, [], ["a" * 1_000_000, "行"], ["央", "行", "", "息"]])
    assert encoded.input_ids[-2:] == [[2, 1, 5, 3], [2, 4, 5, 1, 7, 3]]
    assert encoded.words[-2] == [-1, 0, 1, -1] and encoded.sentences[-2:] == [2, 3]
    assert set(map(len, encoded.input_ids)) == {6, 4}
    told = [
        word for words, sentence in zip(encoded.words, encoded.sentences, strict=True) for word in words if not sentence
    ]
    assert [word for word in told if word >= 0] == list(range(100_000))  # each once, none is cut


def test_little_is_held_of_a_text_of_many_megabytes():
    text, tokenizer = "央行降息，" * 4_000_000, Tokenizer(VOCAB, 32)
    tracemalloc.start()
    [ids] = tokenizer.encode([text]).input_ids
    assert tracemalloc.get_traced_memory()[1] < 1_000_000 and len(ids) == 32
    tracemalloc.stop()
