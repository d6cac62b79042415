"""The measurement of both models at several numbers of titles."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import BertConfig, BertForMaskedLM

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


@pytest.mark.measurement
def test_a_bert_that_read_the_titles_first_is_one_more_model(bert: Path, data: Path, tmp_path: Path):
    with_head = Path(shutil.copytree(bert, tmp_path / "bert"))
    BertForMaskedLM(BertConfig.from_pretrained(bert)).save_pretrained(with_head)
    more = tmp_path / "titles.txt"
    more.write_text("".join(f"又一条标题 {row}\n" for row in range(40)), encoding="utf-8")
    rows.main(args(with_head, data, tmp_path, "--seeds", "1", "--adapt-minutes", "0.01", "--unlabeled", str(more)))
    report = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    for entry in report["summary"]:
        assert entry["gain"]["difference"] == pytest.approx(entry["adapted"][0] - entry["bert"][0])
    assert [cell["model"] for cell in report["cells"]] == ["linear", "bert", "adapted"] * 2
    assert "BERT, adapted first" in (tmp_path / "rows.md").read_text(encoding="utf-8")
    assert not list((tmp_path / "rows_work").rglob("*.safetensors"))
    with pytest.raises(UserError, match="was made with another adapt: delete it"):
        rows.main(args(with_head, data, tmp_path, "--seeds", "1", "--adapt-minutes", "0.02"))


def test_bad_input(bert: Path, data: Path, tmp_path: Path):
    with pytest.raises(UserError, match="must be 1 or more"):
        rows.main(args(bert, data, tmp_path, "--seeds", "0"))
    with pytest.raises(UserError, match="--unlabeled is for --adapt-minutes"):
        rows.main(args(bert, data, tmp_path, "--unlabeled", "titles.txt"))
    (tmp_path / "rows.json").write_text('{"settings": {}, "cells": []}', encoding="utf-8")
    with pytest.raises(UserError, match="was made with another data: delete it, or choose another --output"):
        rows.main(args(bert, data, tmp_path))
    for damaged in ("{", "[]", '{"settings": {}}', '{"settings": {}, "cells": [1]}'):
        (tmp_path / "rows.json").write_text(damaged, encoding="utf-8")
        with pytest.raises(UserError, match="is damaged: delete it and start again"):
            rows.main(args(bert, data, tmp_path))
