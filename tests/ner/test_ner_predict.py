"""Entities come back as places in the untouched text, whatever the text and however long."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ner_sentences import SPECIAL, VOCAB

from core.console import UserError
from core.model_files.facts import new_facts
from core.model_files.module import CPU, run_module
from core.text.tokenizer import Tokenizer
from core.text.units import find_units
from ner import predict
from ner.lesson import read_unlabeled
from ner.model import BertTagger
from ner.predict import NerPredictor, read_texts
from ner.tags import Entity, tags_of
from ner.units import encode, entities_in_units

LABELS = tags_of(["PER", "LOC"])
ODD = "王芳Ａ１ ABc12\u3000é\u0301🙂👨‍👩‍👧\ud83d\udc00\u200b㐀𠀀，。\t\x00"
texts = st.one_of(st.text(st.sampled_from(ODD), max_size=60), st.text(max_size=20))


def random_tagger(vocab: list[str], reads: str) -> NerPredictor:
    """A predictor in which every part matters, of windows of ten tokens."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    sizes |= {"vocab_size": len(vocab), "max_position_embeddings": 16}
    model = BertTagger(sizes, len(LABELS), reads).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    facts = new_facts("teacher", model, LABELS, Tokenizer(vocab, 10), {"seed": 1}, {}, None, "", "f1", "ner")
    return NerPredictor(facts, run_module(model, CPU))


@pytest.fixture(scope="module", params=["both", "words", "characters", "pieces"])
def anything(request: pytest.FixtureRequest) -> NerPredictor:
    """A tagger that finds entities everywhere, of whatever it reads; of a vocabulary with pieces too."""
    if request.param == "pieces":
        return random_tagger([*SPECIAL, *VOCAB[len(SPECIAL) : -3], "ab", "##c", "##b"], "characters")
    return random_tagger(VOCAB, request.param)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts)
def test_the_text_at_the_places_of_an_entity_is_the_entity(anything: NerPredictor, text: str):
    found = anything.predict([text])[0]
    end = 0
    for entity in found:
        assert text[entity["start"] : entity["end"]] == entity["text"] == entity["text"].strip() != ""
        assert end <= entity["start"] and 0 < entity["confidence"] <= 1 and entity["label"] in anything.types
        end = entity["end"]


@given(text=texts)
def test_units_are_all_that_can_be_seen_in_order(text: str):
    units = find_units(text)
    assert "".join(text[start:end] for start, end in units) == "".join(text.split())
    entities = [Entity(start, end, "PER") for start, end in units]
    assert entities_in_units(entities, units) == ([Entity(index, index + 1, "PER") for index in range(len(units))], 0)


def test_an_entity_that_ends_within_a_unit_takes_all_of_it_and_is_counted():
    units = find_units("NBA2011总决赛")
    assert entities_in_units([Entity(0, 2, "ORG")], units) == ([Entity(0, 1, "ORG")], 1)
    assert entities_in_units([Entity(0, 2, "A"), Entity(2, 7, "B")], units) == (
        [Entity(0, 1, "A"), Entity(1, 2, "B")],
        2,
    )


def test_every_unit_of_a_long_text_is_told_once_and_words_fit_their_row(anything: NerPredictor):
    rows = encode(["王芳昨天到了北京。" * 9, "", "王"], anything.tokenizer)
    told = [word for words, sentence in zip(rows.words, rows.sentences, strict=True) for word in words if not sentence]
    assert [word for word in told if word >= 0] == list(range(81)) and set(rows.sentences) == {0, 2}
    for name, column in rows.columns.items():
        assert max(map(len, column)) <= 10, name
    for ids, word_of in zip(rows.columns.get("word_ids", ()), rows.columns.get("word_of", ()), strict=True):
        assert sorted(set(word_of)) == list(range(len(ids)))


def test_company_and_padding_change_no_logit(anything: NerPredictor):
    company = ["王芳昨天到了北京", "王", "Kim喜欢Oslo，" * 5]
    rows = anything.encode(company)
    together = anything.logits(rows.columns)
    for row, logits in enumerate(together):
        alone = anything.logits({name: [values[row]] for name, values in rows.columns.items()})[0]
        assert logits.shape == alone.shape == (len(rows.columns["input_ids"][row]), len(LABELS))
        assert np.abs(logits - alone).max() < 1e-4


def test_a_text_of_a_hundred_thousand_characters():
    text = "王芳昨天到了北京。" * 11_112
    found = random_tagger(VOCAB, "words").predict([text])[0]
    assert found and found[-1]["end"] > 99_900


def test_texts_with_nothing_in_them(anything: NerPredictor):
    assert anything.predict(["", " \u3000\n"]) == [[], []] and anything.predict([""]) == [[]]


def test_so_much_text_is_encoded_at_a_time(anything: NerPredictor, monkeypatch: pytest.MonkeyPatch):
    items, taken, encode = ["王芳" * size for size in (4, 1, 2, 0, 20)], [], NerPredictor.encode
    whole = anything.predict(items)
    monkeypatch.setattr(NerPredictor, "most_characters", 10)
    monkeypatch.setattr(NerPredictor, "encode", lambda self, part: taken.append(len(part)) or encode(self, part))
    found = anything.predict(items)
    assert taken == [2, 2, 1] and anything.predict([]) == []
    assert [[each["text"] for each in own] for own in found] == [[each["text"] for each in own] for own in whole]


def test_lines_of_any_length_are_read_whole(tmp_path: Path):
    path, text = tmp_path / "long.txt", "中" * 70_000 + "北京" + "中" * 70_000
    path.write_text(f"{text}\n上海", encoding="utf-8")
    assert read_texts(path, None) == read_unlabeled(path, {}) == [text, "上海"]


def test_the_command_line(tagger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    predict.main(["--model", str(tagger), "--text", "王芳来自北京。"])
    assert "PER" in capsys.readouterr().out
    (tmp_path / "a.txt").write_text("王芳来自北京。\n\n来自。\n", encoding="utf-8")
    predict.main(["--model", str(tagger), "--file", str(tmp_path / "a.txt"), "--output", str(tmp_path / "b.jsonl")])
    rows = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["row"], row["entity"], row["label"]) for row in rows[:2]] == [(1, "王芳", "PER"), (1, "北京", "LOC")]
    assert [(row["row"], row["error"]) for row in rows[2:4]] == [(2, "empty"), (3, "")]
    (tmp_path / "a.csv").write_text("id,内容\n7,王芳来自北京。\n", encoding="utf-8")
    predict.main(["--model", str(tagger), "--file", str(tmp_path / "a.csv"), "--column", "内容"])
    assert "王芳来自北京。\n" in capsys.readouterr().out


def test_which_sheet_and_column_are_read_is_told_and_chosen(
    tagger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    book = pytest.importorskip("openpyxl").Workbook()
    for title, text in (("一月", "王芳"), ("二月", "北京")):
        sheet = book.create_sheet(title)
        for row in (["报表"], ["编号", "标题", "内容"], [7, f"{text}来自。", "来自北京。"], [], [9, text, "来自。"]):
            sheet.append(row)
    book.save(path := tmp_path / "a.xlsx")

    def tell(*args: str) -> tuple[list[tuple[int, str]], str]:
        output = tmp_path / "b.jsonl"
        predict.main(["--model", str(tagger), "--file", str(path), "--output", str(output), *args])
        rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
        return [(row["row"], row["text"]) for row in rows], capsys.readouterr().err

    rows, said = tell()
    assert dict(rows) == {1: "王芳来自。", 2: "", 3: "王芳"}  # those below the header, the blank one too
    assert "text: '标题'; another column: --column" in said and "sheet '一月' is read, not '二月': see --sheet" in said
    rows, said = tell("--sheet", "二月", "--column", "内容")
    assert dict(rows) == {1: "来自北京。", 2: "", 3: "来自。"} and "--column" not in said and "--sheet" not in said
    assert dict(tell("--sheet", "二月")[0])[3] == "北京"
    with pytest.raises(UserError, match="no sheet '三月': --sheet must be one of "):
        tell("--sheet", "三月")


def test_a_table_of_one_column_needs_no_name_and_one_of_several_does(tmp_path: Path):
    (tmp_path / "one.csv").write_text("王芳来自北京。\n", encoding="utf-8")
    assert read_texts(tmp_path / "one.csv", None) == ["王芳来自北京。"]
    (tmp_path / "two.csv").write_text("甲,乙\n1,王芳\n2,北京\n", encoding="utf-8")
    with pytest.raises(UserError, match="Its columns are '甲', '乙': name it with --column"):
        read_texts(tmp_path / "two.csv", None)


def test_numbers_are_numbers_in_a_parquet_file(tagger: Path, tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "a.txt").write_text("王芳来自北京。\n\n", encoding="utf-8")
    predict.main(["--model", str(tagger), "--file", str(tmp_path / "a.txt"), "--output", str(tmp_path / "b.parquet")])
    first, *_, last = parquet.read_table(tmp_path / "b.parquet").to_pylist()
    assert first["text"][first["start"] : first["end"]] == first["entity"] and 0 < first["confidence"] <= 1
    assert (last["row"], last["start"], last["confidence"]) == (2, None, None)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--text", " "], "nothing in it can be seen"),
        (["--text", "a", "--file", "b"], "exclude each other"),
        (["--output", "a.csv"], "--output goes with --file"),
        (["--sheet", "一月"], "--sheet goes with --file"),
        (["--file", "a.txt", "--sheet", "一月"], "--column and --sheet go with a table"),
        (["--file", "a.txt", "--column", "内容"], "--column and --sheet go with a table"),
        (["--file", "missing.txt"], "does not exist"),
        (["--text", "a", "--model", "none"], "there is no model none"),
    ],
)
def test_what_cannot_be_asked(args: list[str], says: str):
    with pytest.raises(UserError, match=says):
        predict.main(args)
