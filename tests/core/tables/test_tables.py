"""Tables of every format, encoding and fault: read, and written."""

import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from core.console import UserError
from core.tables.answers import open_source
from core.tables.columns import LABEL_NAMES, TEXT_NAMES, choose_columns, letter, name_columns
from core.tables.parts import Wanted, read_parts
from core.tables.places import list_inputs
from core.tables.read import open_table
from core.tables.write import write_format, write_table

COLUMNS = ["编号", "标题", "类别", "日期"]
ROWS = [
    ["001", "央行下调存款准备金率", "财经", "2024-01-05"],
    ["002", '主队"加时"绝杀，\n时隔六年夺冠', "体育", None],
    [None, None, None, None],
    ["004", "=1+1 等于几，a,b;c\td", "教育", "x"],
]


def read(source: Any, name: str | None = None, **options: Any) -> tuple[list[str], list[list[Any]], list[str]]:
    with open_table(source, name, **options) as table:
        return table.columns, list(table.rows), table.warnings


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".xlsx", ".jsonl", ".parquet"])
def test_a_table_is_read_as_it_was_written(tmp_path: Path, suffix: str):
    path = tmp_path / f"news{suffix}"
    write_table(path, COLUMNS, [*ROWS, [None] * 4] if suffix != ".parquet" else ROWS)
    columns, rows, warnings = read(path)
    assert columns == COLUMNS and warnings == []
    assert [[cell or None for cell in row] for row in rows] == ROWS


def test_json_lines_hold_no_number_that_json_has_not(tmp_path: Path):
    def refuse(name: str) -> None:
        raise AssertionError(name)

    odd = [float("nan"), float("inf"), -float("inf")]
    write_table(path := tmp_path / "x.jsonl", ["a", "b", "c", "d"], [[*odd, {"e": odd, "f": 1.5}]])
    line = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert line == {"a": None, "b": None, "c": None, "d": {"e": [None] * 3, "f": 1.5}}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".xlsx", ".jsonl", ".parquet"])
def test_half_a_surrogate_pair_stops_no_file(tmp_path: Path, suffix: str):
    path = tmp_path / f"news{suffix}"
    write_table(path, ["标题", "类别"], [["央行\ud83d", "财经"]])
    [[title, label]] = read(path)[1]
    assert title.startswith("央行") and len(title) == 3 and label == "财经"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".jsonl"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_encoding_is_read(tmp_path: Path, encoding: str, suffix: str, newline: str):
    lines = {
        ".csv": ["标题,类别", '"央行降息, 利率下调","财经"', "主队夺冠,体育"],
        ".tsv": ["标题\t类别", "央行降息, 利率下调\t财经", "主队夺冠\t体育"],
        ".jsonl": ['{"标题": "央行降息, 利率下调", "类别": "财经"}', '{"标题": "主队夺冠", "类别": "体育"}'],
    }
    path = tmp_path / f"news{suffix}"
    content = newline.join([*lines[".tsv" if suffix == ".txt" else suffix], ""])
    path.write_bytes(content.encode(encoding))
    columns, rows, warnings = read(path)
    assert columns == ["标题", "类别"] and warnings == []
    assert rows == [["央行降息, 利率下调", "财经"], ["主队夺冠", "体育"]]


def test_a_sheet_keeps_numbers_and_days(tmp_path: Path):
    row = ["标题", 3, 0.25, datetime(2024, 1, 5), True, 12345678901234567890]
    write_table(tmp_path / "news.xlsx", list("abcdef"), [row])
    assert read(tmp_path / "news.xlsx", wanted=["a"])[1] == [[*row[:5], "12345678901234567890"]]


def test_types_of_a_parquet_file_stay(tmp_path: Path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    given = pyarrow.table(
        {"标题": ["甲", None], "次数": [1, None], "日": [datetime(2024, 1, 5), None], "组": [[1], []]}
    )
    parquet.write_table(given, tmp_path / "in.parquet")
    with open_table(tmp_path / "in.parquet") as table:
        write_table(
            tmp_path / "out.parquet", [*table.columns, "类别"], ([*row, "财经"] for row in table.rows), table.schema
        )
    written = parquet.read_table(tmp_path / "out.parquet")
    assert written.drop_columns("类别").equals(given) and written["类别"].to_pylist() == ["财经", "财经"]


def test_columns_of_a_parquet_file_that_share_a_name_are_all_read(tmp_path: Path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    cells = [["央行"], ["财经"], [7]]
    parquet.write_table(pyarrow.table([*map(pyarrow.array, cells)], ["标题", "标题", "n"]), tmp_path / "a.parquet")
    with open_table(tmp_path / "a.parquet") as table:
        assert table.columns == table.schema.names == ["标题", "标题_2", "n"]
        assert list(table.rows) == [["央行", "财经", 7]]


@pytest.mark.parametrize("fault", ["end", "middle", "overflow"])
def test_damage_of_a_parquet_file_is_told_by_its_name(tmp_path: Path, fault: str):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "news.parquet"
    days = pyarrow.array([10**15 if fault == "overflow" else 0] * 5000, pyarrow.timestamp("s"))
    parquet.write_table(pyarrow.table({"标题": [f"第{n}条" for n in range(5000)], "日": days}), path)
    content = path.read_bytes()
    if fault != "overflow":
        path.write_bytes(content[:200] if fault == "end" else content[:200] + b"\xff" * 3000 + content[3200:])
    with pytest.raises(UserError, match="news.parquet is no Parquet file, or damaged .*: write it again"):
        read(path)


def test_kinds_are_those_of_numbers_in_a_parquet_file(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [["甲", 1, 0.5, 2], ["乙", None, None, None]]
    write_table(tmp_path / "a.parquet", list("abcd"), rows, kinds={"b": int, "c": float})
    assert parquet.read_table(tmp_path / "a.parquet").to_pylist()[0] == {"a": "甲", "b": 1, "c": 0.5, "d": "2"}


def test_many_columns_of_one_name():
    assert name_columns(["a", "a", "a_2", " ", "a", "E"], 6) == ["a", "a_2", "a_2_2", "D", "a_3", "E"]
    assert len(set(name_columns(["a"] * 20_000, 20_000))) == 20_000


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".xlsx"])
def test_nothing_written_for_a_spreadsheet_runs(suffix: str):
    cells = ["=1+1", " =1+1", "\t+1", "\r@x", "＝1+1", "- 5"]
    file = io.BytesIO()
    write_format(file, suffix, ["=标题"], [[cell] for cell in cells])
    file.seek(0)
    if suffix == ".xlsx":
        from openpyxl import load_workbook

        written = [row[0] for row in load_workbook(file).active.iter_rows()]
        assert {cell.data_type for cell in written} == {"s"}
        written = [cell.value for cell in written]
        cells = [cell.replace("\r", "\n") for cell in cells]  # the line end that XML knows
    else:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        written = [row[0] for row in csv.reader(text, delimiter="," if suffix == ".csv" else "\t")]
    assert written == ["'=标题", *(f"'{cell}" for cell in cells)]


@pytest.mark.parametrize(
    ("content", "columns", "first"),
    [
        ("news,kind\n甲,财经\n乙,财经\n丙,体育\n", ["news", "kind"], "甲"),
        ("甲,财经\n乙,财经\n丙,体育\n", ["A", "B"], "甲"),
        ("甲,财经\n乙,评论\n丙,财经\n丁,评论\n", ["A", "B"], "甲"),  # a class that is called like a column
        ("甲\n乙\n", ["A"], "甲"),
        ("标题\n甲\n乙\n", ["标题"], "甲"),
        ("2024 年汇总,\n,\n标题,类别\n甲,财经\n", ["标题", "类别"], "甲"),
        ("标题;类别\n甲,乙;财经\n", ["标题", "类别"], "甲,乙"),
        ("标题,,标题\n甲,1,2\n", ["标题", "B", "标题_2"], "甲"),
        (" Title \t Label\n甲\t财经\n", ["Title", "Label"], "甲"),
        ("类别,编号\n甲,1\n", ["类别", "编号"], "甲"),
    ],
)
def test_the_header_is_found(content: str, columns: list[str], first: str):
    found, rows, _ = read(io.BytesIO(content.encode()), "x.tsv" if "\t" in content else "x.csv")
    assert found == columns and rows[0][0] == first


def test_quotes_of_a_csv_that_do_not_fit_within_a_line_cost_no_row():
    content = '标题,类别\n"甲说："好"，真的",体育\n"第一行\n第二行",财经\n乙"丙,财经\n'
    assert [row[1] for row in read(io.BytesIO(content.encode()), "x.csv")[1]] == ["体育", "财经", "财经"]


def test_quotes_of_a_tsv_that_do_not_fit_are_characters():
    lines = '标题\t类别\n"新四军"老战士\t时政\n"没有下文\t财经\n甲"乙\t体育\n'
    assert read(io.BytesIO(lines.encode()), "x.tsv")[1] == [
        ['"新四军"老战士', "时政"],
        ['"没有下文', "财经"],
        ['甲"乙', "体育"],
    ]


@pytest.mark.parametrize("kind", ["visible names", "no names", "hidden"])
def test_the_sheet_with_the_titles_is_taken(tmp_path: Path, kind: str):
    from openpyxl import Workbook

    book = Workbook()
    book.active.append(["说明", "这一页不是数据"])
    other = book.create_sheet("数据")
    other.append(["标题", "类别"] if kind != "no names" else ["n", "k"])
    other.append(["甲", "财经"])
    book.create_sheet("空")
    if kind == "hidden":
        other.sheet_state = "hidden"
    book.save(tmp_path / "news.xlsx")
    _, rows, warnings = read(tmp_path / "news.xlsx")
    assert (rows[-1] == ["甲", "财经"]) == (kind == "visible names")
    assert any("--sheet" in warning for warning in warnings) == (kind != "hidden")
    if kind == "no names":
        assert read(tmp_path / "news.xlsx", sheet="数据")[1] == [["甲", "财经"]]
        with pytest.raises(UserError, match="no sheet '别的': --sheet must be one of 'Sheet', '数据', '空'"):
            read(tmp_path / "news.xlsx", sheet="别的")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.csv", "", "holds no row"),
        ("x.csv", "\n,\n", "holds no row"),
        ("x.csv", "标题,类别\n甲,财经\n乙,丙,体育\n", r"row 3 has 3 cells, and the table 2 columns: .*quotes"),
        ("x.csv", '标题,类别\n甲,财经\n"乙,体育\n丙,财经\n', "line 3 opens a quote that is never closed"),
        ("x.csv", '标题,类别\n"甲,体育\n乙,财经\n"丙""说""，真的",娱乐\n', "line 2 opens a quote that is never closed"),
        ("x.csv", '标题,类别\n"甲"乙",体育\n丙,财经\n"丁,财经\n"戊",财经\n', "line 4 opens a quote that is never"),
        ("x.csv", b"PK\x03\x04\0\0", "Excel workbook"),
        ("x.csv", "标题,类别\n甲\0,财经\n", "NUL byte"),
        ("x.xlsx", "标题,类别\n", "is no Excel workbook, or damaged"),
        ("x.xlsx", b"PK\x03\x04\0\0", "is no Excel workbook, or damaged"),
        ("x.xlsx", b"\xd0\xcf\x11\xe0\0\0\0\0", "protected by a password, or an old .xls"),
        ("x.parquet", "标题", "is no Parquet file"),
        ("x.jsonl", '{"a": 1}\n{"a"\n', "line 2 is no JSON "),
        ("x.jsonl", '["a"]\n', "line 1 is no JSON object"),
        ("x.jsonl", "\n", "holds no row"),
        ("x.xls", "", "an old Excel workbook: open it and save it as .xlsx"),
        ("x.json", "[]", "write a .jsonl file"),
        ("x.docx", "", "ends in none of .csv .tsv .xlsx"),
        ("x", "", "ends in none of"),
    ],
)
def test_what_cannot_be_read_is_said(name: str, content: str | bytes, says: str):
    with pytest.raises(UserError, match=says):
        read(io.BytesIO(content if isinstance(content, bytes) else content.encode()), name)


def test_a_missing_table_and_a_sheet_of_a_csv(tmp_path: Path):
    with pytest.raises(UserError, match="does not exist"):
        read(tmp_path / "none.csv")
    with pytest.raises(UserError, match="has no sheets"):
        read(io.BytesIO("标题\n甲\n".encode()), "x.csv", sheet="1")


def test_a_table_that_cannot_be_written_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "news.xlsx"
    path.write_bytes(b"earlier")
    monkeypatch.setattr("core.tables.write.SHEET_ROWS", 3)
    with pytest.raises(UserError, match="a sheet holds 2 rows and the table has more"):
        write_table(path, ["标题"], [["甲"]] * 3)
    assert path.read_bytes() == b"earlier" and [each.name for each in tmp_path.iterdir()] == ["news.xlsx"]
    with pytest.raises(UserError, match="ends in none of"):
        write_table(tmp_path / "news.txt", ["标题"], [])


def test_columns_are_chosen_by_name_or_letter():
    columns = ["编号", "正文", "标题", "Category"]
    assert choose_columns(columns, [], TEXT_NAMES, "--text", "x") == [2]
    assert choose_columns(columns, [], LABEL_NAMES, "--label", "x") == [3]
    assert choose_columns(columns, ["标题", "b"], TEXT_NAMES, "--text", "x") == [2, 1]
    assert choose_columns(["a"], [], LABEL_NAMES, "--label", "x") == []
    with pytest.raises(UserError, match="x has no column '栏目': --label must be one of '编号', '正文'"):
        choose_columns(columns, ["栏目"], LABEL_NAMES, "--label", "x")
    assert [letter(index) for index in (0, 25, 26, 701, 702)] == ["A", "Z", "AA", "ZZ", "AAA"]


def test_a_text_a_line_is_read_whole(tmp_path: Path):
    """In the answers of one file and in those of many; what has no end is refused in both."""
    path, long = tmp_path / "texts.txt", "好" * 70_000 + "中间" + "坏" * 70_000

    def in_one_file() -> list[str]:
        with open_source(path, None, (), " ", None) as source:
            return list(source.texts())

    def in_many_files() -> list[str]:
        fs, files = list_inputs(str(tmp_path))
        [part] = read_parts(fs, files[0], Wanted(), 10)
        assert part.table.column("text").to_pylist() == part.items
        return part.items

    for read_texts in (in_one_file, in_many_files):
        path.write_text(f"{long}\n短", encoding="utf-8")
        assert read_texts() == [long, "短"]
        path.write_text(f"短\n{'好' * 1_000_001}", encoding="utf-8")
        with pytest.raises(UserError, match="texts.txt line 2 is longer than 1,000,000 characters"):
            read_texts()
