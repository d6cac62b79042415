"""Text into token ids: known, unknown, strange and long text; rows into arrays."""

from pathlib import Path

import numpy as np
import pytest

from core.console import UserError
from core.text.collate import collate
from core.text.tokenizer import Tokenizer, check_coverage, read_vocab, replace_surrogates
from core.text.words import encode_words

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "好", "人", "a", "##b", "c"]


def test_encoding_of_known_unknown_and_long_text():
    encoded = Tokenizer(VOCAB, max_length=5).encode(["好人", "鑫", "AB c", "好好好人", ""])
    assert encoded.input_ids == [[2, 4, 5, 3], [2, 1, 3], [2, 6, 7, 8, 3], [2, 4, 4, 4, 3], [2, 3]]
    assert encoded.truncated == [False, False, False, True, False]


def test_a_vocabulary_with_capitals_keeps_case():
    tokenizer = Tokenizer([*VOCAB, "A"], max_length=8)
    assert tokenizer.encode(["A a"]).input_ids == [[2, 9, 6, 3]]


def test_words_are_matched_longest_first_and_what_is_unknown_stays_alone():
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "好", "人", "好人", "a", "b", "ab", "]", "-"]
    tokenizer = Tokenizer(vocab, max_length=12)
    assert tokenizer.encode(["好人好", "好鑫好人", "AB]-a人", "好人😀"]).input_ids == [
        [2, 6, 4, 3],
        [2, 4, 1, 6, 3],
        [2, 9, 10, 11, 7, 5, 3],
        [2, 6, 1, 3],
    ]
    assert tokenizer.unknown_share(["好鑫好人"]) == 0.25
    assert len(tokenizer.encode(["好人" * 1_000_000]).input_ids[0]) == 12


@pytest.mark.parametrize("kind", ["words", "pieces"])
def test_the_view_of_characters_is_that_of_words_given_one_by_one(kind: str):
    bundled = read_vocab(Path(__file__).parents[3] / "bert-mini-chinese" / "vocab.txt")
    vocab = {"words": bundled, "pieces": [*VOCAB, "b", "e"]}[kind]
    texts = ["苹果iPhone 15发布会：售价5999元起", "好人ab，鑫 Café", "①⅓ ﾊﾟ", "", "  ", "好" * 40]
    words, characters = Tokenizer(vocab, 64), Tokenizer(vocab, 64, characters=True)
    given = encode_words(words, [[c for c in text if not c.isspace()] for text in texts])
    rows = dict(zip(given.sentences, given.input_ids, strict=True))  # of texts with nothing in them there are none
    encoded = characters.encode(texts)
    assert (
        encoded.input_ids
        == [rows.get(index, [words.cls_id, words.sep_id]) for index in range(len(texts))]
        != words.encode(texts).input_ids
    )
    assert len(Tokenizer(vocab, 24, characters=True).encode([texts[-1]]).input_ids[0]) == 24
    assert list(characters.encode_pieces(["好人"])) == [[vocab.index("好"), vocab.index("人")]]


@pytest.mark.parametrize("text", ["\ud800", "好\udfff", "😀" * 50, "好" * 100_000, "\x00\x01", " " * 1000, "\u200b"])
def test_any_text_can_be_encoded(text: str):
    encoded = Tokenizer(VOCAB, max_length=16).encode([text])
    assert 2 <= len(encoded.input_ids[0]) <= 16


def test_surrogates():
    assert replace_surrogates("a\ud83d\ude00b\ud800") == "a😀b\ufffd"


def test_coverage():
    tokenizer = Tokenizer(VOCAB, max_length=8)
    check_coverage(tokenizer, ["好人"] * 99 + ["好鑫"], Path("bert"))
    with pytest.raises(UserError, match="does not know 25.0%"):
        check_coverage(tokenizer, ["好人", "好鑫"], Path("bert"))


@pytest.mark.parametrize(
    ("tokens", "says"), [(VOCAB[1:], r"lacks \[PAD\]"), ([], "lacks"), ([*VOCAB, "好"], "1 tokens twice")]
)
def test_bad_vocabularies(tmp_path: Path, tokens: list[str], says: str):
    (tmp_path / "vocab.txt").write_text("\n".join(tokens), encoding="utf-8")
    with pytest.raises(UserError, match=says):
        read_vocab(tmp_path / "vocab.txt")


def test_vocabulary_with_windows_line_ends(tmp_path: Path):
    (tmp_path / "vocab.txt").write_bytes("\r\n".join(VOCAB).encode() + b"\r\n")
    assert read_vocab(tmp_path / "vocab.txt") == VOCAB


def test_head_and_tail_of_a_long_text():
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"一二三四五六七八九十"]
    tokenizer = Tokenizer(vocab, 10, "head_tail")
    encoded = tokenizer.encode(["一二三四五六七八九十", "一二三四五六七八", "", "一二三四五六七八九"])
    kept = ["".join(tokenizer.vocab[index] for index in ids[1:-1]) for ids in encoded.input_ids]
    assert kept == ["一二五六七八九十", "一二三四五六七八", "", "一二四五六七八九"]
    assert encoded.truncated == [True, False, False, True]
    assert all(ids[0] == tokenizer.cls_id and ids[-1] == tokenizer.sep_id for ids in encoded.input_ids)
    assert Tokenizer.from_facts({"vocab": vocab, "max_length": 10}).truncation == "end"
    assert tokenizer.mask_id == tokenizer.unknown_id  # this vocabulary has no [MASK]
    assert len(Tokenizer(vocab, 3, "head_tail").encode(["一二三"]).input_ids[0]) == 3
    with pytest.raises(ValueError, match="unknown truncation"):
        Tokenizer(vocab, 10, "middle")


def test_texts_in_pieces_lose_no_token():
    tokenizer = Tokenizer(VOCAB, max_length=5)
    assert list(tokenizer.encode_pieces(["好人", "", "好好人人好", "好人a"])) == [[4, 5], [4, 4, 5], [5, 4], [4, 5, 6]]


def test_rows_of_different_lengths_become_arrays():
    columns = {"input_ids": [[2, 4, 3], [2, 3]], "labels": [[-100, 1, -100], [-100, -100]], "places": [7, 9]}
    columns["segments"] = [[0, 1, 1], [1, 1]]
    arrays = collate(columns, {"input_ids": 5, "labels": -100})
    expected = {
        "input_ids": [[2, 4, 3], [2, 3, 5]],
        "labels": [[-100, 1, -100], [-100, -100, -100]],
        "places": [7, 9],
        "segments": [[0, 1, 1], [1, 1, 0]],
        "attention_mask": [[1, 1, 1], [1, 1, 0]],
    }
    assert {name: array.tolist() for name, array in arrays.items()} == expected
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.int64)}


def test_padding_is_told_from_a_token_of_the_same_id():
    arrays = collate({"input_ids": [[2, 0, 3], [2]]}, {"input_ids": 0})
    assert arrays["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
