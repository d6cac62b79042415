"""The table of calibration: what evaluate.py has written of each model, and no file without a temperature."""

import json
from pathlib import Path

import pytest

from core.console import UserError
from core.model_files import checkpoint
from experiments import calibration


def test_from_end_to_end(teacher: Path, data: Path, tmp_path: Path):
    flags = ["--data", str(data / "test.txt"), "--output", str(tmp_path), "--device", "cpu", "--model"]
    calibration.main([*flags, str(teacher)])
    report = json.loads((tmp_path / "calibration.json").read_text(encoding="utf-8"))
    own = json.loads((tmp_path / "teacher" / "evaluate" / "metrics.json").read_text(encoding="utf-8"))
    [row] = report["rows"]
    assert row == {"name": "teacher", **{name: own[name] for name in calibration.FIGURES}}
    assert report["data_sha256"] == own["data_sha256"] and str(tmp_path) not in json.dumps(report)
    sure = next(each for each in row["coverage"] if each["min_confidence"] == 0.8)
    line = (tmp_path / "calibration.md").read_text(encoding="utf-8").splitlines()[-1]
    assert line.startswith("| `teacher` teacher | ") and f" | {row['temperature']:.2f} | " in line
    assert line.endswith(f" | {100 * sure['coverage']:.1f} % | {100 * sure['accuracy']:.1f} % |")

    weights, facts = checkpoint.load(teacher)
    checkpoint.save(tmp_path / "old.pt", weights, {name: facts[name] for name in facts if name != "temperature"})
    with pytest.raises(UserError, match="old.pt carries no temperature, as files of earlier versions: make the model"):
        calibration.main([*flags, str(tmp_path / "old.pt")])
