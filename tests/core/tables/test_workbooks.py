"""What the values of a workbook do not say is told: formulas nobody computed, merged cells; days are shown as such."""

import io
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook

import utils
from core.console import UserError
from core.tables import workbook
from core.tables.read import open_table
from core.tables.write import write_table

HINT = "column '类别' has merged cells. Of merged cells only the first one has the label: fill it down"
CLASSES = ("财经", "体育", "科技")


def save(path: Path, rows: list[list[object]], merged: tuple[str, ...] = ()) -> str:
    book = Workbook()
    for row in rows:
        book.active.append(row)
    for cells in merged:
        book.active.merge_cells(cells)
    book.save(path)
    return str(path)


def pairs(count: int = 30) -> list[list[object]]:
    """Each label stands for two titles, as where its cell is merged with the one below."""
    labels = [label for row in range(count) for label in (CLASSES[row % 3], None)]
    return [["标题", "类别"], *([f"第{row}条", label] for row, label in enumerate(labels))]


@pytest.mark.parametrize(
    ("merged", "is_told"),
    [
        (tuple(f"B{row}:B{row + 1}" for row in range(2, 62, 2)), True),
        (("B60:B61",), True),
        (("A62:A63",), False),
        (("B2:C2",), False),
        ((), False),
    ],
)
def test_merged_labels_are_told_where_rows_lack_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], merged: tuple[str, ...], is_told: bool
):
    utils.main(["import", save(tmp_path / "pairs.xlsx", pairs(), merged), "--to", str(tmp_path / "data")])
    out = capsys.readouterr().out
    assert "warning: 30 row(s) without a label, skipped" in out and (HINT in out) == is_told


def test_merged_cells_do_not_matter_where_every_row_has_a_label(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [["标题", "类别"], [None, None], *([f"第{row}条", CLASSES[row % 3]] for row in range(30))]
    utils.main(["import", save(tmp_path / "a.xlsx", rows, ("B1:B2",)), "--to", str(tmp_path / "data")])
    assert HINT not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cells", "count"),
    [
        ("<c><f>1&lt;2</f></c>", 1),
        ('<c r="A1"><f>A2>1</f><v/></c><c r="B1"><f>2</f><v></v></c>', 2),
        ('<c r="A1" s="1"><f t="shared" ref="A1:A2" si="0">1</f></c><c r="A2"><f t="shared" si="0"/><v /></c>', 2),
        ('<x:c r="A1" s="2">\n<x:f>1</x:f>\n</x:c><x:c r="A2"><x:f>1</x:f><x:v>3</x:v></x:c>', 1),
        ('<c r="A1"><f>1</f><v>1</v></c><c r="A2" t="str"><f>B1</f><v></v></c><c r="A3"><v/></c><c r="A4"/>', 0),
        ('<cols><col min="1"/></cols><cfRule><formula>1</formula></cfRule><c t="inlineStr"><is><t>f</t></is></c>', 0),
    ],
)
@pytest.mark.parametrize("part", [1, 7, 1_000_000])
def test_formulas_without_a_value_are_counted(cells: str, count: int, part: int, monkeypatch: pytest.MonkeyPatch):
    """However the sheet falls into parts, each is counted once, and so is a merged cell."""
    monkeypatch.setattr(workbook, "PART_BYTES", part)
    monkeypatch.setattr(workbook, "LONGEST", 120)
    merges = '<mergeCells><mergeCell ref="AB2:AB31"/><mergeCell ref="A1:C1"/></mergeCells>'
    sheet = f"<sheetData>{cells * 20}</sheetData>{merges}"
    assert workbook.scan(io.BytesIO(sheet.encode())) == (20 * count, {"AB"})


@pytest.mark.parametrize("sheet", [None, "Sheet"])
def test_formulas_without_a_value_are_told(tmp_path: Path, sheet: str | None):
    rows = [["标题", "类别"], ["甲", "体育"], ['=CONCATENATE("乙", A2)', "财经"], ["=A2", "财经"]]
    path = Path(save(tmp_path / "news.xlsx", rows))
    with open_table(path, sheet=sheet) as table:
        assert list(table.rows) == [["甲", "体育"], [None, "财经"], [None, "财经"]]
    [told] = table.warnings
    assert told.startswith("2 cell(s) of sheet 'Sheet' hold formulas without a stored value") and "in Excel" in told
    write_table(path, ["标题", "类别"], [["=甲", "体育"]])
    with open_table(path) as table:
        assert table.warnings == []


@pytest.mark.parametrize("column", [0, 1])
def test_formulas_are_told_before_the_import_is_given_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], column: int
):
    rows: list[list[object]] = [["标题", "类别"], *([f"第{row}条", "体育"] for row in range(30))]
    for row in rows[1:]:
        row[column] = "=D1"
    with pytest.raises(UserError, match=("no row has both", "30 of 30 rows have no label")[column]):
        utils.main(["import", save(tmp_path / "news.xlsx", rows), "--to", str(tmp_path / "data")])
    assert "warning: 30 cell(s) of sheet 'Sheet' hold formulas" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cell", "shown", "read"),
    [
        (datetime(2026, 1, 1), "yyyy-mm-dd", None),
        (date(2026, 1, 1), "yyyy-mm-dd", datetime(2026, 1, 1)),
        (datetime(2026, 1, 1, 9, 5), "yyyy-mm-dd hh:mm:ss", None),
        (datetime(2026, 12, 31, 23, 59, 59, 500_000), "yyyy-mm-dd hh:mm:ss", None),
        (time(9, 5), "h:mm:ss", None),
        (timedelta(hours=30), "[hh]:mm:ss", None),
        (timedelta(days=2000), "[hh]:mm:ss", None),
        (timedelta(hours=-1), "General", "-1 day, 23:00:00"),
        (timedelta.max, "General", str(timedelta.max)),
        (datetime(2026, 1, 1, 9, tzinfo=UTC), "General", "2026-01-01 09:00:00+00:00"),
        (date(1899, 1, 1), "General", "1899-01-01"),
        (time(9, 5, tzinfo=UTC), "General", "09:05:00+00:00"),
    ],
)
def test_a_sheet_shows_days_and_times(tmp_path: Path, cell: Any, shown: str, read: Any):
    """As wide as they are, and they are read as they were; a sheet cannot hold some, which are text."""
    path = tmp_path / "news.xlsx"
    write_table(path, ["标题", "时间", "n"], [["甲", None, 1], ["乙", cell, 2], ["丙", cell, 3]])
    sheet = load_workbook(path).active
    assert {sheet[f"B{row}"].number_format for row in (3, 4)} == {shown} and sheet["C4"].number_format == "General"
    assert sheet["B1"].number_format == sheet["A3"].number_format == "General"
    widths = {letter: each.width for letter, each in sheet.column_dimensions.items()}
    if shown == "General":
        assert widths == {}
    else:
        assert set(widths) == {"B"} and max(len(shown), 10) < widths["B"] <= 30
    with open_table(path) as table:
        assert [row[1] for row in table.rows] == [None, *[cell if read is None else read] * 2]


def test_the_first_rows_tell_how_wide_a_column_is_and_no_row_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("core.tables.write.LOOK_ROWS", 3)
    day = datetime(2026, 1, 1)
    rows = ([f"第{row}条", day if row else None, day + timedelta(hours=row) if row > 1 else None] for row in range(9))
    write_table(tmp_path / "news.xlsx", ["标题", "日", "晚"], rows)
    sheet = load_workbook(tmp_path / "news.xlsx").active
    assert sheet.max_row == 10 and list(sheet.column_dimensions) == ["B"]
