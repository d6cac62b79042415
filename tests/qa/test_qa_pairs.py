"""Answers come back as places in the untouched passage, whatever the text and however long."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qa_questions import SPECIAL, VOCAB

from core.model_files.facts import new_facts
from core.model_files.module import CPU, run_module
from core.text.pairs import CONTEXT, QUESTION, SHARED, SHARED_PAIR, encode_pairs, visible_units
from core.text.tokenizer import Tokenizer
from core.text.units import find_units
from core.text.words import NO_WORD
from qa.data import Questions, batches, span_in_units
from qa.formats import Pair
from qa.model import LABELS, BertReader
from qa.predict import QaPredictor

ODD = "王芳Ａ１ ABc12\u3000é\u0301🙂👨‍👩‍👧\ud83d\udc00\u200b㐀𠀀，。\t\x00İß"
texts = st.one_of(st.text(st.sampled_from(ODD), max_size=60), st.text(max_size=20))
PIECES = [*SPECIAL, *VOCAB[len(SPECIAL) : -4], "ab", "##c", "##b"]


def random_reader(vocab: list[str], reads: str, max_length: int = 16) -> QaPredictor:
    """A predictor in which every part matters, of small windows."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    sizes |= {"vocab_size": len(vocab), "max_position_embeddings": max_length, "type_vocab_size": 4}
    model = BertReader(sizes, reads=reads).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    tokenizer = Tokenizer(vocab, max_length)
    facts = new_facts("teacher", model, LABELS, tokenizer, {"seed": 1}, {}, None, "", "f1", "qa")
    facts["answers"] = {"longest": 7, "threshold": None}
    return QaPredictor(facts, run_module(model, CPU))


@pytest.fixture(scope="module", params=["words", "characters"])
def anything(request: pytest.FixtureRequest) -> QaPredictor:
    """A reader of words, and one of pieces."""
    return random_reader(VOCAB if request.param == "words" else PIECES, request.param)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=texts, context=texts)
def test_the_passage_at_the_places_of_an_answer_is_the_answer(anything: QaPredictor, question: str, context: str):
    found = anything.predict([Pair(question, context)])[0]
    if not visible_units(context):
        assert (found["answer"], found["start"], found["confidence"]) == ("", None, 1)
        return
    for each in found["top_k"]:
        assert context[each["start"] : each["end"]] == each["answer"] == each["answer"].strip() != ""
        assert 0 < each["confidence"] <= 1 and len(visible_units(each["answer"])) <= 7
    assert len({each["answer"] for each in found["top_k"]}) == len(found["top_k"])


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=texts, context=texts)
def test_every_unit_is_in_its_windows_and_told_in_one(anything: QaPredictor, question: str, context: str):
    words = anything.facts["architecture"]["reads"] == "words"
    rows = encode_pairs(anything.tokenizer, [question], [context], words)
    units = visible_units(context)
    assert rows.places == [units]
    told = [unit for first, last in rows.told for unit in range(first, last)]
    assert told == list(range(len(units)))
    for at, own in enumerate(rows.units):
        row = {name: column[at] for name, column in rows.columns.items()}
        here = [unit for unit in own if unit != NO_WORD]
        assert here == list(range(here[0], here[-1] + 1)) and len(own) == len(row["input_ids"])
        read = row["word_ids"] if words else row["input_ids"]
        assert len(read) == len(row["token_type_ids"]) <= 16
        assert not words or set(row["word_of"]) <= set(range(len(read)))


def test_answers_shorter_than_the_overlap_are_whole_in_the_window_that_is_asked():
    tokenizer = Tokenizer(VOCAB, 64)
    rows = encode_pairs(tokenizer, ["他来自"], ["昨" * 500], as_words=True)
    for first in range(500 - 18):
        middle = first + 9
        [row] = [at for at, (start, end) in enumerate(rows.told) if start <= middle < end]
        assert {first, first + 18} <= set(rows.units[row])


def test_labels_point_to_the_answer_in_each_window_that_has_it_and_to_nothing_elsewhere():
    tokenizer, context = Tokenizer(VOCAB, 32), "昨天到了" * 12 + "北京" + "昨天到了" * 12
    split = Questions([Pair("他来自哪里？", context), Pair("他", "昨天。")], [["北京"], []], [[(48, 50)], []])
    rows = batches(split, tokenizer, 8)
    inside = 0
    columns = (rows.columns[name] for name in ("labels", "allowed", "input_ids"))
    for labels, allowed, ids in zip(*columns, strict=True):
        assert allowed[0] == 1 and allowed[-1] == 0
        if labels[0]:
            inside += 1
            assert [tokenizer.vocab[ids[token]] for token in labels] == ["北", "京"] and all(allowed[labels])
    assert inside >= 1 and rows.columns["labels"][-1].tolist() == [0, 0] and len(rows.columns["labels"]) > 3


def test_what_is_shared_with_the_question_is_told():
    rows = encode_pairs(Tokenizer(PIECES, 32), ["王芳来？"], ["王芳的来？"])
    assert rows.columns["token_type_ids"][0] == [QUESTION] * 6 + [SHARED_PAIR] * 2 + [CONTEXT, SHARED, CONTEXT, CONTEXT]
    rows = encode_pairs(Tokenizer(VOCAB, 32), ["昨日"], ["昨天今日"], as_words=True)
    assert rows.columns["token_type_ids"][0] == [QUESTION] * 4 + [SHARED, SHARED] + [CONTEXT]


def test_a_question_longer_than_the_window_is_cut_and_the_answer_says_so(anything: QaPredictor):
    found = anything.predict([Pair("谁" * 500, "王芳来自北京。"), Pair("谁", "王芳来自北京。")])
    assert [each["truncated"] for each in found] == [True, False] and found[0]["answer"]


def test_an_answer_that_ends_within_a_unit_takes_all_of_it():
    units = find_units("NBA2011总 决赛")
    assert span_in_units((1, 5), units) == (0, 1) and span_in_units((7, 9), units) == (2, 2)
    assert span_in_units((8, 9), units) is None


def test_company_and_padding_change_no_logit(anything: QaPredictor):
    company = [Pair("谁来自", "王芳昨天到了北京"), Pair("谁", "王"), Pair("Kim喜欢", "Kim喜欢Oslo，" * 5)]
    rows = anything.encode(company)
    together = anything.logits(rows.columns)
    for row, logits in enumerate(together):
        alone = anything.logits({name: [values[row]] for name, values in rows.columns.items()})[0]
        assert logits.shape == alone.shape == (len(rows.columns["input_ids"][row]), 2)
        assert np.abs(logits - alone).max() < 1e-4


def test_a_passage_of_two_hundred_thousand_characters():
    context = "王芳昨天到了北京。" * 22_223
    found = random_reader(VOCAB, "words", 256).predict([Pair("谁到了北京", context)])[0]
    assert context[found["start"] : found["end"]] == found["answer"] != ""


def test_a_web_page_is_a_text_like_any_other(anything: QaPredictor):
    context = "<p class='x'>王芳&nbsp;来自<b>北京</b>。</p>\r\n<script>1</script>"
    found = anything.predict([Pair("谁？", context)])[0]
    assert all(context[each["start"] : each["end"]] == each["answer"] for each in found["top_k"])


def test_to_train_on_there_is_one_window_with_the_answer_and_half_of_the_others():
    tokenizer, context = Tokenizer(VOCAB, 32), "昨天到了" * 30 + "北京" + "昨天到了" * 6
    split = Questions([Pair("他来自哪里？", context)] * 4, [["北京"]] * 4, [[(120, 122)]] * 4)
    whole, taken = (batches(split, tokenizer, 8, seed).columns["labels"] for seed in (None, 1))
    with_answer, without = (sum(bool(row[0]) == has for row in whole) for has in (True, False))
    assert with_answer >= 4 and sum(bool(row[0]) for row in taken) == 4
    assert len(taken) == 4 + without // 2
    nowhere = Questions([Pair("他", context)], [[]], [[]])
    assert len(batches(nowhere, tokenizer, 8, 1).lengths) == len(batches(nowhere, tokenizer, 8).lengths)
