"""Files and pasted tables as the page reads them: every format, within bounds, with faults in Chinese."""

import ast
import csv
import io
import json
from datetime import datetime
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from conftest import ROOT

from core.console import UserError
from core.tables.formats import SAVE_AS, WRITTEN
from core.tables.write import write_format
from page import uploads
from page.uploads import in_chinese, read_pasted, read_upload

COLUMNS = ["编号", "标题", "日期", "类别"]
ROWS = [[1, "打球", datetime(2024, 1, 5), "体育"], [2, "新\n闻", None, None], [3, "=1+1", None, "科技"]]


def written(suffix, columns=COLUMNS, rows=ROWS):
    file = io.BytesIO()
    write_format(file, suffix, columns, rows)
    return file.getvalue()


def workbook(sheet, **others):
    """A workbook whose one sheet is some XML."""
    file = io.BytesIO(written(".xlsx", ["标题"], [["打球"]]))
    with ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts |= {"xl/worksheets/sheet1.xml": sheet, **others}
    file = io.BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file.getvalue()


def sheet_of(rows):
    start = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    return f"{start}{rows}</sheetData></worksheet>".encode()


@pytest.mark.parametrize("suffix", WRITTEN)
def test_a_table_of_every_format(suffix):
    sheet = read_upload(written(suffix), f"新闻{suffix.upper()}")
    assert sheet.columns == COLUMNS and not sheet.notes
    assert [row[1] for row in sheet.rows] == ["打球", "新\n闻", "=1+1"]
    assert [row[3] or None for row in sheet.rows] == ["体育", None, "科技"]
    assert sheet.headed is (None if suffix in (".jsonl", ".parquet") else True)
    if suffix == ".xlsx":
        assert sheet.rows == ROWS


def test_cells_that_hold_several_values_are_text():
    sheet = read_upload(b'{"title": "x", "tags": ["a", 1], "more": {"b": null}}\n', "x.jsonl")
    assert sheet.rows == [["x", '["a", 1]', '{"b": null}']]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "utf-16"])
def test_a_csv_in_each_encoding(encoding):
    sheet = read_upload('标题,类别\r\n"打球, 又",体育\r\n'.encode(encoding), "x.csv")
    assert (sheet.columns, sheet.rows) == (["标题", "类别"], [["打球, 又", "体育"]])


def test_delimiters_are_told_apart():
    titles = ['"引号"开头', "逗号, 又, 一个", "分号;", "制表\t符", "换\n行", "x" * 300_000, "=1"]
    for delimiter, name in ((",", "x.csv"), (";", "x.CSV"), ("\t", "x.tsv"), ("\t", "x.csv")):
        file = io.StringIO(newline="")
        csv.writer(file, delimiter=delimiter).writerows(
            [["编号", "标题", "类别"], *([1, each, "体育"] for each in titles)]
        )
        assert read_upload(file.getvalue().encode("gbk"), name).rows == [["1", each, "体育"] for each in titles]


def test_lines_and_lines_with_labels():
    sheet = read_upload("a\x0bb\r\nc\u2028d\n".encode(), "x.txt")
    assert (sheet.columns, sheet.rows, sheet.headed) == (["标题"], [["a\x0bb"], ["c\u2028d"]], None)
    sheet = read_upload('甲\t乙\t1\n\n"丙"\t2\n'.encode("gbk"), "x.txt")
    assert (sheet.columns, sheet.rows) == (["标题", "标签"], [["甲\t乙", "1"], ["", ""], ['"丙"', "2"]])


@pytest.mark.parametrize("read", [lambda text: read_upload(text.encode(), "x.txt"), read_pasted])
def test_lines_with_columns_are_a_table(read):
    sheet = read("编号\t标题\t类别\n1\t打球\t体育\n2\t新闻\t\n")
    assert sheet.columns == ["编号", "标题", "类别"] and [row[1] for row in sheet.rows] == ["打球", "新闻"]
    sheet = read("标题\t类别\n打球\t体育\n")
    assert (sheet.columns, sheet.rows) == (["标题", "类别"], [["打球", "体育"]])


def test_a_cell_with_a_line_break_is_pasted_as_one():
    assert read_pasted('标题\t类别\n"打\t球"\t体育\n').rows == [["打\t球", "体育"]]


def test_the_header_is_a_matter_of_opinion():
    sheet = read_upload("甲,1\n乙,1\n".encode(), "x.csv")
    assert (sheet.columns, sheet.headed, len(sheet.rows)) == (["A", "B"], False, 2)
    headed = sheet.with_header(True)
    assert (headed.columns, headed.rows) == (["甲", "1"], [["乙", "1"]])
    assert headed.with_header(False) == sheet and sheet.with_header(False) is sheet


def test_what_is_not_read_is_told():
    from openpyxl import Workbook

    book, file = Workbook(), io.BytesIO()
    book.active.append(["说明"])
    sheet = book.create_sheet("新闻")
    for row in (["2024 年"], ["标题"], ["打球"], ["=A3"]):
        sheet.append(row)
    book.save(file)
    read = read_upload(file.getvalue(), "x.xlsx")
    assert read.rows == [["打球"]]
    sheets, formulas, above = read.notes
    assert "工作表“新闻”有 1 格的公式没有算出来的值" in formulas
    assert "工作表“新闻”" in sheets and "'Sheet'" in sheets and "上面的 1 行没有读" in above


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        ('标题,类别\n"半个引号,娱乐\n夺冠,体育\n', "x.csv", "第 2 行的引号没有配对"),
        ("标题,类别\n夺冠,再夺冠,体育\n", "x.csv", "第 2 行有 3 格，表头只有 2 列"),
        ("标题\n" + "x" * 1_000_002, "x.csv", "第 2 行超过 1,000,000 个字"),
        ('[{"title": "夺冠"}]', "x.txt", "这是 JSON"),
        ('{"title": "夺冠"}\n[1]\n', "x.jsonl", "第 2 行不是 JSON 对象"),
        ('{"title": ' + "[" * 100_000 + "\n", "x.jsonl", "第 1 行不是 JSON 对象"),
        (json.dumps(dict.fromkeys(map(str, range(20_001)))), "x.jsonl", "200 列以上"),
        (json.dumps(dict.fromkeys(map(str, range(201)), "x")), "x.jsonl", "200 列以上"),
        ("a," * 300 + "\n", "x.csv", "200 列以上"),
        ("\t" * 100_000, "x.tsv", "200 列以上"),
        ("a,b\n" + '"\n",,,' * 30_000, "x.csv", "200 列以上"),
        (",".join(["标题", *"abcdefghijk"]) + "\nx" * 900, "x.csv", "超过 10,000 格"),
        ("标题\n" + ("长" * 1000 + "\n") * 101, "x.csv", "超过 100,000 个字"),
        ("x\n" * 1001, "x.txt", "超过 200,000 条"),
        ("标题\n" + "x\n" * 1001, "x.csv", "超过 200,000 条"),
        ("标题,类别\n" + "\n" * 1500 + "x,y\n", "x.csv", "超过 200,000 条"),
        (" \n\n", "x.csv", "没有标题"),
        ("标题\n", "x.csv", "除了列名，文件里没有标题"),
        ("", "x.parquet", "不是 Parquet"),
        ("PK", "x.xlsx", "不是 Excel 工作簿"),
    ],
    ids=range(20),
)
def test_what_cannot_be_used_is_told(content, name, says, monkeypatch):
    if says.startswith("超过"):  # smaller bounds are sooner reached
        monkeypatch.setattr(uploads, "MAX_ROWS", 1000)
        monkeypatch.setattr(uploads, "MAX_CELLS", 10_000)
        monkeypatch.setattr(uploads, "MAX_CHARACTERS", 100_000)
    with pytest.raises(UserError, match=says):
        read_upload(content.encode(), name)


@pytest.mark.parametrize("suffix", SAVE_AS)
def test_other_kinds_of_table_are_told_how_to_be_saved(suffix):
    with pytest.raises(UserError, match="另存为"):
        read_upload(b"x", f"x{suffix}")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xd0\xcf\x11\xe0" + bytes(600), "密码"),
        (workbook(sheet_of('<row r="1"><c r="A1"><v>1</v></c></row>')[:-40]), "文件坏了"),
        (workbook(sheet_of('<row r="1"><c r="A1"><v>1</v></c></row><row r="1999999999"><c><v>1</v></c></row>')), ""),
        (workbook(sheet_of('<row><c r="A1"><v>1</v></c></row><row><c r="HZ2"><v>1</v></c></row>')), "200 列以上"),
        (workbook(sheet_of(""), **{"xl/styles.xml": b"<xf/>" * 300_001}), "60 万格"),
        (workbook(sheet_of("<row/>" * 2_800_001)), "60 万格"),
        (workbook(sheet_of("<row>" + "<c/>" * 200_000 + "</row>")), "200 列以上"),
        (workbook(sheet_of('<row><c t="s"><v>9</v></c></row>')), "文件坏了"),
        (workbook(sheet_of(""), **{"xl/big.xml": bytes(100_000_001)}), "解开后超过 100 MB"),
    ],
    ids=range(9),
)
def test_workbooks_that_are_damaged_or_too_large(content, says):
    if says:
        with pytest.raises(UserError, match=says):
            read_upload(content, "x.xlsx")
    else:
        assert read_upload(content, "x.xlsx").rows == [[1]]


@pytest.mark.parametrize("suffix", WRITTEN)
def test_a_file_is_read_for_some_seconds_and_no_longer(suffix, monkeypatch):
    monkeypatch.setattr(uploads, "SECONDS", -1)
    with pytest.raises(UserError, match="秒还没有读完"):
        read_upload(written(suffix), f"x{suffix}")


def test_whatever_the_readers_of_tables_say_is_said_in_chinese():
    """Each fault in them has its words here, with "x" in the place of what is filled in."""
    silent = (
        "check the path",
        "no sheet",
        "ends in none",
        "has no column",
        "no data folder",
        "name it with --column",
    )  # which no upload can bring about
    for name in ("read", "workbook", "delimited", "formats", "columns"):
        path = ROOT / f"core/tables/{name}.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if path.is_file() else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "UserError":
                parts = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
                said = "1".join(map(str, parts))
                assert in_chinese(said) or any(word in said for word in silent) or said in ("", " is "), said
