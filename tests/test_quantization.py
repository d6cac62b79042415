"""bert_model_quantization.py from end to end: both forms of INT8, the gate, and serving without torch."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import LABELS, ROOT, assert_calibrated, float_products, write_data

import bert_model_quantization as quantization
import predict_quantization
from core.compression import export
from core.compression.quantize import VARIANTS
from core.console import UserError
from core.model_files import checkpoint, onnx_model, openvino_model
from core.model_files.predictor import Predictor
from predict_fun import NewsClassifier
from utils import Titles, read_titles

ONNX, STATE_DICT = "bertclassifer_int8.onnx", "quantized_model_bertclassifer_model.pt"
KEPT = ("task", "labels", "inputs", "per_token", "vocab", "max_length", "truncation", "config", "best_by", "seed")
MODULES = {"scikit-learn": "sklearn"}  # where a package is not imported by its name


def args(teacher: Path, data: Path, folder: Path, *more: str) -> list[str]:
    return ["--model", str(teacher), "--data-dir", str(data), "--save-dir", str(folder), "--output", str(folder), *more]


@pytest.fixture(scope="module")
def int8(teacher: Path, data: Path, graph: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both INT8 forms of the teacher and the report; do not write to it."""
    folder = tmp_path_factory.mktemp("int8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "to_onnx", lambda model, facts: graph)
        patch.setattr(openvino_model, "is_installed", lambda: False)  # test_openvino.py has it
        quantization.main(args(teacher, data, folder))
    return folder


def test_both_forms_answer_as_the_teacher_does(int8: Path, teacher: Path, data: Path):
    texts = read_titles(data / "test.txt", LABELS).texts
    expected = [prediction.label_id for prediction in NewsClassifier.load(teacher, "cpu").predict(texts)]
    for name in (ONNX, STATE_DICT):
        classifier = NewsClassifier.load(int8 / name)
        answers = classifier.predict(texts)
        assert sum(answer.label_id == label for answer, label in zip(answers, expected, strict=True)) >= 19
        alone = classifier.predict(texts[:1])[0]
        assert alone.confidence == pytest.approx(answers[0].confidence, abs=0.05)
        assert classifier.name == "teacher_int8" and classifier.labels == list(LABELS)


def test_the_weights_are_8_bit_integers(int8: Path, graph: bytes):
    import onnx

    def stored(content: bytes) -> dict[int, int]:
        numbers: dict[int, int] = {}
        for tensor in onnx.load_from_string(content).graph.initializer:
            numbers[tensor.data_type] = numbers.get(tensor.data_type, 0) + int(np.prod(tensor.dims))
        return numbers

    before, after = stored(graph), stored((int8 / ONNX).read_bytes())
    assert after[onnx.TensorProto.FLOAT] < before[onnx.TensorProto.FLOAT] / 5
    assert not float_products(int8 / ONNX)
    state_dict, _ = checkpoint.load(int8 / STATE_DICT)
    assert {"bert.encoder.layer.1.output.dense._packed_params._packed_params"} <= state_dict.keys()
    weight, _ = state_dict["classifier._packed_params._packed_params"]
    assert weight.dtype == torch.qint8


def test_each_form_has_a_temperature_of_its_own(int8: Path, data: Path):
    for name in (ONNX, STATE_DICT):
        assert_calibrated(int8 / name, data)


def test_facts_go_with_both_forms(int8: Path, teacher: Path):
    _, before = checkpoint.load(teacher)
    for facts in (onnx_model.load(int8 / ONNX, "cpu")[0], checkpoint.load(int8 / STATE_DICT)[1]):
        assert before.keys() <= facts.keys()
        for key in KEPT:
            assert facts[key] == before[key], key
        assert facts["architecture"] == {**before["architecture"], "quantization": "dynamic_int8"}
        assert facts["metrics"]["dev"]["n"] == 20 and facts["metrics"]["test"] is None
        assert len(facts["parent_sha256"]) == 64 and facts["parent_sha256"] != before["parent_sha256"]
    assert onnx_model.load(int8 / ONNX, "cpu")[0]["weights"] in VARIANTS


def test_the_report_says_what_it_costs_and_gains(int8: Path, teacher: Path):
    report = json.loads((int8 / "quantization" / "report.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in report["rows"]}
    assert list(rows) == ["FP32 PyTorch", "FP32 ONNX", "INT8 ONNX", "INT8 PyTorch"]
    assert rows["FP32 PyTorch"]["ratio_p50"] == 1 and rows["FP32 PyTorch"]["size_mb"] == teacher.stat().st_size / 1e6
    assert rows["INT8 ONNX"]["size_mb"] == (int8 / ONNX).stat().st_size / 1e6
    assert rows["FP32 ONNX"]["accuracy"] == rows["FP32 PyTorch"]["accuracy"] > 0.8
    for row in rows.values():
        assert row["ratio_p50"] == pytest.approx(rows["FP32 PyTorch"]["p50_ms"] / row["p50_ms"])
    assert report["variants"].keys() == VARIANTS.keys() and report["weights"] in VARIANTS
    assert report["machine"] and report["threads"] and report["vnni"] in (True, False)


def lose(monkeypatch: pytest.MonkeyPatch, graph: bytes, form: str, points: float) -> None:
    """Let a form of the model lose so many points of accuracy; the others have 90 %."""
    forms = iter(["FP32", "INT8 ONNX", "INT8 PyTorch"] * 9)
    real_task = quantization.task_of

    def score(classifier: Predictor, titles: Titles, folder: Path | None) -> dict:
        metrics = real_task(classifier.facts).score(classifier, titles, folder)
        return {**metrics, "accuracy": 0.9 - points / 100 * (next(forms) == form)}

    monkeypatch.setattr(quantization, "task_of", lambda facts: real_task(facts)._replace(score=score))
    monkeypatch.setattr(export, "to_onnx", lambda model, facts: graph)
    monkeypatch.setattr(openvino_model, "is_installed", lambda: False)


@pytest.mark.parametrize(
    ("form", "refused", "kept"), [("INT8 ONNX", ONNX, STATE_DICT), ("INT8 PyTorch", STATE_DICT, ONNX)]
)
def test_the_gate(form, refused, kept, graph, teacher, data, tmp_path, monkeypatch, capsys):
    lose(monkeypatch, graph, form, points=0.6)
    quantization.main(args(teacher, data, tmp_path))
    assert re.search(
        "accuracy on the dev data falls from 0.9000 to 0.8940.*20 rows are too few", capsys.readouterr().out
    )
    assert (tmp_path / refused).is_file()

    monkeypatch.setattr(quantization, "MIN_ROWS", 20)
    (tmp_path / refused).write_bytes(b"the one before")
    (tmp_path / kept).unlink()
    with pytest.raises(UserError, match="not written: .* from 0.9000 to 0.8940, by 0.60 points, .*--max-drop 0.5"):
        quantization.main(args(teacher, data, tmp_path))
    assert (tmp_path / refused).read_bytes() == b"the one before" and (tmp_path / kept).is_file()
    rows = json.loads((tmp_path / "quantization" / "report.json").read_text(encoding="utf-8"))["rows"]
    assert [row["name"] for row in rows if row["size_mb"] is None] == [form]
    quantization.main(args(teacher, data, tmp_path, "--max-drop", "0.6"))
    assert (tmp_path / refused).read_bytes() != b"the one before"


def test_an_engine_is_chosen_where_pytorch_has_chosen_none(int8: Path, monkeypatch: pytest.MonkeyPatch):
    engines = SimpleNamespace(engine="none", supported_engines=["none", "qnnpack"])
    monkeypatch.setattr(torch.backends, "quantized", engines)
    NewsClassifier.load(int8 / STATE_DICT)
    assert engines.engine == "qnnpack"


def test_without_an_engine_the_onnx_file_is_still_made(graph, int8, teacher, data, tmp_path, monkeypatch, capsys):
    engines = SimpleNamespace(engine="none", supported_engines=["none"])
    monkeypatch.setattr(torch.backends, "quantized", engines)
    monkeypatch.setattr(export, "to_onnx", lambda model, facts: graph)
    monkeypatch.setattr(openvino_model, "is_installed", lambda: False)
    quantization.main(args(teacher, data, tmp_path))
    assert f"{STATE_DICT} is not made: PyTorch cannot compute in INT8" in capsys.readouterr().out
    assert (tmp_path / ONNX).is_file() and not (tmp_path / STATE_DICT).exists()
    with pytest.raises(UserError, match="use the INT8 model in the ONNX format"):
        NewsClassifier.load(int8 / STATE_DICT)


@pytest.mark.parametrize("where", ["import", "predict", "write"])
def test_an_openvino_that_breaks_ends_only_itself(where, graph, int8, teacher, data, tmp_path, monkeypatch, capsys):
    def break_down(items):
        raise ValueError("no such kernel\nin line 7")

    def form(predictor, graph, items, path):
        if where == "import":
            raise RuntimeError("Could not determine home directory.")

        def write(path, facts):
            raise AttributeError("no XML")

        kept = SimpleNamespace(predict=break_down) if where == "predict" else predictor
        return quantization.Form("INT8 OpenVINO", "OpenVINO", kept, path=path, write=write)

    monkeypatch.setattr(export, "to_onnx", lambda model, facts: graph)
    monkeypatch.setattr(openvino_model, "is_installed", lambda: True)
    monkeypatch.setattr(quantization, "openvino_form", form)
    quantization.main(args(teacher, data, tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {ONNX, STATE_DICT, "quantization"}
    reasons = {"import": "Could not determine", "predict": "no such kernel in line 7", "write": "no XML"}
    said = capsys.readouterr().out
    assert re.search(
        f"warning: bertclassifer_int8.xml is not made: OpenVINO does not work here .{reasons[where]}", said
    )
    assert "run this again to have it" in said


def test_a_teacher_by_another_name_keeps_it(graph, teacher, data, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "to_onnx", lambda model, facts: graph)
    monkeypatch.setattr(openvino_model, "is_installed", lambda: False)
    monkeypatch.setattr(quantization, "compare_speed", lambda predictors, items: [{"p50_ms": 1.0}] * len(predictors))
    mine = Path(shutil.copy(teacher, tmp_path / "mine.pt"))
    flags = ["--model", str(mine), "--data-dir", str(data), "--output", str(tmp_path / "reports")]
    quantization.main(flags)
    assert {path.name for path in tmp_path.iterdir()} == {"mine.pt", "mine_int8.onnx", "reports"}
    assert NewsClassifier.load(tmp_path / "mine_int8.onnx").name == "teacher_int8"


def test_impossible_starts(int8: Path, teacher: Path, data: Path, tmp_path: Path):
    with pytest.raises(UserError, match="is INT8 already: give the FP32 checkpoint"):
        quantization.main(args(int8 / STATE_DICT, data, tmp_path))
    with pytest.raises(UserError, match="can only predict: give the checkpoint"):
        quantization.main(args(int8 / ONNX, data, tmp_path))
    with pytest.raises(UserError, match="--max-drop is -1.0: it must be 0 or more"):
        quantization.main(args(teacher, data, tmp_path, "--max-drop", "-1"))
    with pytest.raises(UserError, match="dev.txt does not exist"):
        quantization.main(args(teacher, tmp_path, tmp_path))
    other = write_data(tmp_path / "data")
    (other / "class.txt").write_text("科技\n财经\n体育\n", encoding="utf-8")
    with pytest.raises(UserError, match="names other classes .*\n.*体育 财经 科技\n.*科技 财经 体育"):
        quantization.main(args(teacher, other, tmp_path))
    (other / "class.txt").unlink()
    (other / "dev.txt").write_text("\u200b\t1\n", encoding="utf-8")
    with pytest.raises(UserError, match="nothing to measure with that a model could answer"):
        quantization.main(args(teacher, other, tmp_path))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package(package, teacher, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"needs {package}: run `pip install -r requirements.txt`"):
        quantization.main(args(teacher, data, tmp_path))


def pins(name: str) -> dict[str, str]:
    """The packages that a requirements file pins, and those that it includes."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    own = dict(line.split("==") for line in lines if "==" in line)
    included = [pins(line.removeprefix("-r ")) for line in lines if line.startswith("-r ")]
    assert all(own.keys().isdisjoint(each) for each in included)  # each pin has one place
    return {name: pin for each in (own, *included) for name, pin in each.items()}


SERVE = """
import sys
from importlib.machinery import PathFinder
from pathlib import Path

class Light(PathFinder):  # finds no package that is not in requirements-serve.txt
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in sys.argv[3:] else super().find_spec(name, path, target)

if sys.argv[2] == "absent":
    sys.meta_path[:] = [Light if finder is PathFinder else finder for finder in sys.meta_path]
sys.path.append('tests')
import api, predict_fun, predict_quantization
from api_client import ApiClient
path = Path(sys.argv[1])
predict_quantization.main(["--model", str(path), "--text", "球队夺冠"])
client = ApiClient(api.create_app({"int8": predict_fun.NewsClassifier.load(path)}, api.ApiConfig()))
print(client.post("/predict", json={"text": "银行利率"}).get_json()["pred_class"])
print(sorted({name.partition(".")[0] for name in sys.modules} & set(sys.argv[3:])))
if sys.argv[2] == "absent":
    try:
        predict_fun.NewsClassifier.load(Path("any.pt"))
    except predict_fun.UserError as fault:
        print(fault)
"""


@pytest.mark.parametrize("others", ["absent", "installed"])
def test_an_onnx_model_is_served_with_the_light_requirements_alone(int8: Path, others: str):
    everything, light = pins("requirements.txt"), pins("requirements-serve.txt")
    assert light.items() <= everything.items()
    heavy = [MODULES.get(name, name) for name in everything.keys() - light.keys()]
    result = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", SERVE, str(int8 / ONNX), others, *heavy],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert result.returncode == 0, result.stderr
    predicted, served, loaded, *fault = result.stdout.splitlines()
    assert predicted.startswith("体育") and served == "财经" and loaded == "[]"
    if others == "absent":
        assert "needs torch" in fault[0] and "requirements.txt" in fault[0]


def test_predicting_with_the_int8_model(int8: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEWS_MODEL", "teacher")
    with pytest.raises(UserError, match="run `python bert_model_quantization.py`"):
        predict_quantization.main([])
    for name in (ONNX, STATE_DICT):
        path = Path("save_models", name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((int8 / name).read_bytes())
        predict_quantization.main(["--text", "球队夺冠", "--top-k", "2"])
        captured = capsys.readouterr()
        assert captured.out.startswith("体育") and name in captured.err
        path.unlink()


def test_int8_files_tell_what_they_are(int8: Path):
    for name in (ONNX, STATE_DICT):
        rows = dict(checkpoint.describe(int8 / name))
        assert rows["stage"] == "teacher_int8" and rows["architecture, quantization"] == "dynamic_int8"
        assert "accuracy" in rows["metrics, dev"]
