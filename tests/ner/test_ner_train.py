"""Named entities from training to the API, on a tiny BERT; every script of the root takes the model."""

import json
import re
import shutil
from functools import partial
from pathlib import Path

import pytest
from api_client import ApiClient
from conftest import float_products, write_bert
from ner_sentences import PEOPLE, VOCAB, flags, write_sentences

import api
import benchmark
import bert_model_quantization
import custom_pruning
import evaluate
import tasks
from core.console import UserError, parse
from core.model_files import checkpoint, openvino_model
from ner import baseline, data, distillation, lesson, train
from ner.predict import NerPredictor

TEXT = "王芳昨天到了上海市。"
WHERE = [("王芳", 0, 2, "PER"), ("上海市", 6, 9, "LOC")]


def where(found: list[dict]) -> list[tuple]:
    return [(each["text"], each["start"], each["end"], each["label"]) for each in found]


@pytest.fixture(scope="module")
def student(tagger: Path, sentences: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of one layer, with texts that the teacher labels."""
    folder = tmp_path_factory.mktemp("student")
    (folder / "more.txt").write_text("张三来自Oslo，喜欢北京。\n\n李小明喜欢北京，王芳喜欢上海市。\n", encoding="utf-8")
    more = ["--model", str(tagger), "--num-epochs", "4", "--unlabeled", str(folder / "more.txt")]
    distillation.main([*flags(sentences, folder), *more])
    return folder / "save" / "bert_soft_distill.pth"


def test_it_learns_and_says_all_about_itself(tagger: Path):
    facts = checkpoint.load(tagger)[1]
    assert facts["metrics"]["dev"]["f1"] > 0.95 and facts["metrics"]["test"]["f1"] > 0.95
    assert facts["labels"] == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"] and facts["best_by"] == "f1"
    assert (facts["task"], facts["per_token"], facts["architecture"]["reads"]) == ("ner", True, "both")
    assert facts["temperature"] != 1
    assert where(NerPredictor.load(tagger).predict([TEXT])[0]) == WHERE


def test_the_student_answers_without_torch_and_as_its_checkpoint(student: Path):
    facts = checkpoint.load(student)[1]
    assert len(facts["architecture"]["layers"]) == 1 and facts["metrics"]["dev"]["f1"] > 0.9
    answers = [
        NerPredictor.load(path).predict([TEXT, "张三", TEXT * 5]) for path in (student, student.with_suffix(".onnx"))
    ]
    assert next([where(found) for found in each] for each in answers) == [where(found) for found in answers[1]]
    assert where(answers[0][0]) == WHERE


@pytest.mark.parametrize("start", ["random", "first", "folder"])
def test_students_start_from_anywhere(start: str, tagger: Path, sentences: Path, tmp_path: Path):
    """A folder's BERT may read other tokens than the teacher: characters, not words."""
    other = (
        write_bert(tmp_path / "bert", [*VOCAB[:-3], "##i", "##m", "##s", "##l", "##o"]) if start == "folder" else start
    )
    args = [*flags(sentences, tmp_path), "--model", str(tagger), "--max-steps", "2", "--bert-layers", "1"]
    config = parse(distillation.DistillConfig, [*args, "--start", str(other)], None)
    distillation.distil(config, deploy=False)
    weights, facts = checkpoint.load(tmp_path / "save" / "bert_soft_distill.pth")
    name = "bert.encoder.layer.0.attention.self.query.weight"
    near = (weights[name] - checkpoint.load(tagger)[0][name]).abs().mean() < 0.02
    assert near == (start == "first") and facts["architecture"]["reads"] == (
        "characters" if start == "folder" else "words"
    )


def test_evaluation_writes_the_mistakes(tagger: Path, sentences: Path, tmp_path: Path):
    evaluate.main(["--model", str(tagger), "--data", str(sentences / "test.jsonl"), "--output", str(tmp_path)])
    found = json.loads((tmp_path / "evaluate/metrics.json").read_text(encoding="utf-8"))
    assert found["f1"] > 0.95 and set(found["per_class"]) == {"LOC", "PER"} and len(found["rows"]) == found["n"]
    assert (tmp_path / "evaluate/bad_cases.tsv").read_text(encoding="utf-8-sig").startswith("mistakes\tmissed\tfound")
    worse = {**found, "rows": [[0, 0, 2] for _ in found["rows"]], "model": "crf"}
    (tmp_path / "metrics.json").write_text(json.dumps(worse), encoding="utf-8")
    same = ["--data", str(sentences / "test.jsonl"), "--output", str(tmp_path), "--against", str(tmp_path)]
    evaluate.main(["--model", str(tagger), *same])
    report = (tmp_path / "evaluate/report.txt").read_text(encoding="utf-8")
    assert re.search(r"\nf1 \+\d+\.\d points against crf \(95 % interval \+\d+\.\d to \+\d+\.\d, p 0\.0", report)


def test_int8_and_benchmark(student: Path, sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    common = ["--data-dir", str(sentences), "--output", str(tmp_path)]
    bert_model_quantization.main([*common, "--model", str(student), "--max-drop", "9"])
    int8 = student.with_name("bert_soft_distill_int8.onnx")
    assert where(NerPredictor.load(int8).predict([TEXT])[0]) == WHERE
    assert not float_products(int8)
    monkeypatch.setattr(benchmark, "TURNS", 1)
    monkeypatch.setattr(benchmark, "TIMED_ITEMS", 3)
    alone = {"peak_mb": 1.0, "cold_start_s": 1.0, "p50_ms": 1.0, "p95_ms": 1.0, "titles_per_s": 1.0}
    monkeypatch.setattr(benchmark, "measure_alone", lambda *_: alone)
    monkeypatch.setattr(baseline, "ITERATIONS", 5)
    benchmark.main([*common, "--model", str(int8), str(student)])
    rows = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))["rows"]
    assert {"dictionary", "bert_soft_distill_int8", "bert_soft_distill"} <= {row["name"] for row in rows}


def test_pruning_keeps_the_characters_of_the_vocabulary(tagger: Path, sentences: Path, tmp_path: Path):
    args = ["--data-dir", str(sentences), "--save-dir", str(tmp_path), "--output", str(tmp_path), "--device", "cpu"]
    custom_pruning.main([*args, "--model", str(tagger), "--keep-layers", "1", "--prune-vocab", "--max-steps", "8"])
    [pruned] = tmp_path.glob("*.pth")
    vocab = checkpoint.load(pruned)[1]["vocab"]
    assert (
        set("".join(PEOPLE).lower()) <= set(vocab)
        and "北京" in vocab
        and len(vocab) < len(checkpoint.load(tagger)[1]["vocab"])
    )
    assert where(tasks.load(pruned, "cpu")[1].predict([TEXT])[0]) == WHERE


def test_scripts_of_all_tasks_know_the_data_and_the_folder_of_this_one(
    tagger: Path, sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Without flags it is not the titles that are read, nor the pruned model of the titles that is written over."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(openvino_model, "is_installed", lambda: False)
    shutil.copytree(sentences, "data/ner")
    shutil.copy(tagger, "bert_ner.pt")
    titles = [Path("data/train.txt"), Path("data/dev.txt"), Path("data/test.txt"), Path("models_save/pruned_model.pth")]
    Path("models_save").mkdir()
    for path in titles:
        path.write_text("球队夺冠\t0\n", encoding="utf-8")
    evaluate.main(["--model", "bert_ner.pt"])
    assert "data/ner/test.jsonl" in Path("reports/evaluate/report.txt").read_text(encoding="utf-8").replace("\\", "/")
    bert_model_quantization.main(["--model", "bert_ner.pt", "--max-drop", "50"])
    custom_pruning.main(["--model", "bert_ner.pt", "--device", "cpu"])
    assert checkpoint.load(Path("models_save/ner/pruned_model.pth"))[1]["task"] == "ner"
    assert titles[-1].read_text(encoding="utf-8") == "球队夺冠\t0\n"
    assert Path("reports/pruning/ner/report.json").is_file() and not Path("reports/pruning/report.json").exists()
    monkeypatch.setattr(benchmark, "measure", lambda found, _: [{**each.row, "ratio_p50": 1} for each in found])
    monkeypatch.setattr(benchmark, "choose", lambda rows, by: None)
    monkeypatch.setattr(benchmark, "advise", lambda rows, by: "")
    monkeypatch.setattr(baseline, "competitors", lambda *_: [])
    found = benchmark.benchmark_models(benchmark.BenchmarkConfig(model=("bert_ner.pt",)))
    assert found["data"].startswith("test.jsonl, 20 ") and len(found["rows"]) == 1


def test_it_answers_on_the_api(tagger: Path):
    app = api.create_app(api.load_models([f"ner={tagger}"]), api.ApiConfig())
    client = ApiClient(app)
    body = client.post("/predict", json={"text": TEXT}).get_json()
    assert body["text"] == TEXT and where(body["entities"]) == WHERE and body["status"] == 200
    body = client.post("/predict", json={"text": [TEXT, " ", "来自。", "长" * 10_001]}).get_json()
    assert [("entities" in item, "error" in item) for item in body["predictions"]] == [(1, 0), (0, 1), (1, 0), (0, 1)]
    app.close()


def test_baselines_learn_it_too(sentences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("pycrfsuite")
    baseline.main(["--data-dir", str(sentences), "--output", str(tmp_path), "--iterations", "20"])
    found = json.loads((tmp_path / "ner_baseline/metrics.json").read_text(encoding="utf-8"))
    assert found["f1"] > 0.95 and found["model"] == "crf"
    assert "dictionary: test entity f1 1.0000" in capsys.readouterr().out


def test_a_data_set_is_looked_over(words_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = write_sentences(tmp_path / "data", 30)
    with (folder / "dev.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": "王芳说北京好", "entities": [{"start": 3, "end": 5, "label": "PER"}]}\n')
    data.main(["check", str(folder), "--bert-path", str(words_bert), "--max-length", "8", "--output", str(tmp_path)])
    report = (tmp_path / "ner_check/report.txt").read_text(encoding="utf-8")
    assert "北京: LOC" in report and "likely label faults" in report and "王芳 (" in report
    assert "sentences both in train and dev: " in report and "read in overlapping windows, none cut" in report
    assert report in capsys.readouterr().out


def test_half_a_surrogate_pair_stops_no_command(words_bert: Path, tmp_path: Path):
    folder, row = write_sentences(tmp_path / "data", 6), {"text": "王芳\ud83d在北京"}
    row["entities"] = [{"start": 0, "end": 3, "label": "PER\ud83d"}]
    for path in folder.iterdir():
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    data.main(["check", str(folder), "--bert-path", str(words_bert), "--output", str(tmp_path)])
    assert "    王芳\ufffd在北京\n" in (tmp_path / "ner_check/report.txt").read_text(encoding="utf-8")
    baseline.main(["--data-dir", str(folder), "--output", str(tmp_path), "--iterations", "2"])
    found = json.loads((tmp_path / "ner_baseline/metrics.json").read_text(encoding="utf-8"))
    assert set(found["per_class"]) == {"LOC", "PER", "PER\ufffd"}


@pytest.mark.parametrize("max_length", [2, 1, 0, -1])
def test_windows_without_room_for_a_token_are_refused(max_length: int):
    for build in (partial(data.CheckConfig, "check"), train.TrainConfig):
        with pytest.raises(UserError, match=f"--max-length is {max_length}: it must be 3 or more"):
            build(max_length=max_length)


def test_near_repeats_of_labelled_sentences_are_found(words_bert: Path, tmp_path: Path):
    """The check tells of them, and no student learns from them."""
    folder = write_sentences(tmp_path / "data", 6)
    texts = ["王芳昨天到了Oslo（图）", "李小明喜欢上海市"]
    for split, text in (("train", texts[0]), ("dev", "王芳昨天到了oslo！"), ("test", texts[1])):
        row = json.dumps({"text": f" {text} ", "entities": [{"start": 1, "end": 2, "label": "PER"}]})
        (folder / f"{split}.jsonl").write_text(f"{row}\n", encoding="utf-8")
    data.main(["check", str(folder), "--bert-path", str(words_bert), "--output", str(tmp_path)])
    report = (tmp_path / "ner_check/report.txt").read_text(encoding="utf-8")
    assert "both in train and dev: 1" in report and "both in train and test: 0" in report
    (tmp_path / "more.txt").write_text("\n".join([*texts, "李小明，喜欢上海市。", "张三来自北京"]), encoding="utf-8")
    assert lesson.read_unlabeled(tmp_path / "more.txt", data.read_data(folder)[1]) == ["张三来自北京"]


def test_a_limit_cuts_sentences_of_train_and_no_types(tmp_path: Path):
    folder = write_sentences(tmp_path / "data", 6)
    content = (folder / "train.jsonl").read_text(encoding="utf-8")
    (folder / "train.jsonl").write_text('{"text": "好", "entities": []}\n' + content, encoding="utf-8")
    for limit in (1, 2, None):
        types, splits = data.read_data(folder, limit)
        assert types == ["LOC", "PER"] and [len(splits[name]) for name in splits] == [limit or 7, 2, 2]
        assert all(len(split.entities) == len(split) for split in splits.values())


def test_types_that_only_dev_or_only_the_model_has(tagger: Path, sentences: Path, tmp_path: Path):
    folder = write_sentences(tmp_path / "data", 6)
    row = '{"text": "王芳", "entities": [{"start": 0, "end": 2, "label": "ORG"}]}\n'
    (folder / "dev.jsonl").write_text(row, encoding="utf-8")
    with pytest.raises(UserError, match=r"types that train .* do not have: ORG \(1\); known are LOC PER"):
        train.main(flags(folder, tmp_path))
    (folder / "labels.txt").write_text("O\nB-ORG\nI-ORG\n", encoding="utf-8")
    types, splits = data.read_data(folder)
    assert types == ["ORG", "LOC", "PER"] and splits["dev"].labels[1] == "B-ORG"
    with pytest.raises(UserError, match="ORG"):
        evaluate.main(["--model", str(tagger), "--data", str(folder / "dev.jsonl"), "--output", str(tmp_path)])
    with pytest.raises(UserError, match="knows the types LOC PER, the data has ORG LOC PER"):
        distillation.main([*flags(folder, tmp_path), "--model", str(tagger)])
    (folder / "train.jsonl").write_text('{"text": "好", "entities": []}\n', encoding="utf-8")
    (folder / "labels.txt").unlink()
    with pytest.raises(UserError, match="not one entity: there is nothing to learn"):
        data.read_data(folder)
    with pytest.raises(UserError, match="has no train.jsonl or train.json or train.txt"):
        data.read_data(tmp_path)
