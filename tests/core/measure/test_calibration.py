"""Temperatures that are known, errors and coverage by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import image

from core.measure import calibration
from core.measure.calibration import (
    best_temperature,
    calibration_error,
    chance_error,
    coverage_of,
    fit_temperature,
    judge_confidence,
)
from core.measure.plots import draw_confidence
from core.model_files.predictor import softmax
from core.training.batches import Batches
from core.training.units import IGNORED, row_units, token_units

RNG = np.random.default_rng(0)


def labelled(rows: int, temperature: float, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from what they mean at a temperature."""
    logits = RNG.normal(0, 4, (rows, classes)).astype(np.float32)
    shares = softmax(logits, temperature).cumsum(axis=1)
    return logits, (RNG.random((rows, 1)) > shares).sum(axis=1).clip(max=classes - 1)


def row_batches(labels: np.ndarray) -> Batches:
    return Batches({"labels": labels.tolist(), "input_ids": [[1]] * len(labels)}, {}, 8)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_at_is_found(temperature: float):
    logits, labels = labelled(6000, temperature)
    found = fit_temperature(list(logits), row_batches(labels), row_units)
    assert found == pytest.approx(temperature, rel=0.06)
    shares = softmax(logits, found)
    right = shares.argmax(axis=1) == labels
    judged = judge_confidence(shares, right, found)
    assert judged["ece"] < 0.03 and judged["temperature"] == found
    plain = softmax(logits, 1)
    assert judged["ece_uncalibrated"] == pytest.approx(calibration_error(plain.max(axis=1), right), abs=1e-6)
    assert temperature == 1 or judged["ece_uncalibrated"] > 2 * judged["ece"]


def test_few_rows_without_a_mistake_do_not_make_a_model_certain():
    found = best_temperature(np.array([[3.0, 0], [0, 3]] * 10), [0, 1] * 10)
    assert calibration.COOLEST < found < 1 and softmax(np.array([3.0, 0]), found).max() < 0.9999
    always_wrong = best_temperature(np.array([[3.0, 0]] * 500), [1] * 500)
    assert 1 < always_wrong <= calibration.HOTTEST and math.isfinite(always_wrong)


def test_tokens_that_are_no_unit_count_for_nothing():
    logits, labels = labelled(1500, 2.0)
    expected = best_temperature(logits, labels)
    rows, tags = [], []
    for start in range(0, 1500, 5):  # five tokens a row, between two that are none and would mislead
        noise = np.full((1, 4), [9, -9, -9, -9], np.float32)
        rows.append(np.concatenate([noise, logits[start : start + 5], noise]))
        tags.append([IGNORED, *labels[start : start + 5].tolist(), IGNORED])
    batches = Batches({"labels": tags, "input_ids": [[1] * 7] * len(tags)}, {"labels": IGNORED}, 8)
    assert fit_temperature(rows, batches, token_units) == pytest.approx(expected, abs=2e-4)


def test_units_may_have_different_numbers_of_classes():
    """As where the classes are the places in a text: the start of an answer is one of its tokens."""

    def places(logits: torch.Tensor, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        return logits.squeeze(-1), batch["labels"]

    short, long = labelled(800, 2.0, classes=3), labelled(800, 2.0, classes=7)
    rows = [row[:, None] for logits, _ in (short, long) for row in logits]
    labels = np.concatenate([short[1], long[1]])
    wide = np.full((1600, 7), -np.inf)
    wide[:800, :3], wide[800:] = short[0], long[0]
    columns = {"labels": labels.tolist(), "input_ids": [[1] * len(row) for row in rows]}
    found = fit_temperature(rows, Batches(columns, {}, 8), places)
    assert found == pytest.approx(best_temperature(wide, labels), abs=2e-4)
    assert found == pytest.approx(2, rel=0.1)


def test_the_order_of_classes_stays_at_any_temperature():
    logits = RNG.normal(0, 5, (200, 6)).astype(np.float32)
    logits[:, 1] = np.nextafter(logits.max(axis=1), np.float32(np.inf))  # ahead by the least there is
    for temperature in (0.05, 1.7, 20.0):
        shares = softmax(logits, temperature)
        assert (shares.argmax(axis=1) == 1).all() and np.allclose(shares.sum(axis=1), 1)
    assert np.isfinite(softmax(np.array([3e38, -3e38], np.float32), 0.05)).all()


def test_errors_and_coverage_by_hand():
    confidence, right = np.array([0.95, 0.95, 0.95, 0.55]), np.array([True, True, False, False])
    assert calibration_error(confidence, right) == pytest.approx((3 * abs(0.95 - 2 / 3) + 0.55) / 4)
    rows = {row["min_confidence"]: row for row in coverage_of(confidence, right)}
    assert (rows[0.0]["coverage"], rows[0.0]["accuracy"]) == (1, 0.5)
    assert (rows[0.9]["coverage"], rows[0.9]["accuracy"]) == (0.75, pytest.approx(2 / 3))
    assert (rows[0.99]["coverage"], rows[0.99]["accuracy"]) == (0, None)
    assert calibration_error(np.array([1.0, 1 / 15]), np.array([True, False])) == pytest.approx(1 / 30)
    judged = judge_confidence(np.array([[0.9, 0.1]]), np.array([True]), None)
    assert judged.keys() == {"coverage", "ece", "ece_by_chance"}
    told = calibration.confidence_table(judged)
    assert (
        "          0.95     0.0%         -" in told.splitlines()
        and "calibration error 0.1000, by chance alone 0." in told
    )


def test_few_answers_differ_from_their_confidence_by_chance():
    few, many = (chance_error(np.linspace(0.5, 1, count)) for count in (40, 40_000))
    assert 0.02 < few < 0.2 and many < 0.01
    assert chance_error(np.ones(9)) == 0


def test_the_picture(tmp_path: Path):
    logits, labels = labelled(300, 3.0)
    shares = softmax(logits, 3)
    pictures = []
    for temperature in (3.0, None):
        draw_confidence(shares, shares.argmax(axis=1) == labels, temperature, tmp_path / "c.png")
        pictures.append(image.imread(tmp_path / "c.png"))
    assert pictures[0].shape == pictures[1].shape and (pictures[0] != pictures[1]).any()
