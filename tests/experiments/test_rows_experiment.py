"""The measurement of both models at several numbers of titles."""

import json
import shutil
from pathlib import Path

import pytest

from core.console import UserError
from experiments import rows


def args(bert: Path, data: Path, output: Path, *more: str) -> list[str]:
    paths = ["--data-dir", str(data), "--bert-path", str(bert), "--output", str(output)]
    return [*paths, "--rows", "30", "--seeds", "2", "--device", "cpu", *more]


@pytest.mark.measurement
def test_from_end_to_end_and_again(bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows.main(args(bert, data, tmp_path))
    report = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert [entry["rows"] for entry in report["summary"]] == [30, 60]
    for entry in report["summary"]:
        assert len(entry["bert"]) == 2 and len(entry["linear"]) == 1
        mean = sum(entry["bert"]) / 2 - entry["linear"][0]
        assert entry["difference"] == pytest.approx(mean) and entry["low"] <= mean <= entry["high"]
    assert "| 60 |" in (tmp_path / "rows.md").read_text(encoding="utf-8")
    assert (tmp_path / "rows.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.rglob("*.pt")) and str(data) not in json.dumps(report)

    lost = report["cells"].pop()  # as if the run had been stopped before its last training
    (tmp_path / "rows.json").write_text(json.dumps(report), encoding="utf-8")
    trained = []
    real = rows.fine_tune
    monkeypatch.setattr(rows, "fine_tune", lambda *args, **more: (trained.append(args), real(*args, **more)))
    rows.main(args(bert, data, tmp_path))
    again = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert len(trained) == 1 and again["cells"][-1]["predicted"] == lost["predicted"]

    other = Path(shutil.copytree(bert, tmp_path / "bert"))  # the same weights, trained in another way
    recipe = {"learning_rate": 1e-3, "num_epochs": [[None, 2]]}
    other.joinpath("finetune.json").write_text(json.dumps(recipe), encoding="utf-8")
    with pytest.raises(UserError, match="was made with another finetune: delete it"):
        rows.main(args(other, data, tmp_path))


def test_bad_input(bert: Path, data: Path, tmp_path: Path):
    with pytest.raises(UserError, match="must be 1 or more"):
        rows.main(args(bert, data, tmp_path, "--seeds", "0"))
    (tmp_path / "rows.json").write_text('{"settings": {}, "cells": []}', encoding="utf-8")
    with pytest.raises(UserError, match="was made with another data: delete it, or choose another --output"):
        rows.main(args(bert, data, tmp_path))
    for damaged in ("{", "[]", '{"settings": {}}', '{"settings": {}, "cells": [1]}'):
        (tmp_path / "rows.json").write_text(damaged, encoding="utf-8")
        with pytest.raises(UserError, match="is damaged: delete it and start again"):
            rows.main(args(bert, data, tmp_path))
