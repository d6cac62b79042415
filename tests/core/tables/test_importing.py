"""Tables become data folders, and corrections part of one: `utils.py import`."""

import json
import re
import shutil
from pathlib import Path

import pytest
from aspect_reviews import some_reviews
from ner_sentences import write_sentences
from openpyxl import load_workbook
from qa_questions import write_questions

import aspect_sentiment.data
import ner.data
import qa.data
import train
import utils
from config import BUNDLED_BERT
from core.console import UserError
from core.tables.split import near_key
from core.tables.write import write_table
from utils import read_data

SHEETS = Path(__file__).parent / "sheets"  # exported by LibreOffice
CLASSES = ("财经", "体育", "科技")


def rows(count: int = 60) -> list[list[str]]:
    return [[f"{CLASSES[row % 3]}的第{row}条标题", CLASSES[row % 3]] for row in range(count)]


def bring(
    tmp_path: Path, *flags: str, table: list[list[object]] | None = None, columns: tuple[str, ...] = ("标题", "类别")
):
    """Imports a table; the labels, and the rows of each part as (text, label)."""
    if table is not None:
        write_table(tmp_path / "news.csv", columns, table)
        flags = (str(tmp_path / "news.csv"), *flags)
    utils.main(["import", *flags, "--to", str(tmp_path / "data")])
    labels, splits = read_data(tmp_path / "data")
    return labels, {
        name: [(text, labels[label]) for text, label in zip(split.texts, split.labels, strict=True)]
        for name, split in splits.items()
    }


@pytest.mark.parametrize(
    ("sheet", "flags", "classes"),
    [
        ("gbk_export", [], ["体育", "科技", "财经"]),
        ("line_breaks_dates_numbers", ["--label", "评分"], ["评分1", "评分2", "评分3"]),
        ("title_row_two_sheets", [], ["体育", "科技", "财经"]),
    ],
)
def test_sheets_of_libreoffice(tmp_path: Path, sheet: str, flags: list[str], classes: list[str]):
    labels, parts = bring(tmp_path, str(SHEETS / f"{sheet}.xlsx"), *flags)
    assert labels == classes and {name: len(part) for name, part in parts.items()} == {"train": 18, "dev": 3, "test": 3}
    assert all({label for _, label in part} == set(classes) for part in parts.values())
    texts = dict(row for part in parts.values() for row in part)
    assert "火星车被困沙坑37天后成功脱险" in texts and texts.keys().isdisjoint({"标题", "新闻标题"})
    if sheet == "line_breaks_dates_numbers":
        assert texts["体操全能选拔 ：平衡木掉下两次仍居榜首"] == "评分2"
        assert texts['"中欧班列"（成都）累计开行突破三万列'] == "评分1"


@pytest.mark.parametrize("suffix", [".xlsx", ".csv", ".tsv", ".jsonl", ".parquet"])
def test_the_same_rows_from_every_format(tmp_path: Path, suffix: str):
    write_table(tmp_path / f"x{suffix}", ["类别", "标题"], [row[::-1] for row in rows()])
    _, parts = bring(tmp_path, str(tmp_path / f"x{suffix}"))
    assert sorted(row for part in parts.values() for row in part) == sorted(map(tuple, rows()))


def test_labels_are_cleaned_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    table = rows() + [["全角的标题", "ＡＩ"], ["半角的标题", "AI"], ["空格的标题", " AI\u3000"], ["小写的标题", "AI"]]
    table += [["", "体育"], ["没有类别的标题", None], [None, None], ["\u200b", ""]]
    labels, parts = bring(tmp_path, table=[*table, ["最后的标题", "体育"]])
    assert labels == ["AI", *sorted(CLASSES)] and sum(map(len, parts.values())) == 65
    out = capsys.readouterr().out
    for said in (
        "69 rows; text: '标题'; label: '类别'",
        "2 label(s) cleaned: 'ＡＩ' -> 'AI' 1",
        "2 blank row(s), skipped",
        "1 row(s) without a text, skipped",
        "1 row(s) without a label, skipped",
        "rows of each class",
        "python train.py --data-dir",
    ):
        assert said in out, said


def test_columns_are_named_joined_or_guessed(tmp_path: Path):
    table = [[text, "正文在此", label, f"{row}"] for row, (text, label) in enumerate(rows())]
    columns = ("标题", "正文", "栏目", "编号")
    _, parts = bring(tmp_path, "--text", "标题", "正文", "--label", "C", "--join", " | ", table=table, columns=columns)
    assert all(text.endswith("条标题 | 正文在此") for text, _ in parts["train"])
    (tmp_path / "more").mkdir()
    labels, _ = bring(
        tmp_path / "more", table=rows()[1:], columns=tuple(rows()[0])
    )  # no header, names that say nothing
    assert labels == sorted(CLASSES)


def test_numbers_and_days_are_labels(tmp_path: Path):
    table = [[f"第{row}条", ["1", "2", "10"][row % 3]] for row in range(30)]
    labels, parts = bring(tmp_path, table=table, columns=("text", "label"))
    assert labels == ["类1", "类2", "类10"] and ("第0条", "类1") in [row for part in parts.values() for row in part]
    (tmp_path / "ids").mkdir()
    labels, _ = bring(tmp_path / "ids", table=[[text, row % 3] for row, (text, _) in enumerate(rows())])
    assert labels == ["0", "1", "2"]  # each is its own id


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (
            [[f"第{row}条", f"类{row}的标题"] for row in range(298)],
            "298 classes in 298 rows: is '类别' the text column",
        ),
        ([["甲", "财经"], ["乙", "财经"], ["丙", "财经"]], "the only class is 财经: at least two are needed"),
        ([["", "财经"], ["乙", ""]], "no row has both a text and a label"),
        ([*rows(), *[[f"又{row}", None] for row in range(100)]], "100 of 160 rows have no label .*Of merged cells"),
        (
            [*rows(), ["第七条", "体育"], ["第七条", "财经"]],
            r"two labels for '第七条': 体育 \(.*row 62\), 财经 \(.*row 63\)",
        ),
        ([*rows(), ["独一条", "教育"]], "class '教育' has 1 different text.* and needs 3, one for each part: .*row 62"),
        ([*rows(), ["独一条", "教育"], ["独一条！", "教育"], ["独一条。", "教育"]], "class '教育' has 1 different"),
    ],
)
def test_what_cannot_be_trained_on_is_said_before_anything_is_written(tmp_path: Path, table: list, says: str):
    with pytest.raises(UserError, match=says):
        bring(tmp_path, table=table)
    assert not (tmp_path / "data").exists()


def test_columns_that_nobody_knows(tmp_path: Path):
    table = [[f"甲{row}", f"乙{row}", f"丙{row % 2}"] for row in range(9)]
    with pytest.raises(UserError, match="Its columns are 'a', 'b', 'c': name them with --text and --label"):
        bring(tmp_path, table=table, columns=("a", "b", "c"))
    with pytest.raises(UserError, match="no column '栏目'"):
        bring(tmp_path, "--label", "栏目", table=rows())


# each a label that would be a class, of four rows or more
SPANS = "".join(
    f'{{"text": "{name}到了{n}", "label": [[0, 2, "{label}"]]}}\n'
    for n in range(9)
    for name, label in (("王芳", "PER"), ("北京", "LOC"))
)
ENTITY = '{"id": 0, "label": "PER", "start_offset": 0, "end_offset": 2}'
RELATIONS = f'{{"id": 1, "text": "王芳到了", "entities": [{ENTITY}], "relations": [], "Comments": []}}\n' * 9
REGION = '{"type": "labels", "value": {"start": 0, "end": 2, "text": "王芳", "labels": ["PER"]}}'
CONLL = "".join(f"王{row}\tB-PER\n来到了\tO\n北京市\tB-LOC\n\n" for row in range(60))


@pytest.mark.parametrize("columns", [("评论", "口味", "服务"), ("标题", "口味", "服务")])
@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".jsonl"])
def test_a_table_of_aspects_names_the_command_that_reads_it(tmp_path: Path, suffix: str, columns: tuple[str, ...]):
    write_table(tmp_path / f"reviews{suffix}", columns, some_reviews(60))
    with pytest.raises(UserError, match=r"--text and --label; or, if columns of it are aspects: python -m ") as told:
        bring(tmp_path, str(tmp_path / f"reviews{suffix}"))
    module, *words = str(told.value).partition("python -m ")[2].split()
    assert module == "aspect_sentiment.data" and not (tmp_path / "data").exists()
    aspect_sentiment.data.main(words)
    made = {"train.csv", "dev.csv", "test.csv", "aspects.txt", "states.txt"}
    assert {path.name for path in (tmp_path / "data").iterdir()} == made


def test_a_table_with_one_column_of_few_values_is_no_table_of_aspects(tmp_path: Path):
    table = [[text, label, f"备注{row}"] for row, (text, label) in enumerate(rows())]
    with pytest.raises(UserError, match="--label$"):
        bring(tmp_path, table=table, columns=("标题", "栏目", "备注"))


@pytest.mark.parametrize(
    ("name", "content", "task"),
    [
        ("tagged.txt", CONLL, "ner"),
        ("tagged.txt", CONLL.replace("\t", " "), "ner"),
        ("tagged.conll", f"-DOCSTART- O\n\n{CONLL}", "ner"),
        ("spans.jsonl", None, "ner"),
        ("clue.json", '{"text": "王芳到了", "label": {"PER": {"王芳": [[0, 1]]}}}\n' * 9, "ner"),
        ("clue.jsonl", '{"text": "王芳到了", "label": {"PER": {"王芳": [[0, 1]]}}}\n' * 9, "ner"),
        (
            "doccano.jsonl",
            '{"text": "王芳到了", "label": []}\n{"text": "王芳到", "label": [[0, 2, "PER"]]}\n' * 9,
            "ner",
        ),
        ("doccano.jsonl", '{"text": "王芳到了", "labels": [[0, 1, "PER"], [1, 2, "PER"]]}\n' * 9, "ner"),
        ("doccano.jsonl", SPANS, "ner"),
        ("relations.jsonl", RELATIONS, "ner"),
        (
            "studio.json",
            f'[{{"id": 1, "annotations": [{{"result": [{REGION}]}}], "data": {{"text": "王芳到"}}}}]',
            "ner",
        ),
        ("min.json", '[\n {\n"text": "王芳到",\n"label": [{"start": 0, "end": 2, "labels": ["PER"]}]}\n]', "ner"),
        ("squad.json", None, "qa"),
        ("squad.txt", None, "qa"),
    ],
)
def test_entities_and_questions_name_the_command_that_reads_them(
    tmp_path: Path, name: str, content: str | None, task: str
):
    path, reader = tmp_path / name, {"ner": ner.data, "qa": qa.data}[task]
    if content is None:
        made = (write_sentences if task == "ner" else write_questions)(tmp_path / "made", 12)
        content = next(made.glob("train.*")).read_text(encoding="utf-8")
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="no texts with a class each: put it into ") as told:
        bring(tmp_path, str(path))
    module, *words = str(told.value).partition("and run python -m ")[2].split()
    assert module == f"{task}.data" and not (tmp_path / "data").exists()
    (tmp_path / "data").mkdir()
    for file in re.findall(r"(?:train|dev)\.\w+", str(told.value)):
        shutil.copy(path, tmp_path / "data" / file)
    reader.main([*words, "--bert-path", str(BUNDLED_BERT), "--output", str(tmp_path)])


def test_bad_rows_are_left_out_on_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    table = [*rows(), ["第七条", "体育"], ["第七条", "财经"], ["独一条", "教育"]]
    labels, parts = bring(tmp_path, "--skip-bad", table=table)
    assert labels == sorted(CLASSES) and sum(map(len, parts.values())) == 60
    assert "3 row(s) left out" in capsys.readouterr().out


def test_parts_that_were_chosen_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name, part in {
        "a": rows()[:30],
        "b": rows()[30:57],
        "dev": [*rows()[57:], ["财经的第0条，标题！", "财经"]],
    }.items():
        write_table(tmp_path / f"{name}.csv", ["标题", "类别"], part)
    files = [str(tmp_path / f"{name}.csv") for name in "ab"]
    _, parts = bring(tmp_path, *files, "--dev", str(tmp_path / "dev.csv"))
    assert len(parts["dev"]) == 4 and len(parts["test"]) == 6 and len(parts["train"]) == 50
    assert "1 row(s) of train left out: the text stands in dev or test too" in capsys.readouterr().out


def test_an_earlier_data_set_is_not_overwritten(tmp_path: Path):
    bring(tmp_path, table=rows())
    with pytest.raises(UserError, match=r"class\.txt is there already: choose another folder"):
        bring(tmp_path, table=rows())


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "--to is missing"),
        (["--to", "x"], "give the tables to import, or --add"),
        (["a.csv", "--add", "b.csv", "--to", "x"], "give the tables to import, or --add"),
        (["--add", "b.csv", "--dev", "a.csv", "--to", "x"], "--dev and --test go with an import"),
        (["none.csv", "--to", "x"], "none.csv does not exist"),
        (["news.docx", "--to", "x"], "ends in none of"),
    ],
)
def test_wrong_flags(flags: list[str], says: str):
    with pytest.raises(UserError, match=says):
        utils.main(["import", *flags])


def test_corrections_change_train_and_leave_dev_and_test_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    _, parts = bring(tmp_path, table=[*rows(), ["=1+1 等于几", "科技"]])
    data = tmp_path / "data"
    before = {name: (data / f"{name}.txt").read_bytes() for name in ("class", "dev", "test")}
    wrong, judged = parts["train"][0][0], parts["test"][0][0]
    corrections = [
        [wrong, "体育"],
        [wrong, "2"],
        ["新的标题", "体育"],
        [judged + "！", "财经"],
        ["=1+1 等于几", "体育"],
    ]
    write_table(tmp_path / "corrections.csv", ["text", "label"], corrections)
    add = ["import", "--add", str(tmp_path / "corrections.csv"), "--to", str(data)]
    capsys.readouterr()
    utils.main(add)
    out = capsys.readouterr().out
    labels, splits = read_data(data)
    after = dict(zip(splits["train"].texts, (labels[label] for label in splits["train"].labels), strict=True))
    formula = "=1+1 等于几" in dict(parts["train"])
    assert f"{1 + formula} label(s) changed, 1 text(s) added" in out
    assert "1 text(s) left out: they stand in dev or test" in out or not formula
    assert after[wrong] == labels[2] and after["新的标题"] == "体育" and judged + "！" not in after
    assert len(after) == len(parts["train"]) + 1
    assert before == {name: (data / f"{name}.txt").read_bytes() for name in before}
    again = (data / "train.txt").read_bytes()
    utils.main(add)  # a second time changes nothing
    assert (data / "train.txt").read_bytes() == again


def test_a_correction_may_name_a_number_as_the_table_did(tmp_path: Path):
    table = [[f"第{row}条", row % 10 + 1] for row in range(100)]
    labels, _ = bring(tmp_path, table=table)
    assert labels == [f"类别{number}" for number in range(1, 11)]
    write_table(tmp_path / "corrections.csv", ["text", "label"], [["又一条", 3], ["再一条", 10], ["末一条", "类别1"]])
    add = ["import", "--add", str(tmp_path / "corrections.csv"), "--to", str(tmp_path / "data")]
    utils.main(add)
    train = tmp_path / "data" / "train.txt"
    assert train.read_text(encoding="utf-8").endswith("又一条\t类别3\n再一条\t类别10\n末一条\t类别1\n")
    write_table(tmp_path / "corrections.csv", ["text", "label"], [["第三条", 0]])
    with pytest.raises(UserError, match=r"1 correction\(s\) to a class that .* does not name, .*'0'"):
        utils.main(add)
    train.write_text("甲\t2\n乙\t0\n", encoding="utf-8")  # with ids for labels, as other projects write it
    utils.main(add)
    assert train.read_text(encoding="utf-8") == "甲\t2\n乙\t0\n第三条\t类别1\n"


def test_a_correction_finds_its_title_whatever_the_punctuation(tmp_path: Path):
    _, parts = bring(
        tmp_path, table=[*rows(), ["甲队,三比一胜", "财经"], ["乙队 二比一负", "财经"], ["丙队平", "财经"]]
    )
    wrong = [text for text, _ in parts["train"] if "队" in text]
    write_table(
        tmp_path / "corrections.csv", ["text", "label"], [[text.replace(",", "，") + "。", "体育"] for text in wrong]
    )
    utils.main(["import", "--add", str(tmp_path / "corrections.csv"), "--to", str(tmp_path / "data")])
    labels, splits = read_data(tmp_path / "data")
    after = dict(zip(splits["train"].texts, (labels[label] for label in splits["train"].labels), strict=True))
    assert wrong and {after[text] for text in wrong} == {"体育"} and len(after) == len(parts["train"])


def test_a_list_of_one_label_is_a_label(tmp_path: Path):
    def write(*more: list[str]) -> None:
        table = [{"text": text, "label": [label]} for text, label in rows()]
        table += [{"text": f"又{len(each)}", "label": each} for each in more]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in table]
        (tmp_path / "doccano.jsonl").write_text("".join(lines), encoding="utf-8")

    write([])
    assert set(bring(tmp_path, str(tmp_path / "doccano.jsonl"))[0]) == set(CLASSES)
    write(["体育", "财经"])
    with pytest.raises(UserError, match="row 61 has 2 labels: a text must have one class"):
        utils.main(["import", str(tmp_path / "doccano.jsonl"), "--to", str(tmp_path / "other")])


@pytest.mark.parametrize("name", ["more.xlsx", "more.csv", "more.jsonl"])
def test_a_table_in_place_of_a_labelled_file_names_the_import_command(tmp_path: Path, name: str):
    write_table(tmp_path / name, ["标题", "类别"], rows())
    with pytest.raises(UserError, match=r"is a table; labelled files of it: python utils.py import .*more"):
        utils.read_titles(tmp_path / name, CLASSES)


def test_a_note_beside_the_table_says_where_it_is(tmp_path: Path):
    write_table(tmp_path / "news.xlsx", ["标题", "类别"], [*rows(300), ["又一条", "体育"]])
    book = load_workbook(tmp_path / "news.xlsx")
    book.active["D252"] = "待核实"
    book.save(tmp_path / "news.xlsx")
    with pytest.raises(
        UserError, match="row 252 has 4 cells, and the table 2 columns: give the columns after these a name"
    ):
        utils.main(["import", str(tmp_path / "news.xlsx"), "--to", str(tmp_path / "data")])


def test_corrections_leave_long_titles_as_they_are(tmp_path: Path):
    long = "好" * 70_000 + "中间" + "坏" * 70_000
    bring(tmp_path, table=[*rows(), [long, "体育"], [f"{long}(图)", "体育"]])  # repeats are for train
    write_table(tmp_path / "corrections.csv", ["text", "label"], [["新的标题", "体育"]])
    utils.main(["import", "--add", str(tmp_path / "corrections.csv"), "--to", str(tmp_path / "data")])
    assert long in read_data(tmp_path / "data")[1]["train"].texts


def test_a_correction_to_no_class_is_refused(tmp_path: Path):
    bring(tmp_path, table=rows())
    before = (tmp_path / "data" / "train.txt").read_bytes()
    write_table(tmp_path / "corrections.csv", ["标题", "类别"], [["甲", "体育"], ["乙", "军事"]])
    with pytest.raises(UserError, match=r"1 correction\(s\) to a class that .* does not name, .*'军事' in .*row 3"):
        utils.main(["import", "--add", str(tmp_path / "corrections.csv"), "--to", str(tmp_path / "data")])
    assert (tmp_path / "data" / "train.txt").read_bytes() == before


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_training_on_a_table_names_the_import_command(tmp_path: Path, kind: str):
    write_table(tmp_path / "train.csv", ["标题", "类别"], rows())
    given = tmp_path / "train.csv" if kind == "file" else tmp_path
    with pytest.raises(UserError, match=r"is no data folder; make one: python utils.py import .*train.csv --to "):
        train.main(["--data-dir", str(given)])


def test_a_title_and_its_variant_share_a_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    variants = [[f"{text}！", label] for text, label in rows()]
    _, parts = bring(tmp_path, table=rows() + variants)
    keys = [{near_key(text) for text, _ in part} for part in parts.values()]
    assert sum(map(len, keys)) == len(set.union(*keys)) == 60
    assert "60 row(s) repeat the text of another" in capsys.readouterr().out
