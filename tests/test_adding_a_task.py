"""docs/adding_a_task.md, followed to the letter: its six pieces make a task that every script serves."""

import importlib
import json
import random
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from api_client import ApiClient
from conftest import ROOT, assert_calibrated, write_bert

import api
import benchmark
import bert_model_quantization
import custom_pruning
import evaluate
import tasks
from core.console import UserError
from core.model_files import checkpoint
from core.text.tokenizer import SPECIAL_TOKENS
from predict_fun import NewsClassifier

CHARACTERS = "0123456789abc球银芯"
TEXT = "球1a23银4"
TAGS = [int(character.isdigit()) for character in TEXT]


def code(page: str) -> str:
    """The pieces of a page, one after the other."""
    return "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory):
    """The task, known to the project, in a folder with its data, and a model that it has trained."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy.py").write_text(code("adding_a_task.md"), encoding="utf-8")
    rng = random.Random(0)
    for split, count in (("train", 96), ("dev", 24), ("test", 24)):
        texts = ["".join(rng.choices(CHARACTERS, k=rng.randint(1, 9))) for _ in range(count)]
        rows = (f"{text}\t{' '.join('DIGIT' if c.isdigit() else 'O' for c in text)}\n" for text in texts)
        (folder / f"{split}.txt").write_text("".join(rows), encoding="utf-8")
    write_bert(folder / "bert", [*SPECIAL_TOKENS, "[MASK]", *CHARACTERS])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setitem(tasks.TASKS, "toy", "toy")
        module = importlib.import_module("toy")
        module.main([*flags(folder, "--bert-path", "bert"), "--batch-size", "16", "--save-dir", str(folder / "save")])
        yield module


def flags(folder: Path, *more: str) -> list[str]:
    """The folders of the task as flags; `more` are flags whose values are folders in it."""
    found = {"--data-dir": folder, "--output": folder / "reports"}
    found |= {name: folder / value for name, value in zip(more[::2], more[1::2], strict=True)}
    return [part for name, value in found.items() for part in (name, str(value))]


def folder_of(toy: ModuleType) -> Path:
    return Path(toy.__file__).parent


@pytest.fixture(scope="module")
def int8(toy: ModuleType) -> Path:
    """The INT8 file of the model."""
    model = folder_of(toy) / "save" / "toy.pt"
    bert_model_quantization.main([*flags(folder_of(toy)), "--model", str(model), "--max-drop", "5"])
    return model.with_name("toy_int8.onnx")


def test_both_languages_show_the_same_code():
    assert code("adding_a_task.md") == code("adding_a_task.en.md")


def test_it_trains_and_says_all_about_itself(toy: ModuleType):
    facts = checkpoint.load(folder_of(toy) / "save" / "toy.pt")[1]
    assert facts["metrics"]["dev"]["f1"] > 0.9
    assert (facts["task"], facts["per_token"], facts["best_by"]) == ("toy", True, "f1")
    assert_calibrated(folder_of(toy) / "save" / "toy.pt", folder_of(toy))
    log = [json.loads(line) for line in (folder_of(toy) / "reports/toy/log.jsonl").read_text().splitlines()]
    assert log[-1]["dev_f1"] > log[0]["dev_f1"]


def test_its_int8_form_is_calibrated_too(toy: ModuleType, int8: Path):
    assert_calibrated(int8, folder_of(toy))


def test_every_form_answers_alike_with_and_without_company(toy: ModuleType, int8: Path):
    for path in (int8.with_name("toy.pt"), int8):
        _, predictor = tasks.load(path, "cpu")
        assert predictor.predict([TEXT]) == [TAGS]
        company = [TEXT, "a", TEXT * 4, "9"]
        alone = [predictor.predict([text])[0] for text in company]
        assert predictor.predict(company) == alone
        rows = predictor.encode(company)
        for together, text in zip(predictor.logits(rows.columns), company, strict=True):
            [single] = predictor.logits(predictor.encode([text]).columns)
            assert together.shape == (len(text) + 2, 2)
            assert np.abs(together - single).max() < (0.2 if path == int8 else 1e-5)  # INT8 takes scales from a batch


def test_evaluate_and_benchmark(toy: ModuleType, int8: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    folder = folder_of(toy)
    evaluate.main(["--model", str(int8), "--data", str(folder / "test.txt"), "--output", str(folder / "reports")])
    found = json.loads((folder / "reports/evaluate/metrics.json").read_text(encoding="utf-8"))
    assert found["f1"] > 0.9 and found["model"] == "teacher_int8"
    monkeypatch.setattr(benchmark, "TURNS", 1)
    monkeypatch.setattr(benchmark, "TIMED_ITEMS", 3)
    alone = {"peak_mb": 1.0, "cold_start_s": 1.0, "p50_ms": 1.0, "p95_ms": 1.0, "titles_per_s": 1.0}
    monkeypatch.setattr(benchmark, "measure_alone", lambda *_: alone)
    benchmark.main([*flags(folder), "--model", str(int8), str(int8.with_name("toy.pt"))])
    report = json.loads((folder / "reports/benchmark.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in report["rows"]] == ["isdigit", "toy_int8", "toy"]
    assert report["rows"][0]["f1"] == 1 and report["by"] == "f1" and "f1 100.00%" in report["advice"]
    assert "| isdigit | python | 100.00% |" in capsys.readouterr().out


@pytest.mark.parametrize("how", [["--amount", "0.2"], ["--keep-flops", "0.8", "--max-steps", "4"]])
def test_it_can_be_pruned(toy: ModuleType, how: list[str], tmp_path: Path):
    model = str(folder_of(toy) / "save" / "toy.pt")
    custom_pruning.main(
        [*flags(folder_of(toy)), "--save-dir", str(tmp_path), "--model", model, "--device", "cpu", *how]
    )
    [pruned] = tmp_path.glob("*.pth")
    task, predictor = tasks.load(pruned, "cpu")
    assert task is toy.TASK and predictor.facts["metrics"]["dev"]["f1"] > 0.7
    assert len(predictor.predict([TEXT])[0]) == len(TEXT)


def test_it_answers_on_the_api_beside_the_titles(toy: ModuleType, int8: Path, teacher: Path):
    predictors = api.load_models([f"digits={int8}", f"news={teacher}"])
    app = api.create_app(predictors, api.ApiConfig())
    client = ApiClient(app)
    body = client.post("/predict", json={"text": TEXT}).get_json()
    assert (body["text"], body["tags"], body["model"], body["status"]) == (TEXT, TAGS, "digits", 200)
    body = client.post("/predict", json={"text": [TEXT, "", "7"]}).get_json()
    assert [item.get("tags") for item in body["predictions"]] == [TAGS, None, [1]]
    assert "空" in body["predictions"][1]["error"]
    assert client.post("/predict", json={"text": "球队夺冠", "model": "news"}).get_json()["pred_class"] == "体育"
    assert [model["task"] for model in client.get("/models").get_json()["models"]] == ["toy", "classification"]
    assert client.get("/health").status_code == 200
    app.close()


def test_a_model_of_another_task_is_told(toy: ModuleType, int8: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UserError, match="is a model for toy, not for classification"):
        NewsClassifier.load(int8)
    monkeypatch.delitem(tasks.TASKS, "toy")
    with pytest.raises(UserError, match="there is no task toy here"):
        tasks.load(int8)
