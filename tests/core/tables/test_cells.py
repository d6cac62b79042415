"""Cells as text, and cells that no spreadsheet runs."""

from datetime import date, datetime

import pytest

from core.tables.cells import cell_text, inert, without_guard

BEFORE = ["", " ", "\t", "\r", "\n", "\r\n", "\u3000", "\u00a0", "\u200b", "\ufeff", "\0", " \t\u2060 "]


@pytest.mark.parametrize("start", [*"=+-@", *"＝＋－＠", *"﹦﹢﹣﹫", "\u2212"])
@pytest.mark.parametrize("before", BEFORE, ids=repr)
def test_whatever_stands_before_it_a_formula_does_not_run(before: str, start: str):
    cell = f"{before}{start}cmd|'/C calc'!A0"
    assert inert(cell) == f"'{cell}"
    assert without_guard(inert(cell)) == cell
    assert inert(inert(cell)) == inert(cell)


@pytest.mark.parametrize(
    "cell", ["", " ", "标题", "——破折号", "a=1", "3-1", "'引号", "'", "-3.5", "+1,200", "-5%", "-1e-5", 5, -3.5, None]
)
def test_other_cells_stay_as_they_are(cell: object):
    assert inert(cell) == cell == without_guard(cell)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        (float("nan"), ""),
        (1.0, "1"),
        (0.5, "0.5"),
        (12, "12"),
        (True, "True"),
        (datetime(2024, 1, 5), "2024-01-05"),
        (datetime(2024, 1, 5, 8, 30), "2024-01-05 08:30:00"),
        (date(2024, 1, 5), "2024-01-05"),
        ("001", "001"),
        (b"\xe8\xb4\xa2", "财"),
        (["甲", 1], '["甲", 1]'),
    ],
)
def test_cells_as_a_person_reads_them(cell: object, text: str):
    assert cell_text(cell) == text
