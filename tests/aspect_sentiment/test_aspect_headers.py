"""The header of a table of reviews, below a title, by any usual name, or its lack told; and the sheet of an import."""

from pathlib import Path

import pytest
from aspect_reviews import some_reviews, write_table

from aspect_sentiment.columns import REVIEW_NAMES
from aspect_sentiment.data import PARTS, main, read
from aspect_sentiment.tables import read_reviews
from core.console import UserError

TITLE = ("2024 年 3 月的点评", "", "")


@pytest.mark.parametrize("name", dict.fromkeys(REVIEW_NAMES))
def test_a_header_below_a_title_is_found_by_each_name_of_reviews(name: str, tmp_path: Path):
    rows = some_reviews(20)
    path = write_table(tmp_path / "a.csv", [[name, "口味", "服务"], *rows], TITLE)
    found = read(path)
    assert found.aspects == ["口味", "服务"] and len(found) == 20
    assert "1 row(s) above the header, skipped" in found.warnings
    for column in (None, "A", name, "服务"):
        columns, items, place, _ = read_reviews(path, column)
        assert columns[0] == name and len(items) == 20 and place == (2 if column == "服务" else 0)


def test_the_lack_of_a_header_is_told_where_no_column_of_reviews_is_known(tmp_path: Path):
    path = write_table(tmp_path / "a.csv", [["评语们", "口味", "服务"], *some_reviews(20)], TITLE)
    for reading in (lambda: read(path), lambda: read_reviews(path, None)):
        with pytest.raises(UserError, match="no header: its columns are called by their letters"):
            reading()
    path = write_table(tmp_path / "b.csv", some_reviews(20), ("评语们", "口味", "服务"))
    with pytest.raises(UserError) as told:
        read(path)
    assert "no header" not in str(told.value)


def test_the_import_reads_the_sheet_that_its_warning_speaks_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    book = pytest.importorskip("openpyxl").Workbook()
    for title in ("一月", "二月"):
        sheet = book.create_sheet(title)
        for row in [
            ["评价", "口味", "服务"],
            *([f"{title}{i}{text}", *said] for i, (text, *said) in enumerate(some_reviews(30))),
        ]:
            sheet.append(row)
    for name in ("a.xlsx", "b.xlsx"):
        book.save(tmp_path / name)
    files = [str(tmp_path / name) for name in ("a.xlsx", "b.xlsx")]
    for more, title in (([], "一月"), (["--sheet", "二月"], "二月")):
        made = tmp_path / title
        main(["import", *files, "--to", str(made), *more])
        assert ("see --sheet" in capsys.readouterr().out) == (not more)
        assert all(text.startswith(title) for part in PARTS for text in read(made / f"{part}.csv").items)
    with pytest.raises(UserError, match="has no sheet '三月': --sheet must be one of"):
        main(["import", *files, "--to", str(tmp_path / "made"), "--sheet", "三月"])
    with pytest.raises(UserError, match="has no sheets: leave out --sheet"):
        main(["import", str(write_table(tmp_path / "a.csv", some_reviews(20))), "--to", "made", "--sheet", "二月"])
