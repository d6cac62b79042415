"""Model files opened to answer: rows and items, padding, files of earlier versions, of other tasks, and of no sense."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LABELS

import tasks
from core.compression import export
from core.console import UserError
from core.model_files import checkpoint
from core.model_files.facts import INPUTS
from core.model_files.finite import NotFinite
from core.model_files.int8 import SCHEME, quantize
from core.model_files.module import load_module
from core.model_files.predictor import Predictor, Rows, predict_all
from core.text.collate import TOKENS, passes
from predict_fun import NewsClassifier
from utils import read_titles

NEW = ("task", "inputs", "per_token", "best_by", "project")  # facts that files of earlier versions lack
FACTS = {"stage": "x", "labels": ["a", "b"], "vocab": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "好"], "max_length": 8}


class Windows(Predictor):
    """Answers an item, a list of numbers, by its windows of at most three; each number is one token."""

    def encode(self, items: Sequence[list[int]]) -> Rows:
        windows = [
            (item, numbers[start : start + 3])
            for item, numbers in enumerate(items)
            for start in range(0, len(numbers), 3)
        ]
        columns = {"input_ids": [ids for _, ids in windows], "places": [10 * item for item, _ in windows]}
        return Rows(columns, [item for item, _ in windows], [f"{item}:{ids}" for item, ids in windows])

    def decode(self, item: list[int], notes: Sequence[str], logits: Sequence[np.ndarray]) -> Any:
        return item, list(notes), [values.tolist() for values in logits]


class Run:
    """The sum of a row, or each of its tokens, and where it is from; keeps what it was given."""

    def __init__(self, per_token: bool) -> None:
        self.per_token, self.given = per_token, []

    def __call__(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        self.given.append(inputs)
        ids, mask, places = (inputs[name] for name in ("input_ids", "attention_mask", "places"))
        if self.per_token:  # at padding too
            return np.stack((ids, np.broadcast_to(places[:, None], ids.shape)), -1).astype(np.float32)
        return np.stack(((ids * mask).sum(1), places), -1).astype(np.float32)


def windows(per_token: bool) -> tuple[Windows, Run]:
    run = Run(per_token)
    return Windows({**FACTS, "inputs": [*INPUTS, "places"], "per_token": per_token}, run), run


ITEMS = [[5, 6, 7, 8], [9], [1, 2, 3, 4, 5, 6, 7], [3, 4]]


@pytest.mark.parametrize(
    ("batch_size", "rows"), [(1, [1] * 7), (2, [2, 2, 2, 1]), (3, [3, 3, 1]), (128, [7]), (None, [7])]
)
def test_an_item_gets_the_logits_of_all_its_rows_in_order(batch_size: int | None, rows: list[int]):
    predictor, run = windows(per_token=False)
    assert predictor.predict(ITEMS, batch_size) == [
        ([5, 6, 7, 8], ["0:[5, 6, 7]", "0:[8]"], [[18, 0], [8, 0]]),
        ([9], ["1:[9]"], [[9, 10]]),
        ([1, 2, 3, 4, 5, 6, 7], ["2:[1, 2, 3]", "2:[4, 5, 6]", "2:[7]"], [[6, 20], [15, 20], [7, 20]]),
        ([3, 4], ["3:[3, 4]"], [[7, 30]]),
    ]
    assert [len(inputs["input_ids"]) for inputs in run.given] == rows


def test_a_pass_takes_fewer_of_the_long_rows():
    lengths = [20, TOKENS + 1, 256, 20, 256] + [256] * 20 + [600] * 7
    found = list(passes(lengths, 128))
    assert sorted(row for taken in found for row in taken) == list(range(len(lengths)))
    assert [[lengths[row] for row in taken] for taken in found] == [
        [20] * 2 + [256] * 14,
        [256] * 8,
        [600] * 6,
        [600],
        [TOKENS + 1],
    ]
    assert [len(taken) for taken in passes([TOKENS // 128] * 300, 128)] == [128, 128, 44]
    assert [len(taken) for taken in passes([TOKENS + 1] * 3, 128)] == [1, 1, 1]


@pytest.mark.parametrize("batch_size", [1, 2, 128])
def test_logits_of_tokens_come_without_padding(batch_size: int):
    predictor, run = windows(per_token=True)
    answers = predictor.predict(ITEMS, batch_size)
    assert [[[token for token, _ in row] for row in rows] for _, _, rows in answers] == [
        [[5, 6, 7], [8]],
        [[9]],
        [[1, 2, 3], [4, 5, 6], [7]],
        [[3, 4]],
    ]
    assert all(place == 10 * index for index, (_, _, rows) in enumerate(answers) for row in rows for _, place in row)
    if batch_size == 128:
        assert run.given[0]["input_ids"].shape == (7, 3)  # there was padding


def test_a_model_is_given_the_inputs_that_its_facts_name_and_no_others():
    predictor, run = windows(per_token=False)
    predictor.predict(ITEMS)
    assert list(run.given[0]) == ["input_ids", "attention_mask", "places"]
    assert all(array.dtype == np.int64 for array in run.given[0].values())
    plain = Windows(FACTS, run)
    assert list(plain.collate({"input_ids": [[1], [2, 3]], "places": [4, 5]})) == list(INPUTS)


def test_rows_of_like_length_share_a_pass():
    predictor, run = windows(per_token=False)
    predictor.predict([[1, 2, 3], [4], [5, 6], [7], [8, 9], [1, 1, 1]], 2)
    assert [inputs["attention_mask"].all() for inputs in run.given] == [True] * 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("items", [ITEMS[1:2], ITEMS])
@pytest.mark.parametrize("per_token", [False, True])
def test_logits_that_are_not_finite_are_no_answer(value: float, items: list, per_token: bool):
    predictor, run = windows(per_token)

    def spoilt(inputs: dict[str, np.ndarray]) -> np.ndarray:
        logits = run(inputs)
        logits[(inputs["input_ids"] == 9).any(1)] = value
        return logits

    predictor.run = spoilt
    with pytest.raises(NotFinite, match="the model gives logits that are not finite"):
        predictor.predict(items)
    assert predictor.predict(ITEMS[3:])


def test_what_stands_at_padding_may_be_anything_and_large_logits_are_finite():
    predictor, run = windows(per_token=True)

    def spoilt(inputs: dict[str, np.ndarray]) -> np.ndarray:
        logits = run(inputs)
        logits[inputs["attention_mask"] == 0] = np.nan
        logits[inputs["attention_mask"] == 1] = 3e38
        return logits

    predictor.run = spoilt
    assert len(predictor.predict(ITEMS)) == len(ITEMS)


def test_an_input_that_the_task_does_not_give():
    predictor = Windows({**FACTS, "inputs": [*INPUTS, "colours"]}, Run(per_token=False))
    with pytest.raises(UserError, match="asks for 'colours', which its task does not give: make the model again"):
        predictor.predict(ITEMS)


def test_a_path_may_be_a_string(teacher: Path):
    classifier = NewsClassifier.load(str(teacher), "cpu")
    assert classifier.path == teacher and classifier.predict(["球队夺冠"])[0].pred_class in LABELS


def test_no_items_no_answers():
    predictor, run = windows(per_token=True)
    assert predictor.predict([]) == [] == predict_all(predictor, [], "none") and not run.given


def test_many_items_are_answered_in_order(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("core.model_files.predictor.CHUNK", 3)
    predictor, run = windows(per_token=False)
    items = [[number] for number in range(8)]
    assert [item for item, _, _ in predict_all(predictor, items, "some")] == items
    assert [len(inputs["input_ids"]) for inputs in run.given] == [3, 3, 2]


def test_a_title_gets_the_same_answer_in_any_company(teacher: Path):
    classifier = NewsClassifier.load(teacher, "cpu")
    texts = ["球队夺冠", "银行基金股债利率" * 6, "芯"]
    alone = [classifier.predict([text])[0] for text in texts]
    for one, other in zip(alone, classifier.predict(texts), strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


def as_before(facts: dict) -> dict:
    """The facts that a file of an earlier version has."""
    assert set(NEW) <= facts.keys()
    return {name: value for name, value in facts.items() if name not in NEW}


def test_files_of_earlier_versions_answer_bit_for_bit_the_same(teacher: Path, graph: bytes, data: Path, tmp_path: Path):
    texts = read_titles(data / "test.txt", LABELS).texts
    weights, facts = checkpoint.load(teacher)
    checkpoint.save(tmp_path / "old.pt", weights, as_before(facts))
    export.write(tmp_path / "new.onnx", graph, facts)
    export.write(tmp_path / "old.onnx", graph, as_before(facts))
    for new, old in ((teacher, "old.pt"), (tmp_path / "new.onnx", "old.onnx")):
        before, after = (NewsClassifier.load(path, "cpu") for path in (new, tmp_path / old))
        assert not set(NEW) & after.facts.keys() and set(NEW) <= before.facts.keys()
        assert after.predict(texts) == before.predict(texts)
        task, opened = tasks.load(tmp_path / old, "cpu")
        assert type(opened) is NewsClassifier is task.predictor and opened.predict(texts) == before.predict(texts)
        firsts = (dict(checkpoint.describe(path))["metrics, dev"].split()[0] for path in (new, tmp_path / old))
        assert list(firsts) == ["macro_f1", "loss"]  # an old file does not say what its state was selected by


def test_files_without_a_temperature_answer_as_before_and_with_one_name_the_same_classes(
    teacher: Path, graph: bytes, data: Path, tmp_path: Path
):
    texts = read_titles(data / "test.txt", LABELS).texts
    weights, facts = checkpoint.load(teacher)
    old = {name: value for name, value in facts.items() if name != "temperature"}
    for end in (".pt", ".onnx"):
        for name, its in (("old", old), ("hot", {**old, "temperature": 9}), ("cold", {**old, "temperature": 0.05})):
            path = tmp_path / f"{name}{end}"
            checkpoint.save(path, weights, its) if end == ".pt" else export.write(path, graph, its)
        plain, hot, cold = (NewsClassifier.load(tmp_path / f"{name}{end}", "cpu") for name in ("old", "hot", "cold"))
        logits = plain.logits(plain.encode(texts).columns)
        for row, answer in zip(logits, plain.predict(texts), strict=True):
            shares = np.exp(row - row.max()) / np.exp(row - row.max()).sum()  # as every version did
            assert list(answer.probabilities.values()) == pytest.approx(shares.tolist(), abs=1e-6)
        for one, other, third in zip(plain.predict(texts), hot.predict(texts), cold.predict(texts), strict=True):
            assert [name for name, _ in one.top(3)] == [name for name, _ in other.top(3)]
            assert one.label_id == other.label_id == third.label_id
            assert other.confidence < one.confidence < third.confidence


@pytest.mark.parametrize("kind", [".pt", ".onnx"])
def test_a_file_of_another_task_is_refused_in_one_sentence(kind: str, teacher: Path, graph: bytes, tmp_path: Path):
    weights, facts = checkpoint.load(teacher)
    path = tmp_path / f"tagger{kind}"
    for its in (facts, {**facts, "architecture": {"type": "bert_tagger", "num_labels": 3}}):
        its = {**its, "task": "tagging"}
        if kind == ".pt":
            checkpoint.save(path, weights, its)
        else:
            export.write(path, graph, its)
        with pytest.raises(UserError) as refusal:
            NewsClassifier.load(path, "cpu")
        assert str(refusal.value) == f"{path} is a model for tagging, not for classification: give a model of this task"
        with pytest.raises(UserError) as refusal:
            tasks.load(path, "cpu")
        assert str(refusal.value).startswith("there is no task tagging here: ") and "\n" not in str(refusal.value)


@pytest.mark.parametrize("key", ["architecture", "labels", "vocab", "max_length"])
def test_a_model_whose_parts_do_not_fit(teacher: Path, tmp_path: Path, key: str):
    state_dict, facts = checkpoint.load(teacher)
    wrong = {
        "architecture": {**facts["architecture"], "num_labels": 4},
        "labels": ["甲", "乙"],
        "vocab": [],
        "max_length": "long",
    }
    checkpoint.save(tmp_path / "m.pt", state_dict, {**facts, key: wrong[key]})
    with pytest.raises(UserError, match="m.pt"):
        NewsClassifier.load(tmp_path / "m.pt", "cpu").predict(["好"])


def test_weights_with_a_wrong_shape(teacher: Path, tmp_path: Path):
    state_dict, facts = checkpoint.load(teacher)
    checkpoint.save(tmp_path / "m.pt", {**state_dict, "classifier.bias": torch.zeros(5)}, facts)
    with pytest.raises(UserError, match="do not fit"):
        NewsClassifier.load(tmp_path / "m.pt", "cpu")


def test_finite_weights_whose_logits_are_not(teacher: Path, tmp_path: Path):
    state_dict, facts = checkpoint.load(teacher)
    checkpoint.save(tmp_path / "m.pt", {**state_dict, "classifier.weight": torch.full((3, 32), 3e38)}, facts)
    with pytest.raises(NotFinite, match="m.pt gives logits that are not finite"):
        NewsClassifier.load(tmp_path / "m.pt", "cpu").predict(["球队夺冠"])


def test_weights_in_the_wrong_shell(teacher: Path, tmp_path: Path):
    plain, facts = checkpoint.load(teacher)
    packed = quantize(load_module(teacher, NewsClassifier.builds)[0]).state_dict()
    int8 = {**facts, "architecture": {**facts["architecture"], "quantization": SCHEME}}
    checkpoint.save(tmp_path / "m.pt", packed, int8)
    assert NewsClassifier.load(tmp_path / "m.pt").predict(["球队夺冠"])[0].pred_class in LABELS
    checkpoint.save(tmp_path / "m.pt", packed, facts)
    with pytest.raises(UserError, match="do not fit .*INT8 weights, but no word of quantization"):
        NewsClassifier.load(tmp_path / "m.pt")
    checkpoint.save(tmp_path / "m.pt", plain, int8)
    with pytest.raises(UserError, match="m.pt do not fit the model it describes"):
        NewsClassifier.load(tmp_path / "m.pt")
    checkpoint.save(tmp_path / "m.pt", plain, {**facts, "architecture": {"type": "gpt", "num_labels": 3}})
    with pytest.raises(UserError, match="an unknown type of model, gpt"):
        NewsClassifier.load(tmp_path / "m.pt")
    with pytest.raises(UserError, match="m.pt is a model for classification, of type gpt, not one of bert, .*: give"):
        load_module(tmp_path / "m.pt", NewsClassifier.builds)  # as a stage opens its teacher
