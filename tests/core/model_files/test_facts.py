"""Facts of a stranger's model file: whatever they are, it opens or is refused in one sentence, whatever its kind."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.compression import export
from core.console import UserError
from core.model_files import checkpoint, openvino_model
from core.model_files.facts import check, parse
from core.serving.facts import model_facts
from predict_fun import NewsClassifier

PATH = Path("m.onnx")
GONE = object()  # the fact is missing
DEEP: list = []
for _ in range(50):
    DEEP = [DEEP]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
ARCHITECTURES = [{}, {"type": "bert"}, {"num_labels": 3}, {"type": ["bert"], "num_labels": 3}]
ARCHITECTURES += [{"type": "bert", "num_labels": value} for value in (True, "3", 3.0, 0, -3, None, 4, math.nan)]
ARCHITECTURES += [{"type": "bert", "num_labels": 3, "bert_config": value} for value in (None, [], "x", 7)]
ARCHITECTURES += [
    {"type": "bert", "num_labels": 3, "bert_config": {name: value}}
    for name, value in (
        ("vocab_size", 4),
        ("vocab_size", "many"),
        ("vocab_size", None),
        ("max_position_embeddings", 3),
        ("max_position_embeddings", [64]),
        ("layer_norm_eps", math.inf),
        ("deep", DEEP),
    )
]
ARCHITECTURES += [
    {"type": "bert", "num_labels": 3, name: value}
    for name, value in (
        ("quantization", 1),
        ("quantization", {}),
        ("vocab_size", 3),
        ("dropout", math.nan),
        ("deep", DEEP),
    )
]
NAMES = ["", " ", "\n", "a\nb", "\x1b[2J", "\u200b", "a\u202eb", "\ufeffa", "a\x00", 5, None, ["a"], {"a": 1}, True]
HOSTILE: dict[str, list[Any]] = {
    "task": [*NAMES, "x" * 1000],
    "stage": [*NAMES, "x" * 1000, GONE],
    "architecture": [None, [], "bert", 3, GONE, *ARCHITECTURES],
    "labels": [None, {}, "abc", 3, [], ["a", "b"], list("abcd"), ["a", "a", "b"], [["a"], "b", "c"], GONE]
    + [["a", "b", name] for name in NAMES],
    "vocab": [None, {}, "abc", [], SPECIAL[:3], [*SPECIAL, 5], [*SPECIAL, None], [*SPECIAL, "[PAD]"], GONE]
    + [[*SPECIAL, "\ud800"], [*SPECIAL, ["a"]], [*SPECIAL, *(f"x{n}" for n in range(5000))]],
    "max_length": [None, "8", 2, 0, -1, 8.5, math.nan, True, [], {}, 10**30, GONE],
    "truncation": [None, "middle", "", 1, ["end"], {}],
    "inputs": [None, [], "input_ids", {}, ["attention_mask"], [1], ["input_ids", "input_ids"], ["input_ids", None]]
    + [["input_ids"], ["input_ids", "attention_mask", "places"]],
    "temperature": [None, "1", 0, -1.5, 1e-9, 1e9, 10**400, math.nan, math.inf, True, [1.0], {}],
    "per_token": [None, 1, 0, "no", [], True],
    "best_by": [["f1"], {}, 5, "\n"],
    "metrics": ["good", 5, [], {"dev": "good"}, {"dev": [1]}, {"dev": 0.9}, {"dev": {"deep": DEEP}}],
    "config": ["x", [], 5, {"deep": DEEP}],
    "training": ["x", [1], {"deep": DEEP}],
    "versions": ["x", [1], 3],
    "seed": ["x", 1.5, [], True],
    "project": [[], {}, 1],
    "git_commit": [{}, 5],
    "lineage": [[], 7, {"a": "b"}],
    "anything": [DEEP],
}
CASES = [(name, value) for name, values in HOSTILE.items() for value in values]


def spoil(facts: dict, name: str, value: Any) -> dict:
    kept = {key: each for key, each in facts.items() if key != name}
    if name == "architecture" and isinstance(value, dict) and value:  # all else as it was
        value = {**facts[name], "num_labels": GONE, "type": GONE, **value}
        value = {key: each for key, each in value.items() if each is not GONE}
        if isinstance(value.get("bert_config"), dict):
            value["bert_config"] = {**facts[name]["bert_config"], **value["bert_config"]}
    return kept if value is GONE else {**kept, name: value}


def one_sentence(refusal: pytest.ExceptionInfo, path: Path) -> None:
    words = str(refusal.value)
    assert words.startswith((str(path), f"the weights in {path}")) and words.isprintable() and len(words) < 700
    assert any(step in words for step in ("make the model again", "make it again", "use the code that wrote it"))


class Graph:
    """What OpenVINO reads from a file: some facts, and logits of three classes."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def has_rt_info(self, path: list[str]) -> bool:
        return self.text is not None and path == openvino_model.FACTS

    def get_rt_info(self, path: list[str]) -> Any:
        return SimpleNamespace(astype=lambda kind: kind(self.text))

    def create_infer_request(self) -> Any:
        return SimpleNamespace(infer=lambda inputs: [np.zeros((len(inputs["input_ids"]), 3), dtype=np.float32)])


@pytest.fixture
def openvino(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """A stand-in for the package, which is optional; it reads the graph that it is told."""
    module = ModuleType("openvino")
    module.compile_model = lambda model, device, hints: model
    monkeypatch.setitem(sys.modules, "openvino", module)

    def reads(read: Callable[[], Graph]) -> None:
        module.Core = lambda: SimpleNamespace(read_model=lambda path, weights: read())

    return reads


def write_openvino(path: Path, graph: bytes = b"<net/>", weights: bytes = b"") -> None:
    path.with_suffix(".bin").write_bytes(weights)
    path.write_bytes(graph + openvino_model._seal(weights, graph))


@pytest.fixture(scope="module")
def good(teacher: Path) -> tuple[dict, dict]:
    return checkpoint.load(teacher)


@pytest.mark.parametrize(("name", "value"), CASES, ids=[f"{name}-{n}" for n, (name, _) in enumerate(CASES)])
def test_hostile_facts_are_refused_in_one_sentence_in_every_kind_of_file(
    name: str, value: Any, good: tuple[dict, dict], graph: bytes, openvino: Callable, tmp_path: Path
):
    weights, facts = good
    facts = spoil(facts, name, value)
    paths = [tmp_path / "m.pt", tmp_path / "m.onnx", tmp_path / "m.xml"]
    torch.save({"format_version": 1, "state_dict": weights, "meta": facts}, paths[0])
    text = json.dumps({"format_version": 1, **facts})
    monkey_write(paths[1], graph, text)
    write_openvino(paths[2])
    openvino(lambda: Graph(text))
    for path in paths:
        if path.suffix == ".xml" and name == "inputs" and "input_ids" in (value or ()):
            continue  # the stand-in takes any inputs
        with pytest.raises(UserError) as refusal:
            NewsClassifier.load(path, "cpu").predict(["球队夺冠"])
        one_sentence(refusal, path)


def monkey_write(path: Path, graph: bytes, text: str) -> None:
    """An ONNX file whose facts are any text."""
    import zlib

    import onnx

    from core.model_files import onnx_model

    model = onnx.load_from_string(graph)
    onnx.helper.set_model_props(model, {"meta": text})
    content = model.SerializeToString()
    path.write_bytes(content + onnx_model.seal(zlib.crc32(content)))


TEXTS = ["", "{", "null", "[]", "3", '"x"', "{}", '{"format_version": 1}', "[" * 100_000, '{"a":' * 50_000, "NaN"]
TEXTS += [
    '{"format_version": ' + value + "}" for value in ("2", "null", '"1"', "[1]", "true", "1.0", "1e999", "9" * 4000)
]


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_what_is_no_json_of_facts(number: int, graph: bytes, openvino: Callable, tmp_path: Path):
    monkey_write(tmp_path / "m.onnx", graph, TEXTS[number])
    write_openvino(tmp_path / "m.xml")
    openvino(lambda: Graph(TEXTS[number]))
    for name in ("m.onnx", "m.xml"):
        with pytest.raises(UserError) as refusal:
            NewsClassifier.load(tmp_path / name)
        one_sentence(refusal, tmp_path / name)


def test_openvino_files_that_are_none(good: tuple[dict, dict], openvino: Callable, tmp_path: Path):
    path = tmp_path / "m.xml"

    def fail() -> Graph:
        raise RuntimeError("Exception from src/inference/core.cpp:\n Unable to read the model\n")

    for read in (fail, lambda: Graph(None)):
        openvino(read)
        for graph in (b"", b"no xml", b"<net>"):
            write_openvino(path, graph)
            with pytest.raises(UserError) as refusal:
                NewsClassifier.load(path)
            one_sentence(refusal, path)
    openvino(lambda: Graph(json.dumps({"format_version": 1, **good[1]})))
    for damage in (b"", b"x", b"<!-- crc32 00000001 -->"):
        path.write_bytes(damage)
        with pytest.raises(UserError, match="damaged or not a model of this project"):
            NewsClassifier.load(path)
    write_openvino(path)
    assert NewsClassifier.load(path).predict(["球队夺冠"])
    for name in ("M.XML", "n.XML"):
        write_openvino(tmp_path / name)
        assert NewsClassifier.load(tmp_path / name).predict(["球队夺冠"])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(SPECIAL),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(HOSTILE)), value=VALUES)
def test_any_value_of_any_fact_is_usable_or_refused(name: str, value: Any, good: tuple[dict, dict]):
    """What `check` lets through can be described, served as JSON without NaN, and makes a predictor."""
    facts = spoil(good[1], name, value)
    for read in (lambda: check(facts, PATH), lambda: parse(json.dumps({"format_version": 1, **facts}), PATH)):
        try:
            kept = read()
        except UserError as refusal:
            assert str(refusal).isprintable() and "make the model again" in str(refusal)
            continue
        json.dumps(model_facts("m", None, kept), allow_nan=False)
        inputs = kept.get("inputs", ["input_ids", "attention_mask"])
        predictor = NewsClassifier({**kept, "task": "classification"}, lambda arrays: np.zeros((1, 3)), PATH)
        if set(inputs) <= {"input_ids", "attention_mask"}:
            assert predictor.predict(["球队夺冠"])[0].pred_class == kept["labels"][0]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(HOSTILE["architecture"][-1]) + ["bert_config", "layers", "pooling"]), value=VALUES)
def test_any_architecture_is_built_or_refused(name: str, value: Any, good: tuple[dict, dict], tmp_path: Path):
    path, (weights, facts) = tmp_path / "m.pt", good
    its = {**facts, "architecture": {**facts["architecture"], name: value}}
    torch.save({"format_version": 1, "state_dict": weights, "meta": its}, path)
    try:
        NewsClassifier.load(path, "cpu").predict(["球队夺冠"])
    except UserError as refusal:
        assert str(refusal).isprintable()


def test_metrics_that_are_not_finite_are_left_out(good: tuple[dict, dict], graph: bytes, tmp_path: Path):
    facts = {**good[1], "metrics": {"dev": {"loss": math.nan, "f1": math.inf, "accuracy": 0.5}, "test": None}}
    export.write(tmp_path / "m.onnx", graph, facts)
    classifier = NewsClassifier.load(str(tmp_path / "m.onnx"))
    assert model_facts("m", classifier.path, classifier.facts)["metrics"] == {"dev": {"accuracy": 0.5}}


def test_names_of_many_scripts_are_names(good: tuple[dict, dict]):
    for label in ("体育 新闻", "体育\u3000新闻", "👩\u200d💻", "é", "क्\u200dष", "a/b", "<b>", "1"):
        assert check({**good[1], "labels": ["a", "b", label]}, PATH)
