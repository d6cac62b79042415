"""The comparison of taggers, from end to end and again."""

import json
from pathlib import Path

import pytest

from core.console import UserError
from experiments import ner


def args(bert: Path, data: Path, output: Path, *more: str) -> list[str]:
    paths = ["--data-dir", str(data), "--bert-path", str(bert), "--output", str(output)]
    return [*paths, "--seeds", "1", "--num-epochs", "1", "--device", "cpu", *more]


@pytest.mark.measurement
def test_from_end_to_end_and_again(words_bert: Path, sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = ["--models", "dictionary", "both", "again", "students", "--rows", "20"]
    monkeypatch.setattr(ner, "STUDENTS", {name: ner.STUDENTS[name] for name in ("first, alone", "first, taught")})
    ner.main(args(words_bert, sentences, tmp_path, *asked))
    report = json.loads((tmp_path / "ner.json").read_text(encoding="utf-8"))
    names = [(entry["model"], entry["rows"]) for entry in report["summary"]]
    assert names == [
        ("dictionary", 20),
        ("both", 20),
        ("again", 20),
        ("dictionary", 60),
        ("both", 60),
        ("again", 60),
        ("first, alone", 60),
        ("first, taught", 60),
    ]
    taught = report["summary"][-1]
    assert taught["against"] == "first, alone" and taught["low"] <= taught["difference"] <= taught["high"]
    assert "student from the first layers, taught | 60 |" in (tmp_path / "ner.md").read_text(encoding="utf-8")
    assert (tmp_path / "ner.png").read_bytes().startswith(b"\x89PNG") and str(sentences) not in json.dumps(report)

    lost = report["cells"].pop()  # as if the run had been stopped before its last training
    (tmp_path / "ner.json").write_text(json.dumps(report), encoding="utf-8")
    monkeypatch.setattr(ner, "fine_tune", lambda *_, **__: pytest.fail("trained again"))
    ner.main(args(words_bert, sentences, tmp_path, *asked))
    again = json.loads((tmp_path / "ner.json").read_text(encoding="utf-8"))
    assert again["cells"][-1]["counts"] == lost["counts"]


def test_what_cannot_be_compared(words_bert: Path, sentences: Path, tmp_path: Path):
    with pytest.raises(UserError, match="--models lstm is none of"):
        ner.main(args(words_bert, sentences, tmp_path, "--models", "lstm"))
    with pytest.raises(UserError, match="must be 1 or more"):
        ner.main(args(words_bert, sentences, tmp_path, "--rows", "0"))
