"""Encoding, files and checkpoints: what goes in comes out, and nothing foreign does."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from threading import Barrier

import pytest
import torch
from conftest import ROOT

from core.console import UserError
from core.files import atomic_write, encoding_of, read_lines
from core.model_files import checkpoint
from core.text.tokenizer import Tokenizer, check_coverage, read_vocab, replace_surrogates

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "好", "人", "a", "##b", "c"]
META = {"stage": "teacher", "architecture": {}, "labels": ["甲", "乙"], "vocab": VOCAB, "max_length": 8}


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


def test_standard_input_of_mixed_encodings(tmp_path: Path):
    path = tmp_path / "lines"
    path.write_bytes("央行\r\n".encode() + "降息\n".encode("gb18030") + b"\xff\xff\n")
    with path.open("rb") as file:
        assert list(read_lines(file, None))[:2] == ["央行", "降息"]


class SlowFile(BytesIO):
    """A file whose counting of faults begins only when that of another one has begun."""

    def __init__(self, content: bytes, both: Barrier) -> None:
        super().__init__(content)
        self.both = both

    def seek(self, *args: int) -> int:
        if self.both:
            self.both.wait()
            self.both = None
        return super().seek(*args)


def test_two_threads_do_not_count_each_others_faults():
    both = Barrier(2, timeout=10)
    files = [SlowFile("央行降息\n".encode("gb18030"), both) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(encoding_of, files, ("a", "b"))) == ["gb18030", "gb18030"]


def test_a_checkpoint_comes_back(tmp_path: Path):
    weights = {"w": torch.randn(3, 4), "n": torch.tensor(7)}
    checkpoint.save(tmp_path / "deep" / "m.pt", weights, META)
    state_dict, meta = checkpoint.load(tmp_path / "deep" / "m.pt")
    assert meta == META
    assert all(torch.equal(state_dict[name], weights[name]) for name in weights)


class Hostile:
    def __reduce__(self):
        return (print, ("code ran",))


def refuse(path: Path, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=says):
        checkpoint.load(path)
    assert "code ran" not in capsys.readouterr().out


def test_damaged_and_foreign_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    good, bad = tmp_path / "good.pt", tmp_path / "bad.pt"
    checkpoint.save(good, {"w": torch.randn(100, 100)}, META)
    content = good.read_bytes()

    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damage in (b"", b"hello", content[: len(content) // 2], content[:-10], bytes(flipped), b"PK\x03\x04" * 9):
        bad.write_bytes(damage)
        refuse(bad, "damaged", capsys)

    bad.write_bytes(pickle.dumps({"state_dict": Hostile()}))
    refuse(bad, "pickled", capsys)
    torch.save({"format_version": 1, "state_dict": {}, "meta": Hostile()}, bad)
    refuse(bad, "pickled", capsys)
    torch.save(torch.nn.Linear(2, 2), bad)
    refuse(bad, "pickled", capsys)
    torch.save({"w": torch.zeros(1)}, bad)
    refuse(bad, "not a checkpoint of this project", capsys)
    torch.save({"format_version": 99, "state_dict": {}, "meta": META}, bad)
    refuse(bad, "format version 99, this code reads 1", capsys)
    torch.save({"format_version": 1, "state_dict": {}, "meta": {"stage": "teacher"}}, bad)
    refuse(bad, "lacks facts", capsys)
    refuse(tmp_path / "none.pt", "there is no file", capsys)


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path):
    path = tmp_path / "m.pt"
    checkpoint.save(path, {"w": torch.zeros(3)}, META)
    before = path.read_bytes()

    def half(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left on device.*free some disk space"):
        atomic_write(path, half)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.pt"]


def test_a_fault_of_what_computes_the_content_is_not_told_as_one_of_the_disk(tmp_path: Path):
    def compute(file):
        file.write(b"half")
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        atomic_write(tmp_path / "answers.csv", compute)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are POSIX")
def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path):
    code = (
        "import resource, sys, torch; from pathlib import Path\n"
        "from core.model_files import checkpoint; from core.console import run\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "run(lambda: checkpoint.save(Path(sys.argv[1]), {'w': torch.zeros(100, 1000)}, {}))"
    )
    root = ROOT
    target = tmp_path / "m.pt"
    result = subprocess.run([sys.executable, "-c", code, str(target)], cwd=root, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: cannot write {target}")
    assert not list(tmp_path.iterdir())
