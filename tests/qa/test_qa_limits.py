"""What holds for passages of any kind and data of any kind: confidence, memory, and the kinds of columns."""

from pathlib import Path

import numpy as np
import pytest
from conftest import press_ctrl_c
from qa_questions import VOCAB, flags, write_questions, write_squad
from test_qa_pairs import random_reader

from core.answers import text_fault
from core.console import UserError
from core.model_files import checkpoint
from core.text.pairs import CROWD, encode_pairs
from core.text.tokenizer import Tokenizer
from qa import data, predict, spans, train
from qa.data import Questions
from qa.fitting import fit_on
from qa.formats import Pair
from qa.predict import QaPredictor

DISTINCT = "".join(map(chr, range(0x4E00, 0x4E00 + 400)))


def test_a_run_that_was_stopped_where_some_questions_have_no_answer_goes_on(
    qa_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = write_questions(tmp_path / "data", 30, null_share=0.4)
    args = [*flags(folder, tmp_path), "--bert-path", str(qa_bert), "--num-epochs", "5"]
    with monkeypatch.context() as patch, pytest.raises(UserError, match="--resume"):
        press_ctrl_c(patch, at=9)
        train.main(args)
    train.main([*args, "--resume"])
    assert checkpoint.load(tmp_path / "save/bert_qa.pt")[1]["answers"]["threshold"] is not None


@pytest.mark.parametrize("temperature", [0.7, 3.0])
def test_a_confidence_is_the_share_of_all_stretches(temperature: float, monkeypatch: pytest.MonkeyPatch):
    """However many of them are looked at further; those that are not are counted by their odds, which is coarse."""
    reader, pair = random_reader(VOCAB, "words", 32), Pair("谁", DISTINCT)
    reader.temperature = temperature
    split = Questions([pair, Pair("谁", "王芳来自北京")], [[DISTINCT[:2]], ["北京"]], [[(0, 2)], [(4, 6)]])
    some, fitted = reader.predict([pair])[0]["top_k"], fit_on(reader, split, False)
    monkeypatch.setattr(spans, "BEST", 10**6)
    for one, other in zip(some, reader.predict([pair])[0]["top_k"], strict=True):
        assert one["start"] == other["start"] and one["confidence"] == pytest.approx(other["confidence"], rel=0.05)
    assert fitted.temperature == pytest.approx(fit_on(reader, split, False).temperature, rel=0.01)


@pytest.mark.parametrize("unseen", ["\u200b", "\u00ad", "\ue000", "\u0301", "\ufffd", "a" * 24, "\ud83d"])
@pytest.mark.parametrize("side", [0, 1])
def test_no_row_grows_with_what_the_tokenizer_does_not_see(unseen: str, side: int):
    pair = ["谁", "王芳来自北京"]
    pair[side] = "王" + unseen * 5000 + "芳"
    rows = encode_pairs(Tokenizer(VOCAB, 32), *([text] for text in pair), as_words=True)
    assert max(map(len, rows.columns["input_ids"])) <= 32 * CROWD and max(map(len, rows.columns["word_ids"])) <= 32
    assert [unit for first, last in rows.told for unit in range(first, last)] == list(range(len(rows.places[0])))
    for start, end in rows.places[0]:
        assert not text_fault(pair[1][start:end])


def test_so_much_text_is_encoded_at_a_time(monkeypatch: pytest.MonkeyPatch):
    reader, taken = random_reader(VOCAB, "words", 64), []
    items = [Pair("谁", "王芳" * size) for size in (40, 10, 20, 5, 200)]
    whole, encode = reader.predict(items), QaPredictor.encode
    monkeypatch.setattr(QaPredictor, "most_characters", 100)
    monkeypatch.setattr(QaPredictor, "encode", lambda self, part: taken.append(len(part)) or encode(self, part))
    assert [each["answer"] for each in reader.predict(items)] == [each["answer"] for each in whole]
    assert taken == [2, 2, 1]
    split = Questions(items, [["王芳"]] * 5, [[(0, 2)]] * 5)
    fit_on(reader, split, True)
    assert taken == [2, 2, 1] * 2 and reader.predict([]) == []


def test_what_is_fitted_is_computed_in_batches_of_the_predictor_s_size():
    reader, taken = random_reader(VOCAB, "words", 64), []
    run, reader.batch_size = reader.run, 2
    reader.run = lambda arrays: taken.append(len(arrays["input_ids"])) or run(arrays)
    fit_on(reader, Questions([Pair("谁", "王芳" * 99)] * 3, [["王芳"]] * 3, [[(0, 2)]] * 3), False)
    assert len(taken) > 3 and max(taken) == 2


def test_data_without_an_answer_that_is_found_is_refused(questions: Path, tmp_path: Path):
    asked = {"id": "1", "question": "谁？", "answers": [{"text": "没有", "answer_start": 0}]}
    for name in ("train", "dev"):
        for other in ("train", "dev"):
            (tmp_path / f"{other}.json").write_bytes((questions / f"{other}.json").read_bytes())
        path = write_squad(tmp_path / f"{name}.json", [{"context": "王芳来自北京。", "qas": [asked]}])
        with pytest.raises(UserError, match=f"{path.name} has no answer that its passage has"):
            data.read_data(tmp_path)
    none = {**asked, "answers": [], "is_impossible": True}
    write_squad(tmp_path / "dev.json", [{"context": "王芳来自北京。", "qas": [none]}])
    assert data.read_data(tmp_path)["dev"].has_null
    with pytest.raises(UserError, match="--max-length is 3: it must be 16 or more"):
        data.main(["check", str(questions), "--max-length", "3"])


def test_numbers_are_numbers_in_a_parquet_file(reader: Path, tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "a.csv").write_text("问题,原文\n他来自哪里？,王芳来自北京。\n,王芳\n", encoding="utf-8")
    predict.main(["--model", str(reader), "--file", str(tmp_path / "a.csv"), "--output", str(tmp_path / "b.parquet")])
    first, second = parquet.read_table(tmp_path / "b.parquet").to_pylist()
    assert first["row"] == 1 and "王芳来自北京。"[first["start"] : first["end"]] == first["answer"]
    assert 0 < first["confidence"] <= 1 and (second["start"], second["confidence"]) == (None, None)


def test_odds_that_are_only_counted():
    values, counts = spans.counted(np.array([1.0, 1.01, -3.0]))
    assert values == pytest.approx([1, -3]) and counts.tolist() == [2, 1]
    assert spans.counted(np.array([1e30, -1e30])).tolist() == [[1e30], [1]]


def test_an_answer_of_several_lines_is_shown_on_one(capsys: pytest.CaptureFixture[str]):
    answer = {"answer": "甲\n乙", "start": 0, "end": 3, "confidence": 0.5, "truncated": False}
    predict.show([Pair("谁？", "甲\n乙")], [{**answer, "top_k": [answer]}], 1)
    assert capsys.readouterr().out.splitlines() == ["谁？", "      0–3     0.5000  甲 乙"]
