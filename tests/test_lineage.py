"""Which model answers when nobody names one: the newest training's, whatever else lies there and how old it is."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from api_client import ApiClient
from conftest import LICENCE, ROOT, write_bert, write_data

import api
import benchmark
import bert_model_quantization
import evaluate
import predict_fun
import soft_label_distillation
import train
from bilstm_classifier import BiLSTMClassifier
from config import MODELS
from core.console import UserError
from core.model_files import checkpoint, onnx_model, openvino_model
from core.model_files.find import find_model
from core.model_files.names import called

OTHER = ("投诉", "咨询")
DEFAULT = Path("save_models/default.json")
ALIKE = dict.fromkeys(("cold_start_s", "peak_mb", "p95_ms", "titles_per_s"), 1.0)


def default() -> dict:
    return json.loads(DEFAULT.read_text(encoding="utf-8"))


def other_data(folder: Path) -> Path:
    """Titles of two other classes."""
    folder.mkdir()
    (folder / "class.txt").write_text("\n".join(OTHER), encoding="utf-8")
    for split in ("train", "dev", "test"):
        rows = [f"球{'赛' * row}\t投诉\n银{'行' * row}\t咨询\n" for row in range(1, 7)]
        (folder / f"{split}.txt").write_text("".join(rows), encoding="utf-8")
    return folder


def small(*more: object) -> list[str]:
    return ["--batch-size", "16", "--device", "cpu", "--num-epochs", "1", *map(str, more)]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a teacher, its student in INT8 too, and another teacher were made; do not write to it."""
    folder = tmp_path_factory.mktemp("walk")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("NEWS_MODEL", raising=False)
        patch.setattr(BiLSTMClassifier.__init__, "__defaults__", (16, 16, 0.1))
        patch.setattr(openvino_model, "is_installed", lambda: False)
        bert, data = write_bert(Path("bert")), write_data(Path("news"))
        train.main(small("--bert-path", bert, "--data-dir", data))
        assert default()["model"] == "teacher" and called(find_model(None, MODELS), MODELS) == "teacher"
        soft_label_distillation.main(small("--data-dir", data))
        assert default()["model"] == "soft" and "soft_label_distillation.py" in default()["why"]
        bert_model_quantization.main(["--model", "soft", "--data-dir", str(data)])
        assert default()["model"] == "soft_int8" and default()["made"] == ["soft_int8", "soft", "teacher"]
        first = default()["lineage"]
        facts = [checkpoint.load(MODELS[name].path)[1] for name in ("teacher", "soft")]
        facts.append(onnx_model.load(MODELS["soft_int8"].paths[0], "cpu")[0])
        assert {each["licence"] for each in facts} == {LICENCE}
        assert {each["lineage"] for each in facts} == {first} and all(len(each["data_sha256"]) == 64 for each in facts)
        train.main(small("--bert-path", bert, "--data-dir", other_data(Path("own"))))
        assert default()["model"] == "teacher" and default()["lineage"] != first
    return folder


@pytest.fixture
def here(walked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder whose files were touched in any order; it is the current one."""
    shutil.copytree(walked, tmp_path / "copy")
    files = sorted(path for path in (tmp_path / "copy").rglob("*") if path.is_file())
    random.Random(0).shuffle(files)
    for age, path in enumerate(files):
        os.utime(path, (10_000 + age, 10_000 + age))
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.delenv("NEWS_MODEL", raising=False)
    predict_fun._default_classifier.cache_clear()
    return tmp_path / "copy"


def test_the_newest_training_answers_everywhere(here: Path, capsys: pytest.CaptureFixture[str]):
    predict_fun.main(["--text", "快递还没到"])
    out, err = capsys.readouterr()
    assert out.split()[0] in OTHER and "model: teacher (" in err
    assert "soft_int8 is of another training" in err and "bert_model_quantization.py --model soft" in err
    assert len(err.splitlines()) == 2
    assert predict_fun.predict({"text": "快递还没到"})["pred_class"] in OTHER
    evaluate.main(["--data", "own/test.txt", "--output", "out"])
    assert json.loads(Path("out/evaluate/metrics.json").read_text(encoding="utf-8"))["model"] == "teacher"
    predictors = api.load_models([])
    assert "loading teacher" in capsys.readouterr().err
    app = api.create_app(predictors, api.ApiConfig())
    client = ApiClient(app)
    assert client.post("/predict", json={"text": "快递还没到"}).get_json()["pred_class"] in OTHER
    health = client.get("/health").get_json()  # what the page shows
    assert (health["model"], health["labels"]) == ("teacher", list(OTHER))
    app.close()


def test_what_is_named_is_opened_whatever_its_lineage(here: Path, capsys: pytest.CaptureFixture[str]):
    predict_fun.main(["--text", "球队夺冠", "--model", "soft"])
    out, err = capsys.readouterr()
    assert out.split()[0] in ("体育", "财经", "科技") and "model: soft (" in err and len(err.splitlines()) == 1
    Path("models_save/bilstm_soft_distill.onnx").unlink()
    Path("models_save/bilstm_soft_distill.pth").unlink()
    assert called(find_model("soft", MODELS), MODELS) == "soft_int8"
    assert "there is no soft here: soft_int8 (" in capsys.readouterr().err
    for name in ("soft_int8", "bilstm_soft_distill_int8.onnx", "models_save/bilstm_soft_distill_int8.onnx"):
        assert called(find_model(name, MODELS), MODELS) == "soft_int8"
    with pytest.raises(UserError, match="there is no model sofft: .*here: soft_int8, teacher$"):
        find_model("sofft", MODELS)


def test_data_of_other_classes_is_refused_or_set_apart(here: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    with pytest.raises(UserError, match="names other classes than the model"):
        evaluate.main(["--data", "news/test.txt"])
    monkeypatch.setattr(benchmark, "TURNS", 1)
    monkeypatch.setattr(benchmark, "measure_alone", lambda *_: {**ALIKE, "p50_ms": 1e-9})
    benchmark.main(["--data-dir", "own"])
    assert "left out: models_save" in capsys.readouterr().out.replace("\\", "/")
    rows = json.loads(Path("reports/benchmark.json").read_text(encoding="utf-8"))["rows"]
    assert [row["name"] for row in rows] == ["majority", "linear", "teacher"]


def test_the_advice_of_a_benchmark_stands_until_the_next_training(here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(openvino_model, "is_installed", lambda: False)
    bert_model_quantization.main(["--data-dir", "own", "--max-drop", "100"])
    assert default()["model"] == "teacher" and default()["made"] == ["teacher", "teacher_int8"]

    def alone(_predictor: type, path: Path, _items: list) -> dict:
        return {**ALIKE, "p50_ms": 1e-9 if path.suffix == ".onnx" else 1e-8}

    monkeypatch.setattr(benchmark, "TURNS", 1)
    monkeypatch.setattr(benchmark, "measure_alone", alone)
    same = {"accuracy": 1.0, "macro_f1": 1.0}
    monkeypatch.setattr(benchmark.tasks, "load", with_scores(benchmark.tasks.load, same))
    benchmark.main(["--data-dir", "own"])
    advice = json.loads(Path("reports/benchmark.json").read_text(encoding="utf-8"))["advice"]
    onnx, state_dict = (MODELS["teacher_int8"].paths[index] for index in (0, 1))
    assert f"deploy teacher_int8 (onnxruntime) on this machine (python api.py --model {onnx.as_posix()})" in advice
    assert (default()["model"], default()["file"]) == ("teacher_int8", onnx.as_posix())
    DEFAULT.write_text(json.dumps({**default(), "file": state_dict.as_posix()}), encoding="utf-8")
    assert find_model(None, MODELS) == state_dict  # the very file that was advised, while it is there
    state_dict.unlink()
    assert find_model(None, MODELS) == onnx
    soft_label_distillation.main(small("--data-dir", "own"))
    assert default()["model"] == "teacher_int8" and "soft" in default()["made"]  # made, but not measured
    train.main(small("--bert-path", "bert", "--data-dir", "own", "--seed", "7"))
    assert default()["model"] == "teacher" and default()["made"] == ["teacher"]


def with_scores(load, scores: dict):
    """`tasks.load`, with models that all score alike."""

    def loaded(*args, **more):
        task, predictor = load(*args, **more)
        return ALIKE_TASKS.setdefault(id(task), task._replace(score=lambda *_: scores)), predictor

    return loaded


ALIKE_TASKS: dict = {}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"lineage": "a"}', b"[" * 100_000]
    + [
        json.dumps({"lineage": "a", "model": model, "why": "b", "made": made}).encode()
        for model, made in (("nobody", []), ("teacher", ["nobody"]), ("teacher", 5), (["teacher"], []))
    ],
)
def test_a_damaged_default_is_told_and_not_followed(here: Path, content: bytes, capsys: pytest.CaptureFixture[str]):
    DEFAULT.write_bytes(content)
    assert called(find_model(None, MODELS), MODELS) == "soft_int8"  # the order of names
    assert "default.json is damaged and not followed: run `python train.py`" in capsys.readouterr().err


def test_a_default_that_is_gone(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(openvino_model, "is_installed", lambda: False)
    bert_model_quantization.main(["--data-dir", "own", "--max-drop", "100"])
    Path("save_models/test_bertclassifer_model.pt").unlink()
    assert called(find_model(None, MODELS), MODELS) == "teacher_int8"
    assert "warning: teacher is gone or cannot be used here: teacher_int8 answers instead" in capsys.readouterr().err
    for path in MODELS["teacher_int8"].paths:
        path.unlink(missing_ok=True)
    with pytest.raises(UserError, match="names teacher, which is gone.* here: soft_int8, soft$"):
        find_model(None, MODELS)
    DEFAULT.unlink()
    assert called(find_model(None, MODELS), MODELS) == "soft_int8"


def test_a_teacher_in_a_place_of_its_own_changes_nothing(here: Path):
    before = DEFAULT.read_bytes()
    train.main(small("--bert-path", "bert", "--data-dir", "news", "--save-dir", "elsewhere"))
    soft_label_distillation.main(
        small("--data-dir", "news", "--model", "elsewhere/test_bertclassifer_model.pt", "--save-dir", "elsewhere")
    )
    assert DEFAULT.read_bytes() == before
    soft_label_distillation.main(small("--data-dir", "own"))
    assert default()["model"] == "soft"
    soft_label_distillation.main(small("--data-dir", "news", "--model", "elsewhere/test_bertclassifer_model.pt"))
    assert default()["model"] == "teacher"  # the student of this training was overwritten by another's


def test_requests_may_use_any_name_of_a_served_model(here: Path):
    app = api.create_app(api.load_models(["teacher", "soft", "mine=soft_int8"]), api.ApiConfig())
    client = ApiClient(app)

    def served(name: str) -> str | None:
        return client.post("/predict", json={"text": "球队", "model": name}).get_json().get("model")

    names = {"teacher": "teacher", "test_bertclassifer_model.pt": "teacher", "soft": "soft", "mine": "mine"}
    names |= {"soft_int8": "mine", "bilstm_soft_distill_int8.onnx": "mine", "bilstm_soft_distill": "soft"}
    names |= {"int8": None, "nobody": None}
    assert {name: served(name) for name in names} == names
    assert [model["name"] for model in client.get("/models").get_json()["models"]] == ["teacher", "soft", "mine"]
    app.close()


def test_redirected_output_holds_no_progress_bar(here: Path, tmp_path: Path):
    titles = tmp_path / "titles.txt"
    titles.write_text("球队夺冠\n" * 3000, encoding="utf-8")
    command = [sys.executable, "-X", "utf8", str(ROOT / "predict_fun.py"), "--file", str(titles), "--output", "a.csv"]
    command += ["--model", "soft_int8"]  # which needs no torch
    done = subprocess.run(command, cwd=here, capture_output=True, encoding="utf-8", check=True)
    assert "\r" not in done.stderr + done.stdout and "wrote a.csv" in done.stdout


def test_in_another_folder_the_projects_own_models_answer(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(MODELS, "root", here)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert find_model(None, MODELS) == here / MODELS["teacher"].path
    assert called(find_model("soft", MODELS), MODELS) == "soft"
    assert predict_fun.predict({"text": "快递还没到"})["pred_class"] in OTHER
    # A folder with a model of its own is not mixed with them.
    own = MODELS["hard"].paths[0]
    own.parent.mkdir()
    own.touch()
    assert find_model(None, MODELS) == own
    with pytest.raises(UserError, match="models_save.*does not exist: run `python soft_label_distillation.py`"):
        find_model("soft", MODELS)


def test_in_another_folder_the_bundled_bert_trains(tmp_path: Path):
    other_data(tmp_path / "data")
    command = [sys.executable, "-X", "utf8", str(ROOT / "train.py"), *small("--max-steps", 1)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert "bert-mini-chinese (bundled)" in done.stdout and (tmp_path / MODELS["teacher"].path).is_file()
