"""The paired bootstrap against cases whose answer is known."""

import numpy as np
import pytest

from core.stats import paired_bootstrap


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
