"""Questions from training to the API, on a tiny BERT; every script of the root takes the model."""

import json
import random
import re
import shutil
from pathlib import Path

import pytest
from api_client import ApiClient
from conftest import float_products, write_bert
from qa_questions import VOCAB, a_question, flags, held_back, write_questions, write_squad
from transformers import BertConfig, BertForMaskedLM

import api
import benchmark
import bert_model_quantization
import custom_pruning
import evaluate
import tasks
from core.compression import quantize
from core.console import UserError, parse
from core.model_files import checkpoint, openvino_model
from qa import baseline, data, distillation, predict, train
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
    assert found[2]["start"] >= 90, "in another window than the first"
    for each in found:
        top = each["top_k"]
        assert {**top[0], "top_k": top, "truncated": False} == each and len({one["answer"] for one in top}) == len(top)
        assert 0.99 < sum(one["confidence"] for one in top) <= 1.001 or len(top) == 20
        assert [one["confidence"] for one in top] == sorted((one["confidence"] for one in top), reverse=True)


def test_near_copies_of_what_judges_are_not_read_first(qa_bert: Path, tmp_path: Path, monkeypatch):
    folder, read = write_questions(tmp_path / "data", 12), []
    paragraphs = {
        name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["data"][0]["paragraphs"]
        for name in ("train", "dev", "test")
    }
    judged = ["王芳到了（北京）。新的今日！", "张三喜欢上海市，到了。"]
    write_squad(folder / "dev.json", [*paragraphs["dev"], {**paragraphs["dev"][0], "context": judged[0]}])
    write_squad(folder / "test.json", [*paragraphs["test"], {**paragraphs["test"][0], "context": judged[1]}])
    copies = [f"{text[0]} {text[1:]}！" for text in judged]
    more = [{**paragraphs["train"][0], "context": text} for text in [*copies, "Kim来自Oslo。"]]
    write_squad(folder / "train.json", [*paragraphs["train"], *more])
    monkeypatch.setattr(train, "adapt", lambda bert, texts, *rest: (read.extend(texts), bert)[1])
    args = [*flags(folder, tmp_path), "--bert-path", str(qa_bert), "--adapt-minutes", "1", "--max-steps", "1"]
    train.main(args)
    assert "Kim来自Oslo。" in read and not set(copies) & set(read)


def test_where_there_is_no_answer_it_says_so(qa_bert: Path, tmp_path: Path):
    data = write_questions(tmp_path / "data", null_share=0.4)
    train.main([*flags(data, tmp_path), "--bert-path", str(qa_bert), "--num-epochs", "7"])
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
    train.main([*flags(questions, tmp_path), "--bert-path", str(bert), "--num-epochs", "4"])
    facts = checkpoint.load(tmp_path / "save/bert_qa.pt")[1]
    assert facts["architecture"]["reads"] == "characters" and facts["metrics"]["dev"]["f1"] > 0.4


def test_the_passages_are_read_first(
    questions: Path, qa_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = BertConfig.from_pretrained(qa_bert)
    shutil.copytree(qa_bert, tmp_path / "bert")
    BertForMaskedLM(config).save_pretrained(tmp_path / "bert")
    args = [*flags(questions, tmp_path), "--bert-path", str(tmp_path / "bert"), "--adapt-minutes", "0.01"]
    train.main([*args, "--max-steps", "1"])
    assert "adapted " in capsys.readouterr().out and (tmp_path / "save/adapted_bert/model.safetensors").is_file()
    with pytest.raises(UserError, match="head"):  # without one a clear sentence says that it cannot
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
    table = f"编号,标题,问题,正文\n7,北京,{WHERE},{CONTEXT}\n8,北京,,{CONTEXT}\n"  # a title is no passage
    (tmp_path / "a.csv").write_text(table, encoding="utf-8")
    predict.main([*model, "--file", str(tmp_path / "a.csv"), "--output", str(tmp_path / "b.jsonl")])
    rows = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["row"], row["answer"], row["start"]) for row in rows] == [(1, "北京", 9), (2, "", None)]
    assert "read from '问题', '正文'; other columns: --columns" in capsys.readouterr().err
    assert rows[0]["confidence"] == round(rows[0]["confidence"], 4)
    assert rows[1]["error"] == "the question is empty: nothing in it can be seen"
    (tmp_path / "c.csv").write_text(f"id,甲,乙\n7,{WHO},{CONTEXT}\n", encoding="utf-8")
    predict.main([*model, "--file", str(tmp_path / "c.csv"), "--columns", "甲", "C"])
    assert "王芳" in capsys.readouterr().out
    book = pytest.importorskip("openpyxl").Workbook()
    for title, question in (("一月", WHO), ("二月", WHERE)):
        sheet = book.create_sheet(title)
        sheet.append(["问题", "原文"])
        sheet.append([question, CONTEXT])
    book.save(tmp_path / "d.xlsx")
    predict.main([*model, "--file", str(tmp_path / "d.xlsx"), "--sheet", "二月"])
    assert "北京" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--question", " ", "--context", "a"], "the question is empty"),
        (["--question", "a", "--context", "\u200b"], "the passage is empty"),
        (["--question", "a"], "the passage is missing"),
        (["--context", "a"], "--question is missing"),
        (["--context", "a", "--file", "b.csv"], "exclude each other"),
        (["--question", "a", "--context", "b", "--output", "c.csv"], "--output goes with --file and a table"),
        (["--question", "a", "--file", "b.txt", "--sheet", "一月"], "--sheet goes with --file and a table"),
    ],
)
def test_questions_that_cannot_be_asked(args: list[str], says: str):
    with pytest.raises(UserError, match=says):
        predict.main(args)


@pytest.fixture(scope="module")
def student(reader: Path, questions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of one layer, of two teachers that are one."""
    folder = tmp_path_factory.mktemp("student")
    distillation.main([*flags(questions, folder, False), "--model", str(reader), str(reader), "--num-epochs", "6"])
    return folder / "save" / "bert_soft_distill.pth"


def test_the_student_answers_without_torch_and_as_its_checkpoint(student: Path):
    facts = checkpoint.load(student)[1]
    assert len(facts["architecture"]["layers"]) == 1 and facts["metrics"]["dev"]["f1"] > 0.6
    assert facts["answers"] == {"longest": 3, "threshold": None}
    asked = [(WHO, CONTEXT), (WHERE, "今日新的。" * 18 + CONTEXT), ("谁", "张三")]
    one, other = (QaPredictor.load(path).predict(asked) for path in (student, student.with_suffix(".onnx")))
    for ours, theirs in zip(one, other, strict=True):
        assert ours["answer"] == theirs["answer"] and ours["start"] == theirs["start"]
        assert ours["confidence"] == pytest.approx(theirs["confidence"], abs=1e-3)


@pytest.mark.parametrize("start", ["random", "first", "folder"])
def test_students_start_from_anywhere(start: str, reader: Path, qa_bert: Path, questions: Path, tmp_path: Path):
    args = [*flags(questions, tmp_path, False), "--model", str(reader), "--max-steps", "1", "--bert-layers", "1"]
    given = str(qa_bert) if start == "folder" else start
    distillation.distil(parse(distillation.DistillConfig, [*args, "--start", given], None), deploy=False)
    name = "bert.encoder.layer.0.attention.self.query.weight"
    weights = checkpoint.load(tmp_path / "save" / "bert_soft_distill.pth")[0]
    near = (weights[name] - checkpoint.load(reader)[0][name]).abs().mean() < 0.01
    assert near == (start == "first")


def test_starts_that_are_none(reader: Path, bert: Path, questions: Path, tmp_path: Path):
    args = [*flags(questions, tmp_path, False), "--model", str(reader)]
    with pytest.raises(UserError, match="another vocabulary than the teacher"):
        distillation.main([*args, "--start", str(bert)])
    with pytest.raises(UserError, match="--bert-layers 9 is more than the 2 layers of the teacher"):
        distillation.main([*args, "--bert-layers", "9"])
    with pytest.raises(UserError, match="--start is nowhere"):
        distillation.main([*args, "--start", "nowhere"])


def assert_fitted_again(made: QaPredictor, questions: Path) -> None:
    """A model made of one that never answers has a threshold of its own, and the metrics that it has with it."""
    assert made.longest == 3 and made.threshold < 99
    dev, found = data.read(questions / "dev.json"), made.facts["metrics"]["dev"]
    assert predict.TASK.score(made, dev, None)["f1"] == pytest.approx(found["f1"]) and found["f1"] > 0


def test_int8_and_benchmark(student: Path, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    common = ["--data-dir", str(questions), "--output", str(tmp_path)]
    monkeypatch.setattr(openvino_model, "is_installed", lambda: False)  # which takes long, and is tested elsewhere
    monkeypatch.setattr(quantize, "VARIANTS", {"signed": quantize.VARIANTS["signed"]})
    bert_model_quantization.main([*common, "--model", str(held_back(student, tmp_path)), "--max-drop", "30"])
    int8 = tmp_path / "bert_soft_distill_int8.onnx"
    assert not float_products(int8)
    assert_fitted_again(QaPredictor.load(int8), questions)
    assert QaPredictor.load(int8).predict([(WHO, CONTEXT)])[0]["answer"]
    monkeypatch.setattr(benchmark, "TURNS", 1)
    monkeypatch.setattr(benchmark, "TIMED_ITEMS", 3)
    alone = {"peak_mb": 1.0, "cold_start_s": 1.0, "p50_ms": 1.0, "p95_ms": 1.0, "titles_per_s": 1.0}
    monkeypatch.setattr(benchmark, "measure_alone", lambda *_: alone)
    benchmark.main([*common, "--model", str(int8), str(student)])
    rows = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))["rows"]
    named = {row["name"]: row for row in rows}
    assert {"clause", "clause, rules", "bert_soft_distill_int8", "bert_soft_distill"} <= named.keys()
    assert named["bert_soft_distill"]["f1"] > named["clause"]["f1"]


def test_pruning_keeps_what_the_model_says_of_answers(reader: Path, questions: Path, tmp_path: Path):
    args = ["--data-dir", str(questions), "--save-dir", str(tmp_path), "--output", str(tmp_path), "--device", "cpu"]
    model = str(held_back(reader, tmp_path))
    custom_pruning.main([*args, "--model", model, "--keep-layers", "1", "--prune-vocab", "--max-steps", "8"])
    [pruned] = tmp_path.glob("*.pth")
    assert len(checkpoint.load(pruned)[1]["architecture"]["layers"]) == 1
    assert_fitted_again(QaPredictor.load(pruned, "cpu"), questions)
    assert tasks.load(pruned, "cpu")[1].predict([(WHO, CONTEXT)])[0]["answer"]


def test_it_answers_on_the_api(reader: Path):
    app = api.create_app(api.load_models([f"qa={reader}"]), api.ApiConfig())
    client = ApiClient(app)
    body = client.post("/predict", json={"question": WHERE, "context": CONTEXT, "top_k": 2}).get_json()
    assert (body["answer"], body["start"], body["end"], body["status"]) == ("北京", 9, 11, 200)
    assert body["text"] == WHERE and len(body["top_k"]) == 2 and not body["truncated"]
    assert {name: body[name] for name in ("answer", "start", "end", "confidence")} == body["top_k"][0]
    body = client.post("/predict", json={"question": [WHO, " ", 3], "context": CONTEXT}).get_json()
    assert [item.get("answer") for item in body["predictions"]] == ["王芳", None, None]
    assert body["predictions"][1]["error"] == "问题是空的：请填写 question"
    body = client.post("/predict", json={"question": WHO, "context": [CONTEXT, "长" * 10_001, ""]}).get_json()
    assert ["error" in item for item in body["predictions"]] == [False, True, True]
    for asked, code in (
        ({"context": CONTEXT}, "question_missing"),
        ({"question": WHO}, "context_missing"),
        ({"question": WHO, "context": " "}, "context_empty"),
        ({"question": [WHO], "context": [CONTEXT, CONTEXT]}, "lengths_differ"),
        ({"question": [], "context": CONTEXT}, "empty_list"),
        ({"question": WHO, "context": CONTEXT, "top_k": 0}, "bad_top_k"),
    ):
        assert client.post("/predict", json=asked).get_json()["code"] == code
    app.close()


def test_baselines_and_the_difference_to_them(reader: Path, questions: Path, tmp_path: Path):
    baseline.main(["--data-dir", str(questions), "--output", str(tmp_path)])
    found = json.loads((tmp_path / "qa_baseline/metrics.json").read_text(encoding="utf-8"))
    assert found["model"] == "clause, rules" and 0 < found["f1"] < 0.9 and len(found["row_scores"]) == found["n"]
    args = ["--data", str(questions / "test.json"), "--output", str(tmp_path)]
    evaluate.main(["--model", str(reader), *args, "--against", str(tmp_path / "qa_baseline")])
    report = (tmp_path / "evaluate/report.txt").read_text(encoding="utf-8")
    assert re.search(r"\nf1 \+\d+\.\d points against clause, rules \(95 % interval \+\d+\.\d to \+\d+\.\d, p", report)


def test_a_data_set_is_looked_over(qa_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = write_questions(tmp_path / "data", 30)
    rows = json.loads((folder / "train.json").read_text(encoding="utf-8"))["data"][0]["paragraphs"]
    lost = {"id": "L", "question": "谁？", "answers": [{"text": "没有", "answer_start": 3}]}
    write_squad(folder / "dev.json", [rows[0], {"context": "王芳来自北京。", "qas": [lost]}])
    near = {**rows[1], "context": f"{rows[1]['context']}！"}
    write_squad(folder / "test.json", [near])
    data.main(["check", str(folder), "--bert-path", str(qa_bert), "--max-length", "32", "--output", str(tmp_path)])
    report = (tmp_path / "qa_check/report.txt").read_text(encoding="utf-8")
    assert "passages both in train and dev: 1, near repeats included" in report and "'没有' at 3" in report
    assert "passages both in train and test: 1, near repeats included" in report
    assert "of the answers end beyond the first" in report and report in capsys.readouterr().out
    with pytest.raises(UserError, match="has no train.json"):
        data.read_data(tmp_path)
