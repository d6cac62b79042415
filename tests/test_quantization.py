"""INT8 from end to end: export, quantization, the gate, and serving without torch."""

import json
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import LABELS, ROOT, write_data
from torch import nn

import bert_model_quantization as quantization
import config
import predict_quantization
from config import find_model
from core.compression import export
from core.compression.quantize import VARIANTS, quantize_onnx
from core.console import UserError
from core.model_files import checkpoint, onnx_model, openvino_model
from predict_fun import NewsClassifier, load_module
from utils import read_titles

ONNX, STATE_DICT = "bertclassifer_int8.onnx", "quantized_model_bertclassifer_model.pt"
MODULES = {"scikit-learn": "sklearn"}  # where a package is not imported by its name


def args(teacher: Path, data: Path, folder: Path, *more: str) -> list[str]:
    return ["--model", str(teacher), "--data-dir", str(data), "--save-dir", str(folder), "--output", str(folder), *more]


@pytest.fixture(scope="module")
def graph(teacher: Path) -> bytes:
    """The teacher as an FP32 ONNX graph."""
    return export.to_onnx(*load_module(teacher))


@pytest.fixture(scope="module")
def int8(teacher: Path, data: Path, graph: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both INT8 forms of the teacher and the report; do not write to it."""
    folder = tmp_path_factory.mktemp("int8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "to_onnx", lambda model, meta: graph)
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
    state_dict, _ = checkpoint.load(int8 / STATE_DICT)
    assert {"bert.encoder.layer.1.output.dense._packed_params._packed_params"} <= state_dict.keys()
    weight, _ = state_dict["classifier._packed_params._packed_params"]
    assert weight.dtype == torch.qint8


def test_attention_is_one_operator(graph: bytes):
    import onnx

    operators = [node.op_type for node in onnx.load_from_string(graph).graph.node]
    assert operators.count("MultiHeadAttention") == 2 and "Softmax" not in operators
    assert operators.count("Gelu") == 2 and operators.count("LayerNormalization") == 5


def test_facts_go_with_both_forms(int8: Path, teacher: Path):
    _, before = checkpoint.load(teacher)
    for meta in (onnx_model.load(int8 / ONNX, "cpu")[0], checkpoint.load(int8 / STATE_DICT)[1]):
        assert before.keys() <= meta.keys()
        for key in ("labels", "vocab", "max_length", "truncation", "config", "seed"):
            assert meta[key] == before[key], key
        assert meta["architecture"] == {**before["architecture"], "quantization": "dynamic_int8"}
        assert meta["metrics"]["dev"]["n"] == 20 and meta["metrics"]["test"] is None
        assert len(meta["parent_sha256"]) == 64 and meta["parent_sha256"] != before["parent_sha256"]
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


def test_the_fastest_variant_that_agrees_is_kept(teacher: Path, monkeypatch: pytest.MonkeyPatch):
    _, meta = checkpoint.load(teacher)
    names = [*VARIANTS]
    times = dict(zip(names, (1.0, 2.0, 1.98, 2.5), strict=True))
    right = dict(zip(names, (False, True, False, True), strict=True))

    def classifier(name: str, meta: dict) -> NewsClassifier:
        return NewsClassifier(meta, lambda ids, mask: np.eye(3)[np.full(len(ids), int(right.get(name, True)))])

    monkeypatch.setattr(
        quantization, "quantize_onnx", lambda content, options: names[[*VARIANTS.values()].index(options)]
    )
    monkeypatch.setattr(quantization, "onnx_classifier", classifier)
    monkeypatch.setattr(quantization, "compare_speed", lambda *_: [{"p50_ms": times[name]} for name in names])
    best, graph, measured = quantization.choose_variant("fp32", meta, ["球队夺冠", "银行利率", "\u200b"])
    assert best == graph == names[1]
    assert measured[names[0]] == {"p50_ms": 1.0, "agreement": 0.0} and measured[best]["agreement"] == 1.0


def lose(monkeypatch: pytest.MonkeyPatch, graph: bytes, form: str, points: float) -> None:
    """Let a form of the model lose so many points of accuracy."""
    real_score = quantization.score

    def score(classifier, titles, name):
        metrics = real_score(classifier, titles, name)
        return {**metrics, "accuracy": 0.9 - points / 100 * (name == form)}

    monkeypatch.setattr(quantization, "score", score)
    monkeypatch.setattr(export, "to_onnx", lambda model, meta: graph)
    monkeypatch.setattr(openvino_model, "is_installed", lambda: False)


@pytest.mark.parametrize(
    ("form", "refused", "kept"), [("INT8 ONNX", ONNX, STATE_DICT), ("INT8 PyTorch", STATE_DICT, ONNX)]
)
def test_the_gate(form, refused, kept, graph, teacher, data, tmp_path, monkeypatch, capsys):
    lose(monkeypatch, graph, form, points=0.6)
    quantization.main(args(teacher, data, tmp_path))
    assert re.search("falls from 0.9000 to 0.8940.*20 titles are too few", capsys.readouterr().out)
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
    monkeypatch.setattr(export, "to_onnx", lambda model, meta: graph)
    monkeypatch.setattr(openvino_model, "is_installed", lambda: False)
    quantization.main(args(teacher, data, tmp_path))
    assert f"{STATE_DICT} is not made: PyTorch cannot compute in INT8" in capsys.readouterr().out
    assert (tmp_path / ONNX).is_file() and not (tmp_path / STATE_DICT).exists()
    with pytest.raises(UserError, match="use the INT8 model in the ONNX format"):
        NewsClassifier.load(int8 / STATE_DICT)


class Student(nn.Module):
    """A classifier with an LSTM in it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.lstm = nn.LSTM(16, 16, batch_first=True)
        self.classifier = nn.Linear(16, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states = self.lstm(self.embedding(input_ids))[0] * attention_mask.unsqueeze(-1)
        return self.classifier(states.sum(1) / attention_mask.sum(1, keepdim=True))


@pytest.fixture(scope="module")
def facts(teacher: Path) -> dict:
    return {**checkpoint.load(teacher)[1], "stage": "soft", "architecture": {"type": "bilstm", "num_labels": 3}}


def test_a_student_is_exported_and_quantized(facts: dict, tmp_path: Path):
    model = Student().train()
    export.export(model, tmp_path / "student.onnx", facts)
    assert model.training
    classifier = NewsClassifier.load(tmp_path / "student.onnx")
    assert classifier.meta == {**facts, "format_version": 1} and classifier.name == "soft"
    texts = ["球队夺冠", "银行基金股债利率", "芯"]
    together = classifier.predict(texts)
    for text, expected in zip(texts, together, strict=True):
        assert classifier.predict([text])[0].confidence == pytest.approx(expected.confidence, abs=1e-5)
    content = quantize_onnx(export.to_onnx(model, facts), VARIANTS["signed"])
    assert b"DynamicQuantizeLSTM" in content and b"MatMulInteger" in content
    export.write(tmp_path / "int8.onnx", content, facts)
    for answer, expected in zip(NewsClassifier.load(tmp_path / "int8.onnx").predict(texts), together, strict=True):
        assert answer.confidence == pytest.approx(expected.confidence, abs=0.02)


def test_layers_of_different_sizes_are_exported(teacher: Path):
    model, meta = load_module(teacher)
    attention = model.bert.encoder.layer[0].attention
    for name in ("query", "key", "value"):  # one head of two is left in this layer, both in the next
        full = getattr(attention.self, name)
        half = nn.Linear(32, 16)
        half.weight.data, half.bias.data = full.weight.data[:16].clone(), full.bias.data[:16].clone()
        setattr(attention.self, name, half)
    output = nn.Linear(16, 32)
    output.weight.data = attention.output.dense.weight.data[:, :16].clone()
    attention.output.dense = output
    content = export.to_onnx(model, meta)  # compares the logits itself
    quantize_onnx(content, VARIANTS["signed, per channel"])


def test_an_export_that_differs_is_refused(graph: bytes, teacher: Path):
    model, meta = load_module(teacher)
    export.check_logits(model, graph, meta)
    with torch.no_grad():
        model.classifier.bias[1] += 2e-4
    with pytest.raises(UserError, match="gives other logits than PyTorch"):
        export.check_logits(model, graph, meta)


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
    with pytest.raises(UserError, match="no title with anything to see"):
        quantization.main(args(teacher, other, tmp_path))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package(package, teacher, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"needs {package}: run `pip install -r requirements.txt`"):
        quantization.main(args(teacher, data, tmp_path))


def test_weights_in_the_wrong_shell(int8: Path, teacher: Path, tmp_path: Path):
    packed, meta = checkpoint.load(int8 / STATE_DICT)
    plain, plain_meta = checkpoint.load(teacher)
    checkpoint.save(tmp_path / "m.pt", packed, plain_meta)
    with pytest.raises(UserError, match="do not fit .*INT8 weights, but no word of quantization"):
        NewsClassifier.load(tmp_path / "m.pt")
    checkpoint.save(tmp_path / "m.pt", plain, meta)
    with pytest.raises(UserError, match="m.pt do not fit the model it describes"):
        NewsClassifier.load(tmp_path / "m.pt")
    checkpoint.save(tmp_path / "m.pt", plain, {**plain_meta, "architecture": {"type": "gpt", "num_labels": 3}})
    with pytest.raises(UserError, match="an unknown type of model, gpt"):
        NewsClassifier.load(tmp_path / "m.pt")


def test_damaged_and_foreign_onnx_files(int8: Path, graph: bytes, facts: dict, tmp_path: Path):
    path = tmp_path / "m.onnx"
    content = (int8 / ONNX).read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (b"", content[:-1], content[: len(content) // 2], bytes(flipped), graph):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="is damaged or not an ONNX model of this project"):
            NewsClassifier.load(path)
    path.unlink()
    with pytest.raises(UserError, match="there is no file"):
        NewsClassifier.load(path)

    path.write_bytes(graph + onnx_model.seal(zlib.crc32(graph)))
    with pytest.raises(UserError, match="lacks facts about its model"):
        NewsClassifier.load(path)
    for wrong in ({"labels": ["甲", "乙"]}, {"labels": 3}):
        export.write(path, graph, {**facts, **wrong})
        with pytest.raises(UserError, match="lacks facts about its model, or they do not fit it"):
            NewsClassifier.load(path)
    export.write(path, graph, {**facts, "format_version": 2})
    with pytest.raises(UserError, match="format version 2, this code reads 1"):
        NewsClassifier.load(path)
    export.write(path, graph, {**facts, "vocab": []})
    with pytest.raises(UserError, match="damaged vocabulary"):
        NewsClassifier.load(path)


def test_an_onnx_graph_with_other_inputs(graph: bytes, facts: dict, tmp_path: Path):
    export.write(tmp_path / "m.onnx", graph.replace(b"attention_mask", b"attention_musk"), facts)
    with pytest.raises(UserError, match="do not fit it"):
        NewsClassifier.load(tmp_path / "m.onnx")


def test_devices_of_onnx_models(int8: Path, monkeypatch: pytest.MonkeyPatch):
    import onnxruntime

    for device in ("mps", "cuda:x", "cuda"):
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
        with pytest.raises(UserError, match=f"--device {device} cannot run an ONNX model"):
            onnx_model.load(int8 / ONNX, device)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [onnx_model.CUDA, onnx_model.CPU])
    assert onnx_model.providers("cuda:1") == [(onnx_model.CUDA, {"device_id": "1"}), onnx_model.CPU]
    assert onnx_model.providers("auto")[0][0] == onnx_model.CUDA and onnx_model.providers("cpu") == [onnx_model.CPU]
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="need onnxruntime: run `pip install -r requirements-serve.txt`"):
        NewsClassifier.load(int8 / ONNX)


def pins(name: str) -> dict[str, str]:
    """The packages that a requirements file pins."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


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
import api, predict_fun, predict_quantization
path = Path(sys.argv[1])
predict_quantization.main(["--model", str(path), "--text", "球队夺冠"])
client = api.create_app({"int8": predict_fun.NewsClassifier.load(path)}, api.ApiConfig()).test_client()
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


def test_names_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEWS_MODEL", raising=False)
    made = []

    def make(name: str) -> Path:
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.touch()
        made.append(path)
        return path

    unstructured = make("models_save/pruned_model.pth")
    assert find_model("pruned") == find_model(None) == unstructured
    assert find_model("pruned") == unstructured and make("models_save/structured_pruned_model.pth") == find_model(
        "pruned"
    )
    state_dict = make("save_models/quantized_model_bertclassifer_model.pt")
    assert find_model("int8") == find_model(None) == state_dict
    onnx = make("save_models/bertclassifer_int8.onnx")
    assert find_model("int8") == find_model(None) == onnx and find_model("int8", onnx=False) == state_dict
    teacher = make("save_models/test_bertclassifer_model.pt")
    assert find_model("teacher") == find_model(None) == teacher
    student = make("models_save/bilstm_soft_distill.pth")
    assert find_model("soft") == find_model(None) == student
    light_student = make("models_save/bilstm_soft_distill.onnx")
    assert find_model("soft") == find_model(None) == light_student and find_model("soft", onnx=False) == student
    light_student = make("models_save/bilstm_soft_distill_int8.onnx")
    assert find_model("soft") == find_model(None) == light_student and find_model("soft", onnx=False) == student
    with pytest.raises(UserError, match="run `python hard_label_distillation.py`"):
        find_model("hard")

    assert not capsys.readouterr().err
    os.utime(light_student, (0, 0))
    assert find_model(None) == light_student
    assert "bilstm_soft_distill_int8.onnx is older than" in capsys.readouterr().err
    assert find_model("soft") == light_student and not capsys.readouterr().err

    monkeypatch.setattr(config.importlib.util, "find_spec", lambda name: None)
    assert find_model(None) == light_student
    for light_student in Path("models_save").glob("*.onnx"):
        light_student.unlink()
    assert find_model(None) == find_model("int8") == onnx
    for name in ("teacher", "soft"):
        with pytest.raises(UserError, match=f"no ONNX file of {name} here"):
            find_model(name)
    onnx.unlink()
    with pytest.raises(UserError, match="no ONNX file of any model here"):
        find_model(None)


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
