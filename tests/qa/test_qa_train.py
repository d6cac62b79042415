"""Questions from training to the API, on a tiny BERT; every script of the root takes the model."""

import json
import random
from pathlib import Path

import pytest
from conftest import write_bert
from qa_questions import VOCAB, a_question, flags, write_questions, write_squad

import evaluate
from core.console import UserError
from core.model_files import checkpoint
from qa import predict, train
from qa.predict import QaPredictor

CONTEXT = "今日新的。王芳来自北京。的到了。"
WHO, WHERE = "谁来自这个地方？", "他来自哪里？"


def test_it_learns_and_says_all_about_itself(reader: Path):
    facts = checkpoint.load(reader)[1]
    assert facts["metrics"]["dev"]["f1"] > 0.9 and facts["metrics"]["test"]["em"] > 0.8
    assert facts["labels"] == ["start", "end"] and facts["best_by"] == "f1" and facts["per_token"]
    assert (facts["task"], facts["architecture"]["reads"]) == ("qa", "words")
    assert facts["answers"] == {"longest": 3, "threshold": None} and facts["temperature"] != 1
    found = QaPredictor.load(reader).predict([(WHO, CONTEXT), (WHERE, CONTEXT), (WHERE, "今日新的。" * 18 + CONTEXT)])
    assert [(each["answer"], each["start"], each["end"]) for each in found[:2]] == [("王芳", 5, 7), ("北京", 9, 11)]
    assert (found[2]["answer"], found[2]["start"]) == ("北京", 99), "in another window than the first"
    for each in found:
        top = each["top_k"]
        assert {**top[0], "top_k": top, "truncated": False} == each and len({one["answer"] for one in top}) == len(top)
        assert 0.99 < sum(one["confidence"] for one in top) <= 1.001 or len(top) == 20
        assert [one["confidence"] for one in top] == sorted((one["confidence"] for one in top), reverse=True)


def test_where_there_is_no_answer_it_says_so(qa_bert: Path, tmp_path: Path):
    data = write_questions(tmp_path / "data", null_share=0.4)
    train.main([*flags(data, tmp_path), "--bert-path", str(qa_bert), "--num-epochs", "10"])
    model = tmp_path / "save/bert_qa.pt"
    metrics = checkpoint.load(model)[1]["metrics"]["test"]
    assert metrics["f1"] > 0.8 and metrics["null_accuracy"] > 0.8 and metrics["answerable_f1"] > 0.7
    found = QaPredictor.load(model).predict([(WHERE, "今日新的。的到了。昨天的今日。"), (WHERE, CONTEXT)])
    assert [each["answer"] for each in found] == ["", "北京"] and found[0]["start"] is None
    assert found[0]["confidence"] > 0.5


def test_any_bert_folder_goes_the_same_road(questions: Path, tmp_path: Path):
    """One of pieces, without words: it reads characters."""
    pieces = [token for token in VOCAB if len(token) == 1 or token.startswith("[")]
    pieces += [f"##{letter}" for letter in "imslo"]
    bert = write_bert(tmp_path / "bert", pieces, type_vocab_size=1)
    train.main([*flags(questions, tmp_path), "--bert-path", str(bert), "--num-epochs", "8"])
    facts = checkpoint.load(tmp_path / "save/bert_qa.pt")[1]
    assert facts["architecture"]["reads"] == "characters" and facts["metrics"]["dev"]["f1"] > 0.5


def test_the_passages_are_read_first(questions: Path, qa_bert: Path, tmp_path: Path):
    """The BERT has no masked-language-model head, so a clear sentence says that it cannot."""
    with pytest.raises(UserError, match="head"):
        train.main([*flags(questions, tmp_path), "--bert-path", str(qa_bert), "--adapt-minutes", "0.01"])
    with pytest.raises(UserError, match="--adapt-minutes is 0"):
        train.main(["--adapt-minutes", "0"])
    with pytest.raises(UserError, match="--max-length is 9"):
        train.main(["--max-length", "9"])


def test_evaluation_writes_the_mistakes(reader: Path, questions: Path, tmp_path: Path):
    folder = tmp_path / "data"
    rows = [a_question(random.Random(seed), seed) for seed in range(9)]
    rows[0]["qas"][0]["answers"] = [{"text": "另一个", "answer_start": 0}]
    path = write_squad(folder / "test.json", rows)
    evaluate.main(["--model", str(reader), "--data", str(path), "--output", str(tmp_path)])
    found = json.loads((tmp_path / "evaluate/metrics.json").read_text(encoding="utf-8"))
    assert (
        found["n"] == 9 == len(found["row_scores"]) and found["row_scores"][0] == 0 and found["measure"] == "CMRC 2018"
    )
    assert found["f1"] == pytest.approx(sum(found["row_scores"]) / 9, abs=1e-6)
    lines = (tmp_path / "evaluate/bad_cases.tsv").read_text(encoding="utf-8-sig").splitlines()
    assert lines[0].startswith("f1\tconfidence\tanswer\treferences") and "另一个" in lines[1]
    report = (tmp_path / "evaluate/report.txt").read_text(encoding="utf-8")
    assert "f1" in report and "1 answer(s) that their passage does not have" not in report


def test_the_command_line(reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model = ["--model", str(reader)]
    predict.main([*model, "--question", WHERE, "--context", CONTEXT, "--top-k", "2"])
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == WHERE and shown[1].split()[0] == "9–11" and shown[1].endswith("北京") and len(shown) == 3
    (tmp_path / "a.txt").write_text(f"{CONTEXT}\n", encoding="utf-8")
    predict.main([*model, "--question", WHERE, "--file", str(tmp_path / "a.txt")])
    assert "北京" in capsys.readouterr().out
    (tmp_path / "a.csv").write_text(f"编号,问题,原文\n7,{WHERE},{CONTEXT}\n8,,{CONTEXT}\n", encoding="utf-8")
    predict.main([*model, "--file", str(tmp_path / "a.csv"), "--output", str(tmp_path / "b.jsonl")])
    rows = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["row"], row["answer"], row["start"]) for row in rows] == [(1, "北京", 9), (2, "", None)]
    assert rows[1]["error"] == "the question is empty: nothing in it can be seen"
    (tmp_path / "c.csv").write_text(f"id,甲,乙\n7,{WHO},{CONTEXT}\n", encoding="utf-8")
    predict.main([*model, "--file", str(tmp_path / "c.csv"), "--columns", "甲", "C"])
    assert "王芳" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--question", " ", "--context", "a"], "the question is empty"),
        (["--question", "a", "--context", "\u200b"], "the passage is empty"),
        (["--question", "a"], "the passage is missing"),
        (["--context", "a"], "--question is missing"),
        (["--context", "a", "--file", "b.csv"], "exclude each other"),
        (["--question", "a", "--context", "b", "--output", "c.csv"], "--output goes with --file and a table"),
    ],
)
def test_questions_that_cannot_be_asked(args: list[str], says: str):
    with pytest.raises(UserError, match=says):
        predict.main(args)
