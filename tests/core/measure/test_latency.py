"""Speed: what is timed, how often, in what company, and on which items."""

import pytest

from core.console import UserError
from core.measure import latency
from core.measure.latency import BATCH, compare_speed, spread_sample


def test_items_to_measure_with_are_spread_evenly():
    assert spread_sample([*map(str, range(10))], 5) == ["0", "2", "4", "6", "8"]
    assert spread_sample(range(11), 5) == [0, 3, 6, 9] and spread_sample([7], 5) == [7]
    assert len(spread_sample(range(1000), 256)) in range(200, 257)
    with pytest.raises(UserError, match="nothing to measure with that a model could answer"):
        spread_sample([], 5)


def test_models_take_turns_alone_and_in_batches():
    asked: list[tuple[str, int, int]] = []

    def model(name: str):
        return lambda items, at_once: asked.append((name, len(items), at_once))

    found = compare_speed([model("a"), model("b")], [*range(40)], rounds=2)
    assert [sorted(each) for each in found] == [["p50_ms", "p95_ms", "titles_per_s"]] * 2
    assert all(each["p95_ms"] >= each["p50_ms"] >= 0 and each["titles_per_s"] > 0 for each in found)
    turn = [(1, 1)] * (3 + 40) + [(BATCH, BATCH), (40, BATCH)]  # warmed up with three, and with a batch
    assert asked == [(name, *ask) for _ in range(2) for name in "ab" for ask in turn]


def test_a_slow_model_is_timed_in_fewer_rounds(monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    monkeypatch.setattr(latency, "LONGEST_S", 0.0)
    [found] = compare_speed([lambda items, _: asked.append(len(items))], [*range(10)], rounds=5)
    assert len(asked) == 3 + 10 + 2 and found["p50_ms"] >= 0  # one round
