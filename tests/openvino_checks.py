"""What needs OpenVINO and NNCF; test_openvino.py runs it in a process of its own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import LABELS, ROOT, assert_calibrated

import bert_model_quantization as quantization
from core.compression import export
from core.console import UserError
from core.model_files import checkpoint, openvino_model
from core.model_files.module import CPU, load_module, run_module
from experiments import shapes
from predict_fun import NewsClassifier
from utils import read_titles

IR = "bertclassifer_int8.xml"
NEW = ("task", "inputs", "per_token", "best_by", "project")  # facts that files of earlier versions lack
FILES = ("bertclassifer_int8.onnx", "bertclassifer_int8.bin", IR, "quantized_model_bertclassifer_model.pt")


@pytest.fixture(scope="module")
def int8(teacher: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the INT8 forms of the teacher; do not write to it."""
    pytest.importorskip("nncf")
    folder = tmp_path_factory.mktemp("openvino")
    flags = ["--model", str(teacher), "--data-dir", str(data), "--save-dir", str(folder), "--output", str(folder)]
    quantization.main(flags)
    return folder


def test_it_answers_as_the_teacher_does_and_says_all_about_itself(int8: Path, teacher: Path, data: Path):
    assert {path.name for path in int8.iterdir() if path.is_file()} == set(FILES)
    texts = read_titles(data / "test.txt", LABELS).texts
    expected = NewsClassifier.load(teacher, "cpu").predict(texts)
    classifier = NewsClassifier.load(int8 / IR)
    answers = classifier.predict(texts)
    assert sum(one.label_id == other.label_id for one, other in zip(answers, expected, strict=True)) >= 19
    alone = classifier.predict(texts[:1])[0]
    assert alone.confidence == pytest.approx(answers[0].confidence, abs=0.05)
    facts, before = classifier.facts, checkpoint.load(teacher)[1]
    assert before.keys() <= facts.keys() and facts["stage"] == "teacher_int8" and facts["vocab"] == before["vocab"]
    assert facts["architecture"]["quantization"] and facts["metrics"]["dev"]["n"] == 20
    assert all(facts[name] == before[name] for name in ("task", "inputs", "per_token", "best_by"))
    assert dict(checkpoint.describe(int8 / IR))["stage"] == "teacher_int8"
    assert_calibrated(int8 / IR, data)
    rows = json.loads((int8 / "quantization" / "report.json").read_text(encoding="utf-8"))["rows"]
    (row,) = (row for row in rows if row["name"] == "INT8 OpenVINO")
    assert row["size_mb"] * 1e6 == sum((int8 / IR).with_suffix(end).stat().st_size for end in (".xml", ".bin"))
    assert row["accuracy"] > 0.8 and row["ratio_p50"] > 0


WITHOUT_TORCH = """
import sys
sys.modules |= dict.fromkeys(("torch", "transformers", "onnx", "onnxruntime", "nncf"))
from pathlib import Path
from predict_fun import NewsClassifier
print(NewsClassifier.load(Path(sys.argv[1])).predict(["球赛夺冠军胜"])[0].pred_class)
"""


def test_it_predicts_without_torch(int8: Path):
    command = [sys.executable, "-X", "utf8", "-c", WITHOUT_TORCH, str(int8 / IR)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    assert result.stdout.split() == ["体育"], result.stderr


def test_several_threads_get_their_own_answers(int8: Path, data: Path):
    from concurrent.futures import ThreadPoolExecutor

    texts = read_titles(data / "test.txt", LABELS).texts * 5
    classifier = NewsClassifier.load(int8 / IR)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda text: classifier.predict([text])[0].probabilities, texts))
    assert together == [classifier.predict([text])[0].probabilities for text in texts]


def test_damaged_and_foreign_files(int8: Path, tmp_path: Path):
    path, weights = tmp_path / IR, tmp_path / "bertclassifer_int8.bin"
    for name in (path, weights):
        shutil.copy(int8 / name.name, name)
    with pytest.raises(UserError, match="--device cuda: OpenVINO models .* run on the CPU"):
        NewsClassifier.load(path, "cuda")
    for file in (path, weights):
        content = file.read_bytes()
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 1
        for damaged in (b"", content[:-1], bytes(flipped)):
            file.write_bytes(damaged)
            with pytest.raises(UserError, match="is damaged or not a model of this project: copy both again"):
                NewsClassifier.load(path)
        file.unlink()
        with pytest.raises(UserError, match=f"there is no file .*{file.name}: an OpenVINO model is two files"):
            NewsClassifier.load(path)
        file.write_bytes(content)
    assert NewsClassifier.load(path).predict(["球赛"])


def test_a_file_of_an_earlier_version_answers_the_same_and_one_of_another_task_is_refused(int8: Path, tmp_path: Path):
    facts = NewsClassifier.load(int8 / IR).facts
    old = {name: value for name, value in facts.items() if name not in NEW}
    assert len(old) == len(facts) - len(NEW)
    for name, its in (("old", old), ("tagger", {**facts, "task": "tagging"})):
        model = openvino_model.import_openvino().Core().read_model(int8 / IR)
        openvino_model.write(tmp_path / f"{name}.xml", model, its)
    texts = ["球队夺冠", "银行利率", "芯"]
    before, after = (NewsClassifier.load(path) for path in (int8 / IR, tmp_path / "old.xml"))
    assert before.predict(texts) == after.predict(texts) and not set(NEW) & after.facts.keys()
    with pytest.raises(UserError, match="tagger.xml is a model for tagging, not for classification"):
        NewsClassifier.load(tmp_path / "tagger.xml")


def test_precisions_of_a_shape(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("nncf")
    model, facts = load_module(teacher, NewsClassifier.builds)
    monkeypatch.setattr(shapes, "has_native_bf16", lambda _: True)
    graph = export.to_onnx(model, facts)
    files = list(shapes._openvino(tmp_path, "bert-base", graph, facts))
    files.append(shapes._openvino_int8(tmp_path, "bert-base-int8", graph, facts))
    assert [file[:2] for file in files] == [
        ("bert-base", "openvino"),
        ("bert-base", "openvino (bf16)"),
        ("bert-base-int8", "openvino"),
    ]
    ids = np.array([[2, 7, 8, 9, 3]])
    arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    wanted = run_module(model, CPU)(arrays)
    for file, tolerance, precision in zip(files, (1e-4, 0.1, 0.5), ("f32", "bf16", None), strict=True):
        kept, run = openvino_model.load(file.path, "cpu")
        assert kept.get("precision") == precision
        assert np.abs(run(arrays) - wanted).max() < tolerance


@pytest.mark.parametrize("ending", [".bin", ".BIN"])
def test_endings_in_capitals(int8: Path, ending: str, tmp_path: Path):
    shutil.copy(int8 / IR, tmp_path / "MODEL.XML")
    shutil.copy((int8 / IR).with_suffix(".bin"), tmp_path / f"MODEL{ending}")
    texts = ["球队夺冠", "银行利率"]
    assert NewsClassifier.load(tmp_path / "MODEL.XML").predict(texts) == NewsClassifier.load(int8 / IR).predict(texts)
    assert dict(checkpoint.describe(tmp_path / "MODEL.XML"))["stage"] == "teacher_int8"


def test_whole_files_that_are_no_models(int8: Path, tmp_path: Path):
    facts, path = NewsClassifier.load(int8 / IR).facts, tmp_path / "m.xml"
    for graph in (b"", b"no xml", b"<net/>", b"<?xml version='1.0'?><net name='m' version='11'><layers/></net>"):
        path.with_suffix(".bin").write_bytes(b"")
        path.write_bytes(graph + openvino_model._seal(b"", graph))
        with pytest.raises(
            UserError, match="m.xml (cannot be run by the openvino|lacks facts).*: make the model again"
        ):
            NewsClassifier.load(path)
    for wrong in ({"stage": {}}, {"metrics": "good"}, {"labels": ["a", "b"]}, {"vocab": []}, {"inputs": ["input_ids"]}):
        model = openvino_model.import_openvino().Core().read_model(int8 / IR)
        openvino_model.write(path, model, {**facts, **wrong})
        with pytest.raises(UserError, match="m.xml (has damaged|lacks) facts.*: make the model again"):
            NewsClassifier.load(path)


def test_logits_that_are_not_finite(teacher: Path, tmp_path: Path):
    model, facts = load_module(teacher, NewsClassifier.builds)
    graph = export.to_onnx(model, facts)
    nan = np.float32(np.nan).tobytes()
    bias = model.classifier.bias.detach().numpy()
    spoilt = graph.replace(bias.tobytes(), nan * len(bias))
    assert spoilt != graph
    openvino_model.write(tmp_path / "m.xml", openvino_model.import_openvino().Core().read_model(spoilt), facts)
    with pytest.raises(UserError, match="m.xml gives logits that are not finite"):
        NewsClassifier.load(tmp_path / "m.xml")
