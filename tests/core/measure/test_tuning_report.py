"""What is said of a search."""

import pytest

from core.measure.tuning_report import best_of, conclusion, default_of, saved_share, standing, trial_in_words


def trial(number: int, value: float | None, state: str = "complete", done: float = 1.0, **more) -> dict:
    its = {"number": number, "state": state, "value": value, "done": done, "seconds": 10.0, "metric": "macro_f1"}
    return {**its, "knobs": {"learning_rate": 0.0004, "recipe": "fgm"}, "default": number == 0, "fault": None, **more}


TRIALS = [trial(0, 0.8), trial(1, 0.9, "pruned", 0.5), trial(2, 0.82), trial(3, 0.82), trial(4, None, "failed", 0.0)]


def test_the_best_came_to_its_end_first_and_the_default_wins_ties():
    assert best_of(TRIALS)["number"] == 2 and default_of(TRIALS)["number"] == 0
    assert best_of([trial(1, 0.8), trial(0, 0.8)])["number"] == 0
    assert best_of(TRIALS[1:2]) is None and default_of(TRIALS[1:]) is None


def scores(low: float, high: float) -> dict:
    """What evaluate.py says of the default and the best, a point better within this interval."""
    against = {"difference": 0.01, "low": low, "high": high, "p": 0.3}
    return {"default": {"accuracy": 0.8, "n": 100}, "best": {"accuracy": 0.81, "n": 100, "against": against}}


LUCK = ", which may be luck (accuracy +1.0 points (95 % interval -1.0 to +3.0, p 0.3000))"


@pytest.mark.parametrize(
    ("dev", "test", "advised", "words"),
    [
        ((0.001, 0.02), (-0.01, 0.02), "best", ", not significant on test: accuracy +1.0 points (95 % interval -1.0 "),
        ((0.001, 0.02), (0.001, 0.02), "best", ", better on test too: accuracy +1.0"),
        ((0.001, 0.02), (-0.02, -0.001), "default", ", but worse on test: accuracy +1.0"),
        ((-0.01, 0.03), (0.001, 0.02), "default", f"{LUCK}, better on test too: accuracy"),
        ((-0.01, 0.03), None, "default", f"{LUCK}; without a test file nothing confirms it"),
        ((0.0, 0.03), None, "default", ", which may be luck ("),
        ((0.001, 0.03), None, "best", "; without a test file nothing confirms it"),
    ],
)
def test_what_may_be_luck_on_dev_or_is_worse_on_test_is_not_advised(
    dev: tuple[float, float], test: tuple[float, float] | None, advised: str, words: str
):
    found = conclusion(TRIALS, scores(*dev), test and scores(*test))
    assert found["advised"] == advised and found["verdict"].startswith(f"gain +2.0 on dev{words}")
    assert found["test"] == (
        {"default": {"accuracy": 0.8, "n": 100}, "best": {"accuracy": 0.81, "n": 100}} if test else {}
    )


def test_no_gain_and_no_default():
    ties = conclusion([trial(0, 0.8), trial(1, 0.8)], None, None)
    assert ties["verdict"] == "no gain: the default is the best of 2 trials on dev" and ties["advised"] == "default"
    assert conclusion([trial(0, 0.8)], None, None)["verdict"].endswith("of 1 trial on dev")
    alone = conclusion(TRIALS[1:], None, None)
    assert "no gain is known" in alone["verdict"] and alone["advised"] == "best"


def test_lines_for_people():
    assert trial_in_words(TRIALS[0]) == "trial 0: dev macro-F1 0.8000  (10 s; default)"
    assert trial_in_words(TRIALS[1]) == "trial 1: pruned at 50%, 0.9000  (10 s; learning rate 0.0004, recipe fgm)"
    assert trial_in_words(trial(1, None, "pruned", 0.05)).startswith("trial 1: pruned at 5%  (")
    assert "failed: out of memory" in trial_in_words(trial(4, None, "failed", fault="out of memory"))
    line = standing(TRIALS, 20, 1e9)
    assert "best so far 0.8200 (trial 2), default 0.8000, 1 pruned, 1 failed; 5 of 20 trials, about 2.5 minutes" in line
    assert "about 0.5 minutes" in standing(TRIALS, 20, 30)


def test_what_pruning_saves():
    assert saved_share(TRIALS) == pytest.approx(10 / 60) and saved_share(TRIALS[2:3]) == 0
