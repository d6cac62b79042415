"""A corpus: its vocabulary of words, its encoded texts on disk, word vectors from it, and batches of like length."""

import os
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

import core.pretraining.corpus
from core.console import UserError
from core.pretraining.corpus import Characters, Corpus, CorpusBatches, build_vocab, encode_corpus, read_texts
from core.pretraining.word_vectors import ppmi_vectors
from core.text.tokenizer import SPECIAL_TOKENS, Tokenizer, is_word_vocab
from pretrain_mlm import find_files


@pytest.fixture(scope="module")
def vocab(corpus: Path) -> list[str]:
    return build_vocab([corpus], 150)


def test_a_vocabulary_of_words(vocab: list[str]):
    assert vocab[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert is_word_vocab(vocab) and {"央行", "芯", "abc"} <= set(vocab)
    tokenizer = Tokenizer(vocab, 16)
    tokens = [tokenizer.vocab[token] for token in tokenizer.encode(["央行降息芯ABc"]).input_ids[0]]
    assert tokens == ["[CLS]", "央行", "降息", "芯", "abc", "[SEP]"]
    assert not is_word_vocab(["[UNK]", "好", "##人", "好人"]) and not is_word_vocab(["好", "a", "bc"])


def test_word_vectors_are_alike_for_words_used_alike(tmp_path: Path):
    lines = [line for line in ("丙甲丁", "丙乙丁", "戊己庚", "戊辛庚") for _ in range(50)]
    (tmp_path / "t.txt").write_text("\n".join(lines), encoding="utf-8")
    words = ["甲", "乙", "己", "辛", "丙", "丁", "戊", "庚", "无"]
    tokenizer = Tokenizer([*SPECIAL_TOKENS, "[MASK]", *words], 16)
    vectors = ppmi_vectors(encode_corpus([tmp_path / "t.txt"], tokenizer, tmp_path / "c"), 14, 8, 5, seed=0)
    assert vectors.shape == (14, 8) and vectors.dtype == np.float32 and np.isfinite(vectors).all()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = unit @ unit.T
    assert min(alike[5, 6], alike[7, 8]) > 0.95 > 0.5 > alike[5, 7]


def test_batches_hold_every_text_once_within_their_budget(corpus: Path, vocab: list[str], tmp_path: Path):
    tokenizer = Tokenizer(vocab, 128)
    encoded = encode_corpus([corpus], tokenizer, tmp_path)
    rows = np.arange(1, len(encoded.lengths), 2)
    batches = CorpusBatches(encoded, rows, tokenizer, 256, seed=1)
    epochs = [list(batches.epoch(number)) for number in (0, 0, 1)]
    assert all(len(epoch) == len(batches) for epoch in epochs)
    assert all(batch["input_ids"].numel() <= 256 for batch in epochs[0])
    assert sorted(torch.cat([batch["row"] for batch in epochs[0]]).tolist()) == rows.tolist()
    orders = [torch.cat([batch["row"] for batch in epoch]).tolist() for epoch in epochs]
    assert orders[0] == orders[1] != orders[2]
    skipped = list(batches.epoch(0, skip=3))
    assert torch.equal(skipped[0]["input_ids"], epochs[0][3]["input_ids"])


def test_words_split_into_their_characters():
    vocab = [*SPECIAL_TOKENS, "[MASK]", "央", "行", "降", "央行", "降息", "abc"]
    ids, token = Characters(vocab).split(np.array([8, 9, 5, 10, 1]))
    assert ids.tolist() == [5, 6, 9, 5, 10, 1]  # 息 and the letters are not in the vocabulary, [UNK] is no word
    assert token.tolist() == [0, 0, 1, 2, 3, 4]


def test_a_share_of_the_batches_is_of_characters(corpus: Path, vocab: list[str], tmp_path: Path):
    tokenizer = Tokenizer(vocab, 128)
    encoded = encode_corpus([corpus], tokenizer, tmp_path)
    rows = np.arange(len(encoded.lengths))
    batches = CorpusBatches(encoded, rows, tokenizer, 256, seed=1, character_share=0.5, positions=10)
    found = list(batches.epoch())
    split = [batch for batch in found if "word" in batch]
    assert 0.2 < len(split) / len(found) < 0.8
    assert [batch["row"].tolist() for batch in found] == [
        batch["row"].tolist() for batch in CorpusBatches(encoded, rows, tokenizer, 256, seed=1, positions=10).epoch()
    ]
    for batch in split:
        assert batch["input_ids"].shape == batch["word"].shape and batch["input_ids"].shape[1] <= 10
        columns = (batch[name].tolist() for name in ("row", "input_ids", "word", "attention_mask"))
        for row, ids, word, mask in zip(*columns, strict=True):
            text = "".join(tokenizer.vocab[token] for token in encoded.text(row))
            length = sum(mask)
            assert text.startswith("".join(tokenizer.vocab[token] for token in ids[1 : length - 1]))
            of_word = [ids[place] for place in range(length) if word[place] == 1]
            assert "".join(tokenizer.vocab[token] for token in of_word) == tokenizer.vocab[encoded.text(row)[0]]
            assert word[0] == 0 and word[length - 1] > word[length - 2]  # [CLS] and [SEP] are of no word
    again = list(batches.epoch(skip=3))
    assert torch.equal(again[0]["input_ids"], found[3]["input_ids"])


def test_the_encoded_corpus_is_used_again_and_remade_when_stale(
    corpus: Path, vocab: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tokenizer, folder = Tokenizer(vocab, 128), tmp_path / "corpus"
    encode_corpus([corpus], tokenizer, folder)
    before = (folder / "ids.bin").stat().st_mtime_ns
    encode_corpus([corpus], tokenizer, folder)
    assert (folder / "ids.bin").stat().st_mtime_ns == before
    (folder / "ids.bin").write_bytes(b"\0\0")
    assert len(encode_corpus([corpus], tokenizer, folder).ids) > 1
    other = tmp_path / "other.txt"
    other.write_text("球队夺冠加时绝杀\n", encoding="utf-8")
    opened = []

    def open_corpus(folder: Path) -> Corpus:
        assert not any(stale() for stale in opened), "mapped still when it is written over"
        opened.append(weakref.ref(found := Corpus(folder)))
        return found

    monkeypatch.setattr(core.pretraining.corpus, "Corpus", open_corpus)
    assert len(encode_corpus([other], tokenizer, folder).lengths) == 1 and len(opened) == 2


def test_a_corpus_of_two_encodings_is_read_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "t.txt"
    path.write_bytes("央行下调利率\n".encode("gb18030") * 20 + "球队夺冠\n\n".encode())
    assert list(read_texts([path])) == ["央行下调利率"] * 20 + ["球队夺冠"]
    encode_corpus([path], Tokenizer([*SPECIAL_TOKENS, "央"], 16), tmp_path / "c")
    assert "1 line(s) in UTF-8 among those in GB18030" in capsys.readouterr().err
    path.write_text('{"text": "央行下调利率"}\n' * 3, encoding="utf-8")
    with pytest.raises(UserError, match="is JSON"):
        list(read_texts([path]))


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes are POSIX")
def test_files_of_a_corpus(tmp_path: Path):
    """Folders are looked into, whatever case their files' suffix has."""
    files = [tmp_path / name for name in ("news/a.txt", "news/体育/B.TXT", "news/体育/2024/c.Txt")]
    for path in (
        *files,
        tmp_path / "news/体育/readme.md",
        tmp_path / "news/体育/x.txt.gz",
        tmp_path / "news/bert/vocab.txt",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("央行\n", encoding="utf-8")
    (tmp_path / "news/folder.txt").mkdir()
    assert sorted(find_files([tmp_path / "news"])) == sorted(files)
    assert find_files([tmp_path / "news/体育/readme.md"]) == [tmp_path / "news/体育/readme.md"]
    with pytest.raises(UserError, match="holds no .txt file"):
        find_files([tmp_path / "news/folder.txt"])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is a pipe or a device.*save it to a file"):
        find_files([tmp_path / "pipe"])


def test_a_line_without_end_is_cut(vocab: list[str], tmp_path: Path):
    path = tmp_path / "long.txt"
    path.write_text("央行降息，" * 50_000, encoding="utf-8")
    corpus = encode_corpus([path], Tokenizer(vocab, 64), tmp_path / "corpus")
    assert corpus.lengths.max() <= 62 and corpus.lengths.sum() == 100_000 + 50_000  # the comma is [UNK]
