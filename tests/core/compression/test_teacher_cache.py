"""The cache of a teacher's logits: made once, gone on with, and found again for rows and for tokens."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from core.compression import teacher_cache
from core.compression.teacher_cache import RowLogits, cached_logits
from core.console import UserError
from core.model_files import checkpoint
from core.training.batches import Batches

LENGTHS = [5, 2, 3, 5, 2, 4, 3, 2, 6, 3]


def rows(first: int = 7) -> Batches:
    """Ten rows of different lengths in five batches; the first row begins with the token `first`."""
    ids = [np.arange(length, dtype=np.int32) + 10 * row for row, length in enumerate(LENGTHS)]
    ids[0][0] = first
    return Batches({"labels": [0] * 10, "input_ids": ids}, {"input_ids": 0}, 2)


class Teacher:
    """Gives each row logits by its number, or each token by its id; may be stopped before a call."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.calls, self.stop_at = 0, stop_at

    def count(self) -> None:
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        self.calls += 1

    def __call__(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        self.count()
        return torch.stack((batch["row"] * 0.5, -batch["row"].float()), 1)

    def tokens(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        self.count()
        assert (batch["attention_mask"].sum(1) == torch.tensor(LENGTHS)[batch["row"]]).all()
        ids = batch["input_ids"].float() + 99 * (batch["attention_mask"] == 0)  # padding has logits too
        return torch.stack((ids * 0.5, -ids), -1)


WANTED = torch.stack((torch.arange(10) * 0.5, -torch.arange(10).float()), 1).half()


def ask(folder: Path, teacher: Callable, sha256: str = "t", first: int = 7) -> torch.Tensor:
    return cached_logits(folder, sha256, (2,), rows(first), teacher).values


def test_logits_are_computed_once(tmp_path: Path):
    for calls in (5, 0):
        teacher = Teacher()
        assert torch.equal(ask(tmp_path, teacher), WANTED)
        assert teacher.calls == calls
    for sha256, first in (("another", 7), ("t", 8)):
        teacher = Teacher()
        ask(tmp_path, teacher, sha256, first)
        assert teacher.calls == 5


def test_a_stopped_teacher_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(teacher_cache, "SAVE_SECONDS", 0)
    with pytest.raises(KeyboardInterrupt):
        ask(tmp_path, Teacher(stop_at=3))
    teacher = Teacher()
    assert torch.equal(ask(tmp_path, teacher), WANTED)
    assert teacher.calls == 2


@pytest.mark.parametrize("damage", ["half", "flipped", "foreign", "shape"])
def test_a_damaged_cache_is_computed_again(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    ask(tmp_path, Teacher())
    (path,) = tmp_path.glob("*.pt")
    content = bytearray(path.read_bytes())
    if damage == "half":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        place = content.index(WANTED.numpy().tobytes())
        content[place] ^= 1
        path.write_bytes(content)
    else:
        checkpoint.write_tensors(path, {"logits": WANTED[:5]} if damage == "shape" else {"x": 1})
    teacher = Teacher()
    assert torch.equal(ask(tmp_path, teacher), WANTED)
    assert teacher.calls == 5 and "are damaged: computing them again" in capsys.readouterr().out


def test_a_teacher_that_gives_no_numbers(tmp_path: Path):
    with pytest.raises(UserError, match="logits that are not numbers"):
        ask(tmp_path, lambda batch: torch.full((2, 2), torch.nan))


def of_tokens(folder: Path, teacher: Callable) -> RowLogits:
    return cached_logits(folder, "t", (2,), rows(), teacher, per_token=True)


def row_by_row(found: RowLogits) -> list[list[float]]:
    """The second logit of each token of each row."""
    return [found.values[start:end, 1].tolist() for start, end in zip(found.starts[:-1], found.starts[1:], strict=True)]


TOKENS = [[-float(token) for token in ids] for ids in rows().columns["input_ids"]]


def test_logits_of_tokens_are_kept_without_padding_and_computed_once(tmp_path: Path):
    for calls in (5, 0):
        teacher = Teacher()
        found = of_tokens(tmp_path, teacher.tokens)
        assert row_by_row(found) == TOKENS and found.values.shape == (sum(LENGTHS), 2)
        assert found.values.dtype == torch.float16 and teacher.calls == calls


def test_a_stopped_teacher_of_tokens_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(teacher_cache, "SAVE_SECONDS", 0)
    with pytest.raises(KeyboardInterrupt):
        of_tokens(tmp_path, Teacher(stop_at=2).tokens)
    teacher = Teacher()
    assert row_by_row(of_tokens(tmp_path, teacher.tokens)) == TOKENS
    assert teacher.calls == 3


def test_a_cache_of_rows_is_none_of_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    ask(tmp_path, Teacher())
    assert row_by_row(of_tokens(tmp_path, Teacher().tokens)) == TOKENS
    assert "are damaged: computing them again" in capsys.readouterr().out


def test_a_teacher_that_gives_no_numbers_for_one_token(tmp_path: Path):
    def logits(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        found = Teacher().tokens(batch)
        found[batch["input_ids"] == 92] = torch.nan
        return found

    with pytest.raises(UserError, match="logits that are not numbers"):
        of_tokens(tmp_path, logits)


def test_what_fp16_cannot_hold_becomes_the_largest_that_it_can(tmp_path: Path):
    found = ask(tmp_path, lambda batch: torch.tensor([[1e6, -1e6]] * 2))
    assert found.isfinite().all() and found[0].tolist() == [65504, -65504]


def test_rows_of_a_batch_get_zeros_behind_the_shorter_ones(tmp_path: Path):
    found = of_tokens(tmp_path, Teacher().tokens).to(torch.device("cpu"))
    batch = found.of(torch.tensor([1, 8, 2]), 7)
    assert batch.shape == (3, 7, 2) and batch.dtype == torch.float32
    assert batch[0, :, 1].tolist() == [*TOKENS[1], 0, 0, 0, 0, 0] and batch[1, :, 1].tolist() == [*TOKENS[8], 0]
    assert batch[2, :, 1].tolist() == [*TOKENS[2], 0, 0, 0, 0]
    plain = cached_logits(tmp_path, "rows", (2,), rows(), Teacher()).to(torch.device("cpu"))
    assert torch.equal(plain.of(torch.tensor([3, 1]), 2), WANTED[[3, 1]].float())


def test_data_in_parts_and_several_teachers(tmp_path: Path):
    one = of_tokens(tmp_path, Teacher().tokens)
    other = RowLogits(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).half(), torch.tensor([0, 1, 3]))
    joined = RowLogits.join([one, other])
    assert row_by_row(joined) == [*TOKENS, [2.0], [4.0, 6.0]]
    mean = RowLogits.mean([one, RowLogits(one.values + 4, one.starts)])
    assert mean.values.dtype == torch.float32
    assert row_by_row(mean) == [[value + 2 for value in row] for row in TOKENS]
    plain = RowLogits(WANTED)
    assert torch.equal(RowLogits.join([plain, plain]).of(torch.tensor([13]), 2), WANTED[[3]])
    assert torch.equal(RowLogits.mean([plain, RowLogits(3 * WANTED)]).values, 2 * WANTED.float())
