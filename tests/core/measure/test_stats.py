"""The paired bootstrap against cases whose answer is known."""

import numpy as np
import pytest

from core.measure.stats import macro_f1, paired_bootstrap, paired_bootstrap_counts, paired_bootstrap_f1


def test_equal_models_do_not_differ():
    correct = np.arange(400) % 5 > 0
    comparison = paired_bootstrap(correct, correct)
    assert (comparison.difference, comparison.low, comparison.high, comparison.p) == (0, 0, 0, 1)


def test_the_interval_is_that_of_the_normal_approximation():
    rng = np.random.default_rng(3)
    one, other = rng.random(2000) < 0.8, rng.random(2000) < 0.75
    comparison = paired_bootstrap(one, other)
    differences = one.astype(float) - other
    error = differences.std() / np.sqrt(2000)
    assert comparison.difference == pytest.approx(differences.mean())
    assert comparison.low == pytest.approx(differences.mean() - 1.96 * error, abs=0.2 * error)
    assert comparison.high == pytest.approx(differences.mean() + 1.96 * error, abs=0.2 * error)
    assert comparison.p < 0.01


def test_pairing_finds_a_small_but_steady_difference():
    other = np.arange(1000) % 2 == 0
    one = other.copy()
    one[1:41:2] = True  # right on twenty titles more, wrong on none
    comparison = paired_bootstrap(one, other)
    assert comparison.low > 0 and comparison.p < 0.001
    assert paired_bootstrap(other, one).high < 0


def test_macro_f1_is_that_of_scikit_learn():
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(4)
    true, predicted = rng.integers(0, 4, 300), rng.integers(0, 5, 300)
    assert macro_f1(true, predicted, 6) == pytest.approx(
        f1_score(true, predicted, labels=range(4), average="macro", zero_division=0.0)
    )


def test_a_better_macro_f1_is_told_from_a_lucky_one():
    rng = np.random.default_rng(5)
    true = rng.choice(3, 600, p=(0.8, 0.15, 0.05))
    blind = np.zeros((2, 600), int)  # right on the large class alone
    seeing = np.where(rng.random((2, 600)) < 0.7, true, 0)
    comparison = paired_bootstrap_f1(true, seeing, blind, 3)
    expected = np.mean([macro_f1(true, one, 3) for one in seeing]) - macro_f1(true, blind[0], 3)
    assert comparison.difference == pytest.approx(expected)
    assert 0 < comparison.low < comparison.difference < comparison.high and comparison.p < 0.01
    equal = paired_bootstrap_f1(true, blind, blind, 3)
    assert (equal.difference, equal.low, equal.high, equal.p) == (0, 0, 0, 1)


def test_f1_of_what_a_row_holds_several_of():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, 300)
    ours, theirs = (np.stack([rng.binomial(true, share), true, true], 1) for share in (0.9, 0.7))
    found = paired_bootstrap_counts([ours, ours], [theirs])
    assert found.difference == pytest.approx((ours[:, 0].sum() - theirs[:, 0].sum()) / true.sum())
    assert 0.1 < found.low < found.difference < found.high < 0.3 and found.p < 0.01
    same = paired_bootstrap_counts([ours], [ours])
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)
