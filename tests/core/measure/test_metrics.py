"""Metrics by hand, their order and their words; the picture of who is taken for whom."""

from pathlib import Path

import pytest
from matplotlib import image

from core.measure import plots
from core.measure.metrics import classification_metrics, headline, in_words, metrics_table, readable
from core.measure.plots import draw_confusion_matrix
from core.model_files.facts import numbers_of

LABELS = ["财经", "体育", "科技"]


def test_metrics_by_hand():
    metrics = classification_metrics([0, 0, 1, 1], [0, 1, 1, 1], LABELS)
    assert metrics["accuracy"] == 0.75
    assert metrics["per_class"]["财经"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "n": 2}
    assert metrics["per_class"]["科技"]["n"] == 0
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2)  # the class without rows does not count
    assert metrics["macro_recall"] == pytest.approx(0.75) and metrics["macro_precision"] == pytest.approx(
        (1 + 2 / 3) / 2
    )
    assert metrics["weighted_recall"] == metrics["accuracy"]
    assert metrics_table(metrics).splitlines()[-1].endswith("weighted average")


def test_no_answer_is_a_mistake_of_no_class():
    metrics = classification_metrics([0, 1, 1], [0, -1, 1], LABELS)
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["per_class"]["体育"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "n": 2}


def test_the_words_are_the_headline_and_the_metric_that_selects():
    metrics = {"loss": 1.0, "accuracy": 0.81251, "macro_f1": 0.8, "entity_f1": 0.5}
    assert in_words(metrics, "macro_f1") == "accuracy 0.8125, macro-F1 0.8000"
    assert in_words(metrics, "accuracy") == "accuracy 0.8125"
    assert headline(metrics, "entity_f1") == "accuracy"
    del metrics["accuracy"]
    assert headline(metrics, "entity_f1") == "entity_f1" and in_words(metrics, "entity_f1") == "entity-F1 0.5000"
    assert readable("log_likelihood") == "log likelihood"


def test_numbers_come_with_the_metric_that_selects_first():
    metrics = {"loss": 0.5, "n": 3, "per_class": {"a": {}}, "predicted": "0 1", "macro_f1": 0.9}
    assert list(numbers_of(metrics, "macro_f1").items()) == [("macro_f1", 0.9), ("loss", 0.5), ("n", 3)]
    assert list(numbers_of(metrics, None)) == ["loss", "n", "macro_f1"] == list(numbers_of(metrics, "absent"))


def test_the_picture_of_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plots, "cjk_font", lambda: None)
    pictures = []
    for predicted in ([0, 1, 2, 2, -1], [0, 1, 2, 2, 0]):
        draw_confusion_matrix([0, 1, 2, 1, 2], predicted, LABELS, tmp_path / "m.png")
        pictures.append(image.imread(tmp_path / "m.png"))
    assert pictures[0].shape == pictures[1].shape and (pictures[0] != pictures[1]).any()  # no answer is not drawn
