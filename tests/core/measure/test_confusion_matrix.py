"""The picture of a confusion matrix stays bounded, however many classes there are; the CSV beside it has all."""

import csv
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from core.measure.plots import MAX_CONFUSED, draw_confusion_matrix


@pytest.mark.parametrize("count", [3, MAX_CONFUSED, MAX_CONFUSED + 1, 1000])
def test_of_many_classes_the_most_confused_are_drawn(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("core.measure.plots.cjk_font", lambda: None)
    labels = [f"class {index}" for index in range(count)]
    true = [*range(count), count - 1, count - 1, 0]
    predicted = [*range(count), 1, 1, -1]  # the last class is taken for the second one; one row has no answer
    path = tmp_path / "confusion_matrix.png"
    draw_confusion_matrix(true, predicted, labels, path)
    with path.with_suffix(".csv").open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    assert header[1:] == labels == [row[0] for row in rows]
    counts = np.array([row[1:] for row in rows], dtype=int)
    assert counts[count - 1, 1] == 2 and counts.sum() == count + 2 and (counts.diagonal() == 1).all()
    height, width, _ = matplotlib.image.imread(path).shape
    assert max(height, width) < 5400


def test_the_confused_ones_are_among_those_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    drawn: list[list[str]] = []
    real = matplotlib.axes.Axes.set_xticks
    monkeypatch.setattr(
        matplotlib.axes.Axes,
        "set_xticks",
        lambda axes, at, names=None, **more: (drawn.append(names), real(axes, at, names, **more)),
    )
    labels = [f"class {index}" for index in range(200)]
    true = [*range(200), 150, 199]
    draw_confusion_matrix(true, [*range(200), 199, 7], labels, tmp_path / "matrix.png")
    [names] = drawn
    assert len(names) == MAX_CONFUSED and {"class 7", "class 150", "class 199"} <= set(names)
