"""The notation of search spaces, and what is refused in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from core.console import UserError
from core.training.knobs import LoopConfig
from core.training.space import has_multiples, read_space, split_entries


@dataclass
class StageConfig(LoopConfig):
    learning_rate: float | None = 4e-4
    num_epochs: int | None = 8
    batch_size: int = 128
    start: Literal["first", "spread"] = "spread"
    bert_path: Path = Path("bert")
    fast: bool = False
    model: tuple[str, ...] = ("teacher",)
    layers: int | None = None


def read(*entries: str):
    return read_space(split_entries(entries), StageConfig())


def test_ranges_choices_and_multiples_of_the_default():
    found = read("learning-rate=1e-5:1e-3:log", "num_epochs=x0.5:x1.5", "batch_size=x0.25,64,x1", "warmup_ratio=0:0.3")
    rate, epochs, batch, warmup = found.values()
    assert (rate.name, rate.kind, rate.low, rate.high, rate.log) == ("learning_rate", float, 1e-5, 1e-3, True)
    assert (epochs.kind, epochs.low, epochs.high, epochs.log) == (int, 4, 12, False)
    assert batch.choices == (32, 64, 128) and warmup.low == 0 and not warmup.log
    assert rate.value(0.000123456) == 0.000123 and rate.value(1e-3) == 1e-3 and epochs.value(7) == 7
    assert rate.holds(4e-4) and not rate.holds(2e-3) and not rate.holds(None) and batch.holds(64)
    assert [str(knob) for knob in found.values()] == ["1e-05:0.001:log", "4:12", "32,64,128", "0:0.3"]


def test_choices_of_texts_folders_and_switches():
    found = read("start=first,spread", "bert_path=bert,rbt3", "fast=true,false", "learning_rate=1e-4,x2")
    assert [knob.choices for knob in found.values()] == [
        ("first", "spread"),
        ("bert", "rbt3"),
        (True, False),
        (1e-4, 8e-4),
    ]


def test_has_multiples():
    assert (
        has_multiples("1:x1") and has_multiples("x0.5,x1") and not has_multiples("0:0.3") and not has_multiples("xlm")
    )


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([], "--space is empty"),
        (["learning_rate"], "names no values: write knob=low:high"),
        (["learning_rate="], "names no values"),
        (["num_epochs=1:2", "num-epochs=1:3"], "has num_epochs twice"),
        (["wheels=1:2"], "no knob wheels"),
        (["save_dir=a,b"], "no knob save_dir"),
        (["model=a,b"], "no knob model"),
        (["learning_rate=low:high"], "'low' is no number"),
        (["learning_rate=1e-3:1e-5"], "the range is empty"),
        (["learning_rate=1e-5:1e-3:linear"], "write low:high or low:high:log"),
        (["learning_rate=0:1e-3:log"], "begins above 0"),
        (["learning_rate=nan:1"], "'nan' is no number"),
        (["num_epochs=1.5:2"], "a whole number, 1.5 is none"),
        (["layers=1:x1"], "layers has no number here to be multiplied"),
        (["start=first,last"], "last is none of first, spread"),
        (["adapt_minutes=1:2"], "there is no knob adapt_minutes"),
        (["start=first,"], "a value between the commas is empty"),
        (["fast=yes"], "write true,false"),
        (["warmup_ratio=0:1"], "--warmup-ratio is 1.0: it must be"),
        (["num_epochs=0:3"], "--num-epochs is 0"),
    ],
)
def test_what_is_refused(entries: list[str], words: str):
    with pytest.raises(UserError, match=words):
        read(*entries)
