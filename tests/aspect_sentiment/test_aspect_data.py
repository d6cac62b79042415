"""Tables of reviews as people have them: read, told what is odd, or refused in one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
from aspect_reviews import ASPECTS, STATES, VOCAB, some_reviews, write_reviews, write_table

from aspect_sentiment import importing, pseudo_labels
from aspect_sentiment.columns import MOST_ASPECTS, read_list
from aspect_sentiment.data import batches, main, read, read_data
from aspect_sentiment.lesson import read_unlabeled
from aspect_sentiment.tables import read_reviews
from aspect_sentiment.texts import ReviewTokenizer, clean, encode
from core.console import UserError
from core.training.units import IGNORED


def test_columns_and_states_come_from_the_file(tmp_path: Path):
    rows = [[str(i), "5", *row] for i, row in enumerate(some_reviews(8))]
    rows[2][3] = ""
    found = read(write_table(tmp_path / "a.csv", rows, ("id", "star", "review", *ASPECTS)))
    assert (found.aspects, found.labels) == (ASPECTS, STATES) and found.states[2, 0] == IGNORED
    assert any("1 empty cell(s), left out of training" in warning for warning in found.warnings)


def test_numbers_of_asap_are_known_by_name_and_states_txt_names_others(tmp_path: Path):
    path = write_table(tmp_path / "a.csv", [["好吃", "1", "-2"], ["难吃", "-1", "0"], ["吃了", "0", "-2"]])
    assert read(path).labels == ["未提及", "负面", "中性", "正面"]
    assert read(path).states.tolist() == [[3, 0], [1, 2], [2, 0]]
    (tmp_path / "states.txt").write_text("-2\t无\n-1\t差评\n0\t一般\n1\t好评\n", encoding="utf-8")
    assert read(path).labels == ["无", "差评", "一般", "好评"] and read(path).states[0].tolist() == [3, 0]


def test_aspects_txt_chooses_and_orders_the_columns(tmp_path: Path):
    path = write_table(tmp_path / "a.csv", [["好吃", "1", "-2", "1"]] * 2, ("text", "口味", "服务", "总体"))
    (tmp_path / "aspects.txt").write_text("服务\n口味\n", encoding="utf-8")
    assert read(path).aspects == ["服务", "口味"]
    assert read(path).of(["口味", "服务"]).states.tolist() == [[1, 0]] * 2
    with pytest.raises(UserError, match=r"other aspects than the model \(it lacks 环境; it adds 服务, 口味\)"):
        read(path).of(["环境"])
    (tmp_path / "aspects.txt").write_text("价格\n", encoding="utf-8")
    with pytest.raises(UserError, match="has no column for the aspect.s. 价格"):
        read(path)


@pytest.mark.parametrize(
    ("header", "rows", "words"),
    [
        (("评论", "口味", "口味"), [["好", "正面", "负面"]], "two columns named '口味'"),
        (("标号", "口味"), [["x", "正面"]], "which column holds the reviews"),
        (
            ("评论", "口味"),
            [["好", "1"], ["坏", "-2"], ["坏", "7"]],
            r"1 cell\(s\) with an unknown state; .*\n  row 4, 口味: '7'",
        ),
        (("评论", "口味"), [["好", "正面"], ["坏", "正面"]], "hold 1 different states"),
        (("评论", "口味"), [[" ", "正面"], ["\u200b", "负面"]], "has no review in column '评论'"),
        (("评论", "备注"), [[f"好{i}", f"话{i}"] for i in range(9)], "none of its columns .*'备注' holds"),
        (("评论", *map(str, range(MOST_ASPECTS + 1))), [["好", *["正面"] * (MOST_ASPECTS + 1)]], "has 61 column"),
    ],
)
def test_what_cannot_be_read_is_refused(header: tuple[str, ...], rows: list[list[str]], words: str, tmp_path: Path):
    with pytest.raises(UserError, match=words):
        read(write_table(tmp_path / "a.csv", rows, header))


def test_dev_must_have_the_aspects_and_states_of_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = write_reviews(tmp_path / "data", 12)
    write_table(folder / "dev.csv", [["好", "正面", "很好"]])
    with pytest.raises(UserError, match=r"dev.csv has 1 cell\(s\) with an unknown state; known are 未提及, 负面, 正面"):
        read_data(folder)
    write_table(folder / "dev.csv", [["好", "正面"]], ("评论", "口味"))
    with pytest.raises(UserError, match="dev.csv has no column for the aspect.s. 服务"):
        read_data(folder)
    write_table(folder / "train.csv", [[text, taste, "正面"] for text, taste, _ in some_reviews(12)])
    write_reviews(tmp_path / "other", 12)
    (tmp_path / "other/dev.csv").replace(folder / "dev.csv")
    capsys.readouterr()
    read_data(folder)
    assert "服务 has 正面 alone: the model will always say so" in capsys.readouterr().out
    (folder / "dev.csv").unlink()
    with pytest.raises(UserError, match="has no dev.csv"):
        read_data(folder)


def test_line_breaks_of_all_kinds_and_quotes_are_one_text(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_bytes('评论,口味\r\n"第一行\r第二行\n""很好""\\\\n完",正面\r\n坏\\n了,负面\r\n'.encode())
    found = read(path)
    assert [clean(text) for text in found.items] == ['第一行 第二行 "很好" 完', "坏 了"]
    assert clean("a\\name") == "a\\name"


def test_long_reviews_are_windows_and_no_token_is_lost(tmp_path: Path):
    tokenizer = ReviewTokenizer(VOCAB, 16)
    texts = ["菜很香，" * 30, "菜", "\U0001f600\U0001f600", "菜太咸。" * 25_000]
    rows = encode(texts, tokenizer)
    assert max(map(len, rows.input_ids)) <= 16 and set(rows.reviews) == {0, 1, 2, 3}
    assert sum(len(ids) - 2 for ids, review in zip(rows.input_ids, rows.reviews, strict=True) if review == 3) == 100_000
    cut = encode(texts, ReviewTokenizer(VOCAB, 16, "head_tail"))
    assert cut.reviews == [0, 1, 2, 3] and cut.input_ids[0][1:4] == rows.input_ids[0][1:4]
    path = write_table(tmp_path / "a.csv", [[texts[0], "正面", "负面"], [texts[1], "负面", "正面"]])
    made = batches(read(path), tokenizer, 64)
    [batch] = made.epoch()
    assert batch["labels"].shape == (len(made.lengths), 2) and len(made.lengths) == rows.reviews.count(0) + 1


def test_traditional_characters_are_read_as_simplified_ones():
    pytest.importorskip("opencc")
    one, other = (encode([text], ReviewTokenizer(VOCAB, 16, convert=True)) for text in ("人熱情", "人热情"))
    assert one == other and VOCAB.index("[UNK]") not in one.input_ids[0]


def test_the_check_tells_shares_lengths_and_leaks(tmp_path: Path, bert: Path, capsys: pytest.CaptureFixture[str]):
    folder = write_reviews(tmp_path / "data", 30)
    rows = [[f"{text}！", *states] for text, *states in some_reviews(1, 0)]
    write_table(folder / "dev.csv", rows + some_reviews(5, 9))
    main(["check", str(folder), "--bert-path", str(bert), "--output", str(tmp_path)])
    report = (tmp_path / "aspect_check/report.txt").read_text(encoding="utf-8")
    assert report in capsys.readouterr().out and "reviews both in train and dev: 1" in report
    column = read(folder / "train.csv").states[:, 0]
    assert "".join(f"{share:10.1%}" for share in np.bincount(column, minlength=3) / 30) + "      0  口味" in report


def test_labels_of_any_model_are_added_where_it_is_sure(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = write_reviews(tmp_path / "data", 12)
    known = read(folder / "dev.csv").items[0]
    lines = [
        {"text": "菜很香啊", "aspects": [{"aspect": "口味", "state": "正面"}, {"aspect": "服务", "state": "负面"}]},
        {"text": "菜很香啊", "aspects": [{"aspect": "服务", "state": "正面", "confidence": 0.95}]},
        {"text": "人冷淡啊", "aspects": [{"aspect": "服务", "state": "负面", "confidence": 0.5}]},
        {"text": known, "aspects": [{"aspect": "服务", "state": "负面"}]},
        {"text": "随便", "aspects": [{"aspect": "停车", "state": "正面"}, {"aspect": "口味", "state": "极好"}]},
        {"text": " ", "aspects": []},
    ]
    made = tmp_path / "made.jsonl"
    made.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    args = ["--labels", str(made), "--data-dir", str(folder), "--to", str(tmp_path / "more")]
    pseudo_labels.main(args)
    told = capsys.readouterr().out
    for words in (
        "1 state(s) that the files disagree on",
        "1 state(s) less sure than 0.9",
        "1 review(s) that stand in",
    ):
        assert words in told
    assert "2 aspect(s) or state(s) that the data do not have" in told and "added 1 reviews with 1 states to 12" in told
    more = read_data(tmp_path / "more")["train"]
    assert len(more) == 13 and more.states[-1].tolist() == [STATES.index("正面"), IGNORED]
    made.write_text('{"text": "好", "aspects": [{"aspect": "口味"}]}', encoding="utf-8")
    with pytest.raises(UserError, match=r"made.jsonl line 1 is not as it should be"):
        pseudo_labels.main(args)
    made.write_text('{"text": "好"}', encoding="utf-8")
    with pytest.raises(UserError, match="lacks aspects"):
        pseudo_labels.main(args)


SURE = [{"aspect": "口味", "state": "正面", "confidence": 0.95}]


def add_labels(folder: Path, lines: list[dict]) -> list[str]:
    """The reviews that are added to a folder of 12."""
    made = folder / "made.jsonl"
    made.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    write_reviews(folder / "data", 12)
    pseudo_labels.main(["--labels", str(made), "--data-dir", str(folder / "data"), "--to", str(folder / "more")])
    return read(folder / "more/train.csv").items[12:]


def test_near_copies_of_labelled_reviews_are_not_learned_from(tmp_path: Path):
    known = read(write_reviews(tmp_path / "data", 12) / "test.csv").items[0]
    copies = [known + "！", known.replace("，", " "), f"{known}(顶)", known.replace("，", "\\n")]
    texts = [*copies, "\\n", " ", "菜很香啊"]
    assert add_labels(tmp_path, [{"text": text, "aspects": SURE} for text in texts]) == ["菜很香啊"]
    source = write_table(tmp_path / "more.csv", [[text] for text in [*texts, "菜很香啊！"]], ("评论",))
    assert read_unlabeled(source, read_data(tmp_path / "data")) == ["菜很香啊"]


@pytest.mark.parametrize("sure", [float("nan"), float("inf"), 95, -0.1, True, "0.9", None])
def test_a_confidence_is_a_number_from_0_to_1(sure: object, tmp_path: Path):
    with pytest.raises(UserError, match=r"made.jsonl line 1 is not as it should be.*from 0 to 1"):
        add_labels(tmp_path, [{"text": "菜很香啊", "aspects": [{**SURE[0], "confidence": sure}]}])


@pytest.mark.parametrize(("state", "agree"), [("负面", False), ("极好", False), ("正面", True)])
def test_the_unsure_and_the_unknown_may_disagree_too(state: str, agree: bool, tmp_path: Path):
    other = [{"aspect": "口味", "state": state, "confidence": 0.5}]
    lines = [("菜很香啊", SURE), ("菜很香啊", other), ("人热情啊", SURE)]
    found = add_labels(tmp_path, [{"text": text, "aspects": own} for text, own in lines])
    assert found == ["菜很香啊"] * agree + ["人热情啊"]


def test_a_sheet_of_reviews_can_be_chosen(tmp_path: Path):
    book = pytest.importorskip("openpyxl").Workbook()
    for title, text in (("一月", "菜很香"), ("二月", "人热情")):
        sheet = book.create_sheet(title)
        sheet.append(["评论"])
        sheet.append([text])
    book.save(tmp_path / "a.xlsx")
    assert [read_reviews(tmp_path / "a.xlsx", None, sheet)[1] for sheet in (None, "二月")] == [
        [["菜很香"]],
        [["人热情"]],
    ]
    (tmp_path / "a.txt").write_text("菜很香", encoding="utf-8")
    with pytest.raises(UserError, match="--column and --sheet go with a table"):
        read_reviews(tmp_path / "a.txt", None, "一月")


def test_lines_of_any_length_are_read_whole(tmp_path: Path):
    path, text = tmp_path / "long.txt", "好" * 70_000 + "就是人冷淡" + "好" * 70_000
    path.write_text(f"{text}\n菜很香", encoding="utf-8")
    assert read_reviews(path, None)[1] == [[text], ["菜很香"]]
    assert read_unlabeled(path, {}) == [text, "菜很香"]


def test_copies_of_one_review_are_too_few_to_share_out(tmp_path: Path):
    copies = [["菜很香" + ("\\n", "\n", "！")[index % 3] + "好", "正面", "负面"] for index in range(12)]
    with pytest.raises(UserError, match="1 different reviews are too few"):
        main(["import", str(write_table(tmp_path / "few.csv", copies)), "--to", str(tmp_path / "made")])


def test_a_table_becomes_a_data_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [[f"{text}{index}", *states] for index, (text, *states) in enumerate(some_reviews(60))]
    rows[7][0] = rows[3][0] + "！"
    source = write_table(tmp_path / "reviews.csv", rows, ("content", *ASPECTS))
    main(["import", str(source), "--to", str(tmp_path / "made")])
    splits = read_data(tmp_path / "made")
    assert [len(split) for split in splits.values()] == pytest.approx([48, 6, 6], abs=1)
    texts = {name: set(split.items) for name, split in splits.items()}
    assert sum(map(len, texts.values())) == 60 and sum({rows[3][0], rows[7][0]} <= own for own in texts.values()) == 1
    for split in splits.values():
        assert {tuple(np.unique(column)) for column in split.states.T} == {(0, 1, 2)}
    with pytest.raises(UserError, match="is there already"):
        main(["import", str(source), "--to", str(tmp_path / "made")])
    with pytest.raises(UserError, match="too few to share out"):
        main(["import", str(write_table(tmp_path / "few.csv", rows[:5])), "--to", str(tmp_path / "other")])


def imported(folder: Path, rows: list[list[str]], header: tuple[str, ...]) -> list[str]:
    """What a table becomes, and what its folder is read as: the aspects."""
    source = write_table(folder / "reviews.csv", rows, header)
    main(["import", str(source), "--to", str(folder / "made")])
    splits = read_data(folder / "made")
    assert len({(*split.aspects, *split.labels) for split in splits.values()}) == 1
    return splits["train"].aspects


def test_what_is_said_once_is_lost_in_no_part(tmp_path: Path):
    """An aspect, and a state, that one review alone has, and that dev or test get."""
    rare = tuple(f"少见{number}" for number in range(30))
    rows = [[f"{text}{row}", *states, *[""] * 30] for row, (text, *states) in enumerate(some_reviews(60))]
    for number in range(30):
        rows[2 * number][3 + number] = "正面" if number else "中性"
    assert imported(tmp_path, rows, ("content", *ASPECTS, *rare)) == [*ASPECTS, *rare]
    assert read_list(tmp_path / "made/states.txt") == ["-2\t未提及", "-1\t负面", "0\t中性", "1\t正面"]


def test_an_import_where_the_table_lies_and_where_something_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [[f"{text}{row}", *states, "正面"] for row, (text, *states) in enumerate(some_reviews(60))]
    source = write_table(tmp_path / "reviews.csv", rows, ("content", *ASPECTS, "总体"))
    (tmp_path / "aspects.txt").write_text("服务\n口味\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    main(["import", str(source), "--to", "."])
    assert read_data(tmp_path)["train"].aspects == ["服务", "口味"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other/states.txt").write_text("好\n坏\n", encoding="utf-8")
    with pytest.raises(UserError, match="states.txt is there already: choose another folder"):
        main(["import", str(source), "--to", "other"])


def test_half_an_import_is_read_by_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = importing.write_table

    def write(path: Path, *table: object) -> None:
        if len(list(path.parent.glob("*.csv"))) == 2:
            raise KeyboardInterrupt
        real(path, *table)

    monkeypatch.setattr(importing, "write_table", write)
    rows = [[f"{text}{row}", *states] for row, (text, *states) in enumerate(some_reviews(60))]
    with pytest.raises(KeyboardInterrupt):
        imported(tmp_path, rows, ("content", *ASPECTS))
    with pytest.raises(UserError, match="has no train.csv"):
        read_data(tmp_path / "made")
