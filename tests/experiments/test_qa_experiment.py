"""The comparison of readers, from end to end and again."""

import json
from pathlib import Path

import pytest
from conftest import write_bert
from qa_questions import ASKING, VOCAB

from core.console import UserError
from experiments import qa


def args(bert: Path, data: Path, output: Path, *more: str) -> list[str]:
    paths = ["--data-dir", str(data), "--bert-path", str(bert), "--output", str(output)]
    return [*paths, "--seeds", "1", "--num-epochs", "1", "--max-length", "48", "--device", "cpu", *more]


@pytest.mark.measurement
def test_from_end_to_end_and_again(questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    qa_bert = write_bert(tmp_path / "bert", [*VOCAB, *sorted(set(ASKING) - set(VOCAB))], max_position_embeddings=128)
    asked = ["--models", "clause, rules", "reader", "again", "students"]
    qa.main(args(qa_bert, questions, tmp_path, *asked))
    report = json.loads((tmp_path / "qa.json").read_text(encoding="utf-8"))
    names = [(entry["model"], entry["rows"]) for entry in report["summary"]]
    first = ["clause, rules", "reader", "reader, cloze first"]  # the last one teaches
    assert names == [(name, 90) for name in (*first, "again", "spread, alone", "spread, taught")]
    taught = report["summary"][-1]
    assert taught["against"] == "spread, alone" and taught["low"] <= taught["difference"] <= taught["high"]
    assert [entry.get("against") for entry in report["summary"][:4]] == [None, "clause, rules", "reader", first[-1]]
    assert "taught | 90 |" in (tmp_path / "qa.md").read_text(encoding="utf-8")
    assert (tmp_path / "qa.png").read_bytes().startswith(b"\x89PNG") and str(questions) not in json.dumps(report)

    lost = report["cells"].pop()  # as if the run had been stopped before its last training
    (tmp_path / "qa.json").write_text(json.dumps(report), encoding="utf-8")
    monkeypatch.setattr(qa, "fine_tune", lambda *_, **__: pytest.fail("trained again"))
    qa.main(args(qa_bert, questions, tmp_path, *asked))
    again = json.loads((tmp_path / "qa.json").read_text(encoding="utf-8"))
    assert again["cells"][-1]["row_scores"] == lost["row_scores"]


def test_what_cannot_be_compared(qa_bert: Path, questions: Path, tmp_path: Path):
    with pytest.raises(UserError, match="--models lstm is none of"):
        qa.main(args(qa_bert, questions, tmp_path, "--models", "lstm"))
    with pytest.raises(UserError, match="must be 1 or more"):
        qa.main(args(qa_bert, questions, tmp_path, "--rows", "0"))
