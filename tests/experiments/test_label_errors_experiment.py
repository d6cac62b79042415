"""The measurement of how many labels that were swapped on purpose are found."""

import json
from pathlib import Path

import numpy as np
import pytest

from core.console import UserError
from experiments import label_errors
from experiments.label_errors import swap


def args(data: Path, folder: Path, *more: str) -> list[str]:
    return ["--data-dir", str(data), "--output", str(folder), "--save-dir", str(folder / "save"), *more]


def test_every_other_class_alike_and_nothing_else():
    given = [row % 4 for row in range(4000)]
    labels, places = swap(given, 4, 0.25, seed=1)
    changed = [place for place, (one, other) in enumerate(zip(given, labels, strict=True)) if one != other]
    assert changed == places.tolist() and len(places) == 1000
    shifts = np.bincount([(labels[place] - given[place]) % 4 for place in changed], minlength=4)
    assert shifts[0] == 0 and shifts[1:].min() > 270
    assert swap(given, 4, 0.25, seed=1)[0] == labels != swap(given, 4, 0.25, seed=2)[0]


def test_from_end_to_end_and_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    flags = args(data, tmp_path, "--share", "0.05", "--seeds", "2")
    label_errors.main(flags)
    report = json.loads((tmp_path / "label_errors.json").read_text(encoding="utf-8"))
    assert [cell["seed"] for cell in report["cells"]] == [1, 2]
    for cell in report["cells"]:
        assert (cell["n"], cell["swapped"]) == (60, 3) and cell["found_at_the_head"] <= cell["found"] <= 3
    assert sum(cell["found_at_the_head"] for cell in report["cells"]) >= 3  # of 6: by chance it would be none
    assert "| linear model | 60 | 3 | 2 |" in (tmp_path / "label_errors.md").read_text(encoding="utf-8")

    report["cells"].pop()
    (tmp_path / "label_errors.json").write_text(json.dumps(report), encoding="utf-8")
    searched, real = [], label_errors.search
    monkeypatch.setattr(label_errors, "search", lambda *given: (searched.append(given[3]), real(*given))[1])
    label_errors.main(flags)
    assert searched == [2]
    with pytest.raises(UserError, match="was made with another share: delete it, or choose another --output"):
        label_errors.main([*flags, "--share", "0.1"])


@pytest.mark.parametrize("flags", [["--share", "0"], ["--share", "0.5"], ["--seeds", "0"], ["--folds", "1"]])
def test_impossible_knobs(flags: list[str], data: Path, tmp_path: Path):
    with pytest.raises(UserError, match=f"{flags[0]} is {flags[1]}"):
        label_errors.main(args(data, tmp_path, *flags))
