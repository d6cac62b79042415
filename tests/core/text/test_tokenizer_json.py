"""The vocabulary of a tokenizer.json."""

import json
from pathlib import Path

import pytest

from core.console import UserError
from core.text.tokenizer import SPECIAL_TOKENS, Tokenizer, read_vocab

VOCAB = [*SPECIAL_TOKENS, "好", "人", "##人", "今天"]
IDS = {token: index for index, token in enumerate(VOCAB)}


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def test_tokens_come_in_the_order_of_their_ids(tmp_path: Path):
    shuffled = {token: IDS[token] for token in sorted(VOCAB, key=hash)}
    path = write(tmp_path / "tokenizer.json", {"model": {"type": "WordPiece", "vocab": shuffled}})
    assert read_vocab(path) == VOCAB
    assert read_vocab(tmp_path / "vocab.txt") == VOCAB  # the file beside it counts where this one is missing
    added = [{"id": 0, "content": "[PAD]"}, {"id": len(VOCAB), "content": "[E1]"}]
    write(path, {"model": {"vocab": shuffled}, "added_tokens": added})
    assert read_vocab(path) == [*VOCAB, "[E1]"]
    (tmp_path / "vocab.txt").write_text("\n".join(VOCAB), encoding="utf-8")
    assert read_vocab(tmp_path / "vocab.txt") == VOCAB


def test_what_our_tokenizer_writes_is_read(tmp_path: Path):
    path = tmp_path / "tokenizer.json"
    path.write_text("\ufeff" + Tokenizer(VOCAB, 16).to_json(), encoding="utf-8")
    assert read_vocab(path) == VOCAB


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"model": {"type": "BPE", "vocab": IDS, "merges": []}}, "is a BPE tokenizer, a BERT's is WordPiece: take"),
        ({"model": {"type": "Unigram", "vocab": [["好", -1.0]]}}, "is a Unigram tokenizer"),
        ({"model": {"vocab": IDS | {"x": 99}}}, "its ids are not 0 to 8, each once; fetch it again"),
        ({"model": {"vocab": IDS | {"x": 3}}}, "its ids are not 0 to 8"),
        ({"model": {"vocab": {"x": 0}}}, r"lacks \[PAD\]"),
        ({"model": {"vocab": IDS | {"x": "8"}}}, "is not the tokenizer.json of a BERT: fetch it again"),
        ({"model": {"vocab": VOCAB}}, "is not the tokenizer.json of a BERT"),
        ({"model": {"vocab": IDS}, "added_tokens": [3]}, "is not the tokenizer.json of a BERT"),
        ({"model": None}, "is not the tokenizer.json of a BERT"),
        ({}, "is not the tokenizer.json of a BERT"),
        ([], "is not the tokenizer.json of a BERT"),
    ],
)
def test_what_is_no_vocabulary_is_told(tmp_path: Path, content: object, says: str):
    with pytest.raises(UserError, match=says):
        read_vocab(write(tmp_path / "tokenizer.json", content))


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer.json"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:7\n", "a git-lfs pointer, not the file itself"),
        (b"\n\n<HTML lang=zh>", r"a web page \(HTML\), not the file itself"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><Error/>", "a web page"),
    ],
)
def test_a_file_that_was_never_fetched(tmp_path: Path, name: str, content: bytes, says: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} is {says}.*fetch it again"):
        read_vocab(tmp_path / name)
