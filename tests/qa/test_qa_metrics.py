"""Scores by hand, the places of answers in faulty files, and the choice among spans."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from qa_questions import write_squad

from core.compression.losses import distillation_loss
from core.console import UserError
from core.training.units import count_labels
from qa import spans
from qa.data import NEVER, Questions, longest_answer, read, span_units
from qa.formats import Pair, find_answer
from qa.metrics import CMRC, SQUAD, answer_scores, cmrc_items, measure_of


@pytest.mark.parametrize(
    ("given", "references", "em", "f1"),
    [
        ("《北京》市。", ["北京市"], 1, 1),  # marks are dropped
        ("北京", ["北京市"], 0, 0.8),  # 2 of 2, 2 of 3
        ("京北", ["北京"], 0, 0.5),  # a run of one, not a bag of two
        ("北京在河北", ["北京和河北"], 0, 0.4),  # the longest run, not all that is alike
        ("iPhone 4S手机", ["iphone 4s"], 0, 2 * 2 / 6),  # words of letters are items
        ("1,234元", ["1,234"], 0, 2 / 3),  # so are numbers
        ("天 津", ["天津"], 0, 1),  # white space inside counts for EM alone
        ("上海", ["北京", "上海"], 1, 1),  # the best reference counts
        ("", ["北京"], 0, 0),
        ("。", ["！"], 1, 1),  # nothing is left of both
        (",", ["."], 0, 0),  # the ASCII comma and full stop stay
    ],
)
def test_cmrc_by_hand(given: str, references: list[str], em: float, f1: float):
    assert CMRC.exact(given, references) == em and CMRC.f1(given, references) == pytest.approx(f1)


def test_the_items_of_a_mixed_text():
    assert cmrc_items("在GNOME 3.14中，don't") == ["在", "gnome", "3.14", "中", "don't"]


def test_squad_by_hand():
    assert SQUAD.exact("The  Eiffel Tower!", ["eiffel tower"]) == 1
    assert SQUAD.f1("tower of Eiffel", ["the Eiffel Tower"]) == pytest.approx(2 * 2 / 5)  # a bag: order is nothing
    assert measure_of(["Where is the tallest old tower, 北京?"]) is SQUAD and measure_of(["北京 is a city"]) is CMRC


def test_where_there_is_no_answer_only_none_is_right():
    split = Questions([Pair("谁", "王芳")] * 3, [["王芳"], [], []], [[(0, 2)], [], []])
    scores = answer_scores(["王芳", "", "王"], split)
    assert scores.f1 == [1, 1, 0] and scores.metrics["null_accuracy"] == 0.5 and scores.metrics["answerable_f1"] == 1
    for context, given, answers in (("王芳", "，", []), ("Kim", "the", []), ("王芳。", "", ["。"])):
        scores = answer_scores([given], Questions([Pair("谁", context)], [answers], [[]]))
        assert scores.f1 == scores.exact == [0], "what a measure drops is an answer all the same"


@pytest.mark.parametrize(
    ("context", "text", "start", "place"),
    [
        ("王芳来自北京", "北京", 4, 4),
        ("𠀀𠀀王芳来自北京，北京", "北京", 8, 6),  # UTF-16 units
        ("王芳来自北京", "北京", -1, 4),  # not said, once in all
        ("王芳来自北京", "北京", 2, 4),
        ("北京北京北京", "北京", -1, None),  # thrice
        ("北京" + "的" * 40 + "北京", "北京", 44, 42),  # once nearby
        ("王芳来自北京", "上海", 4, None),
        ("王芳来自北京", "北京", 10**9, 4),
    ],
)
def test_answers_are_looked_for_nearby(context: str, text: str, start: int, place: int | None):
    assert find_answer(context, text, start) == place


def test_faulty_answers_are_mended_or_told(tmp_path: Path):
    def asked(*answers: dict, **more) -> dict:
        return {"id": "Q", "question": "几点？", "answers": list(answers), **more}

    qas = [
        asked({"text": "2008", "answer_start": float("nan")}),
        asked({"text": 2008.0, "answer_start": "0"}),
        asked({"text": " 十七点 ", "answer_start": 6}, {"text": "没有的", "answer_start": 1}),
        asked({"text": "39764.0", "answer_start": -1}),
        asked(is_impossible=True),
        asked(),
        {**asked(), "question": " "},
    ]
    path = write_squad(tmp_path / "a.json", [{"context": "2008年，到 十七点 关门", "qas": qas}])
    split = read(path)
    assert split.answers == [["2008"], ["2008"], ["十七点", "没有的"], ["39764.0"], []]
    assert split.spans == [[(0, 4)], [(0, 4)], [(8, 11)], [], []]
    told = "\n".join(split.warnings)
    for part in ("2 answer(s) that did not stand", "2 answer(s) that their passage does not have", "1 id(s) that"):
        assert part in told
    assert "1 answer(s) written as a number" in told and "1 question(s) without an answer and" in told
    assert "1 question(s) or passage(s) with nothing to see" in told and "没有的" in split.notes[0]
    assert len(read(path, limit=2)) == 2


@pytest.mark.parametrize(
    "answers",
    [
        [{"text": "十七点 ", "answer_start": 1}],
        [{"text": " \u3000十七点\n", "answer_start": -1}],
        {"text": ["十七点"], "answer_start": [1]},  # of Hugging Face
        {"text": ["十七点"]},
        ["十七点"],
    ],
)
def test_answers_with_spaces_or_in_lists(answers: list | dict, tmp_path: Path):
    asked = {"id": "1", "question": "几点？", "answers": answers}
    split = read(write_squad(tmp_path / "a.json", [{"context": "到十七点关门", "qas": [asked]}]))
    assert (split.answers, split.spans, split.notes) == ([["十七点"]], [[(1, 4)]], [])


def test_cmrc_as_it_was_published(tmp_path: Path):
    asked = [{"query_id": "T_0", "query_text": "几点？", "answers": ["十七点", "十七点"]}]
    asked.append({"query_id": "T_1", "query_text": "到几点？", "answers": ["点"]})
    passages = [{"context_id": "T", "context_text": "到十七点不是八点", "title": "甲", "qas": asked}]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(passages, ensure_ascii=False), encoding="utf-8")
    split = read(path)
    assert split.answers == [["十七点", "十七点"], ["点"]] and split.spans == [[(1, 4), (1, 4)], []]
    assert len(split.notes) == 1 and split.notes[0].startswith("T_1: ")  # an answer at two places is not learned
    path.write_text('[{"context_text": "a", "qas": [{}]}]', encoding="utf-8")
    with pytest.raises(UserError, match="passage 1: 'question' is missing"):
        read(path)


def test_spaces_before_an_answer_move_its_place(tmp_path: Path):
    asked = {"id": "1", "question": "几点？", "answers": [{"text": " 三点 ", "answer_start": 3}]}
    split = read(write_squad(tmp_path / "a.json", [{"context": "三点 到 三点。", "qas": [asked]}]))
    assert split.spans == [[]], "at neither place"
    asked["answers"][0]["answer_start"] = 4
    split = read(write_squad(tmp_path / "a.json", [{"context": "三点 到 三点。", "qas": [asked]}]))
    assert split.spans == [[(5, 7)]] and not split.warnings


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not the JSON of SQuAD"),
        ('{"data": 3}', "is not the JSON of SQuAD"),
        ('{"data": []}', "has no labelled question"),
        ('{"data": [{"paragraphs": [{"context": "a", "qas": [{"id": "1"}]}]}]}', "passage 1: 'question' is missing"),
        ('{"data": [{"paragraphs": ["a"]}]}', "passage 1: this passage is str, not {"),
        ('{"data": [{"paragraphs": [{"context": "a", "qas": ["b"]}]}]}', "this question is str, not {"),
        (
            '{"data": [{"paragraphs": [{"context": "a", "qas": [{"question": "b", "answers": [["a"]]}]}]}]}',
            "this answer is list, not {",
        ),
        ('{"data": [{"paragraphs": [{"context": 1, "qas": [{"question": "b"}]}]}]}', "a context is int, not a text"),
    ],
)
def test_files_that_are_none(content: str, says: str, tmp_path: Path):
    (tmp_path / "a.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=says):
        read(tmp_path / "a.json")


def test_spans_by_hand():
    logits = np.zeros((6, 2))
    logits[0] = 1, 0.5  # no answer
    logits[2] = 4, 1
    logits[4] = 1, 3
    tokens, units = np.array([2, 3, 4, 5]), np.array([10, 11, 12, 13])
    found, others = spans.window_spans(logits, tokens, units, (10, 14), 3)
    assert found[0] == (10, 12, 4 + 3 - 1.5) and all(0 <= last - first < 3 for first, last, _ in found)
    assert len(found) == 4 + 3 + 2 and len(spans.window_spans(logits, tokens, units, (10, 14), 99)[0]) == 10
    assert all(
        (first + last) // 2 >= 12 for first, last, _ in spans.window_spans(logits, tokens, units, (12, 14), 3)[0]
    )
    assert others.shape == (2, 0)


def test_the_same_answer_twice_is_one_with_the_odds_of_both():
    places = [(0, 2), (2, 3), (3, 5)]
    found = spans.best_answers("北京和北京", places, [spans.Candidate(2, 2, 2.0), spans.Candidate(0, 0, 1.0)])
    assert found == [(3, 5, np.logaddexp(1.0, 2.0))]
    assert spans.confidences([0.0, 0.0], 2.0).tolist() == [0.5, 0.5]


def test_answers_that_differ_in_the_marks_at_their_ends_are_one():
    text = "他去了“北京”。C++？"
    places = [(at, at + 1) for at in range(len(text))]
    whole, bare, dot, plus, mark = (
        spans.Candidate(first, last, odds)
        for first, last, odds in [(3, 7, 1.0), (4, 5, 2.0), (7, 7, 0.5), (8, 10, 0.4), (8, 8, 0.3)]
    )
    found = spans.best_answers(text, places, [bare, whole, dot, plus, mark])
    assert found[0] == (4, 6, np.logaddexp(2.0, 1.0))
    assert [text[each.first : each.last] for each in found] == ["北京", "。", "C++", "C"]


def test_threshold_and_temperature_are_the_best_ones():
    odds, worth, none = [5.0, 4.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0], [False, False, True, True]
    assert 1 < spans.best_threshold(odds, worth, none) < 4
    assert spans.best_threshold([1.0, 2.0], [1.0, 1.0], [False, False]) < 1
    assert spans.best_threshold([1.0, 2.0], [0.0, 0.0], [True, True]) > 2
    sure = [[10.0, 0.0]] * 10
    assert spans.best_temperature(sure, [1.0] * 9 + [0.0]) > 3 > 1 > spans.best_temperature([[1.0, 0.0]] * 9, [1.0] * 9)


def test_the_longest_answer_is_that_of_nearly_all():
    context = "王" * 300
    split = Questions([Pair("谁", context)] * 200, [["王"]] * 200, [[(0, 9)]] * 198 + [[(0, 200)]] * 2)
    assert longest_answer(split) == 9 and longest_answer(Questions([Pair("a", "b")], [[]], [[]])) == 1


def test_soft_labels_on_spans_are_finite_and_look_at_no_padding():
    torch.manual_seed(0)
    batch = {"labels": torch.tensor([[1, 2], [0, 0]]), "allowed": torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])}
    student = torch.randn(2, 4, 2, requires_grad=True)
    teacher = torch.randn(2, 4, 2)
    values, labels = span_units(student, batch)
    assert values.shape == (4, 4) and labels.tolist() == [1, 2, 0, 0] and count_labels(batch) == 4
    assert (values[2:, 2:] == NEVER).all()

    def loss_of(wanted: torch.Tensor) -> torch.Tensor:
        return distillation_loss(values, span_units(wanted, batch)[0], labels, temperature=2.0, alpha=0.7)[0]

    loss = loss_of(teacher)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(student.grad).all() and (student.grad[1, 2:] == 0).all()
    other = teacher.clone()
    other[1, 2:] += 100
    assert torch.equal(loss_of(other).detach(), loss.detach())
    assert json.dumps(loss.item())
