"""Which columns and states a file of reviews has: nothing is taken for another, and none vanishes without a word."""

from pathlib import Path

import pytest
from aspect_reviews import write_reviews, write_table

from aspect_sentiment.data import main, read, read_data
from aspect_sentiment.predict import TASK
from core.console import UserError
from core.training.units import IGNORED

NUMBERED = "0\t未提及\n1\t正面\n2\t中性\n3\t负面\n"
ODD = "这家店的服务员态度说不上好也说不上坏，总之一言难尽"
USUAL = ["未提及", "正面", "负面"] * 10


def one_aspect(path: Path, cells: list[str]) -> Path:
    """A file with a good aspect and another column."""
    rows = [[f"评论{i}", "正面" if i % 2 else "负面", cell] for i, cell in enumerate(cells)]
    return write_table(path, rows, ("评论", "口味", "服务"))


def test_where_there_is_a_states_txt_it_alone_names_the_values_in_all_files(tmp_path: Path):
    (tmp_path / "states.txt").write_text(NUMBERED, encoding="utf-8")
    for name in ("train", "dev", "test"):
        write_table(tmp_path / f"{name}.csv", [[f"{name}{cell}", str(cell), "0"] for cell in range(4)])
    splits = read_data(tmp_path)
    assert {tuple(split.states[:, 0]) for split in splits.values()} == {(0, 1, 2, 3)}
    write_table(tmp_path / "dev.csv", [["好", "-1", "0"]])
    with pytest.raises(UserError, match="row 2, 口味: '-1'"):
        read_data(tmp_path)
    for text in ("0\t中性\n0\t正面\n", "负面\t正面\n正面\t负面\n"):
        (tmp_path / "states.txt").write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match="gives a value two names"):
            read_data(tmp_path)


@pytest.mark.parametrize(
    ("odd", "says"), [([ODD], "row 32: '服务' holds '这家"), (["好", "行", "赞", "棒"], "row 35: '服务' holds '棒'")]
)
def test_an_aspect_with_some_odd_cells_is_refused_by_row(odd: list[str], says: str, tmp_path: Path):
    with pytest.raises(UserError, match=f"{says}.*mend this cell.*aspects.txt"):
        read(one_aspect(tmp_path / "a.csv", USUAL + odd))


def test_an_odd_row_without_a_review_is_no_matter_and_nor_is_case(tmp_path: Path):
    cells = ["Good", "good", "GOOD", "bad", "Bad", "BAD", "none", "None"]
    assert read(one_aspect(tmp_path / "a.csv", cells)).aspects == ["口味", "服务"]
    path = one_aspect(tmp_path / "b.csv", USUAL)
    path.write_text(path.read_text(encoding="utf-8") + f",,{ODD}\n", encoding="utf-8")
    assert read(path).aspects == ["口味", "服务"]


@pytest.mark.parametrize(
    "cells",
    [
        [str(number) for number in range(40)],
        [f"2024-05-{day:02}" for day in [*range(1, 7)] * 9 + [8, 9]],
        [f"2024年5月{day}日" for day in [*range(1, 7)] * 9 + [8, 9]],
        ["4", "4.5", "5", "3.5", "3", "2.5"] * 9 + ["1", "-"],
        ["朝阳店", "海淀店", "东城店", "西城店", "丰台店", "通州店", "大兴店", "昌平店"] * 4,
        [f"{ODD}{number}" for number in range(20)] + ["好"] * 5,
    ],
    ids=["ids", "dates", "days", "stars", "shops", "remarks"],
)
def test_other_columns_are_passed_over(cells: list[str], tmp_path: Path):
    assert read(one_aspect(tmp_path / "a.csv", cells)).aspects == ["口味"]


@pytest.mark.parametrize(
    "day",
    ["2024-03-01", "2024/3/1", "2024.3.1", "2024-03-01 12:30:00", "2024-03-01T12:30", "03/01/2024", "20240301", "12:30"]
    + ["2024年3月1日", "2024年3月", "2024-03", "3月1日", "2024年", "2024-03-01 12时"],
)
def test_days_are_no_states_however_few_they_are(day: str, tmp_path: Path):
    for cells in ([day] * 30, [day, "2024-03-02"] * 15, [day] * 29 + ["昨天"], [day, ""] * 15):
        found = read(one_aspect(tmp_path / "a.csv", cells))
        assert found.aspects == ["口味"]
        assert any("taken for no aspects: '服务'" in told for told in found.warnings)


@pytest.mark.parametrize("values", [["-2", "-1", "0", "1"], ["4.5", "3.0"], ["10", "20"]])
def test_numbers_are_no_days(values: list[str], tmp_path: Path):
    rows = [[f"好{i}", values[i % len(values)], values[-1 - i % len(values)]] for i in range(12)]
    assert read(write_table(tmp_path / "a.csv", rows)).aspects == ["口味", "服务"]


@pytest.mark.parametrize(
    "name", ["性别", "评论日期", "评论时间", "城市", "渠道", "平台", "来源", "年龄", "Gender", "会员等级"]
)
def test_usual_columns_beside_aspects_are_none_but_told_where_they_hold_states(name: str, tmp_path: Path):
    rows = [[f"好{i}", "正面" if i % 2 else "未提及", "男" if i % 3 else "女"] for i in range(20)]
    found = read(write_table(tmp_path / "a.csv", rows, ("评论", "口味", name)))
    assert found.aspects == ["口味"] and not found.warnings
    found = read(write_table(tmp_path / "a.csv", [[*row[:2], row[1]] for row in rows], ("评论", "口味", name)))
    assert found.aspects == ["口味"] and f"taken for no aspects: {name!r}" in found.warnings[0]


def own_states(path: Path) -> list[str]:
    return [told.split("; ")[0] for told in read(path).warnings if "of its own" in told]


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (["男", "女"], ["column '服务' has states of its own: 男, 女"]),
        (["是", "否", ""], ["column '服务' has states of its own: 是, 否"]),
        (["美团", "-", "点评"], ["column '服务' has states of its own: 美团, 点评"]),
        (["正面", "很好"], []),
        (["负面"], []),
        (["积极", "消极"], []),
        (["未提及"], []),
    ],
    ids=["sex", "yes", "dash", "shared", "one", "opinions", "absent"],
)
def test_a_column_that_shares_no_state_is_told_and_aspects_txt_helps(cells: list[str], says: list[str], tmp_path: Path):
    path = one_aspect(tmp_path / "a.csv", [cells[i % len(cells)] for i in range(30)])
    assert own_states(path) == says
    (tmp_path / "aspects.txt").write_text("口味\n", encoding="utf-8")
    assert read(path).aspects == ["口味"] and not own_states(path)


def test_states_of_one_aspect_alone_are_nobody_elses_business(tmp_path: Path):
    assert not own_states(write_table(tmp_path / "a.csv", [["好", "赞"], ["坏", "踩"]], ("评论", "口味")))


def users(rows: int, named: int) -> list[str]:
    return [f"用户{row}" if row % (rows // named) == 0 else "匿名用户" for row in range(rows)]


@pytest.mark.parametrize(
    "cells",
    [users(200, 10), users(200, 7), users(2000, 100), [*users(2000, 100), "用户20", "用户40"]],
    ids=["some", "few", "many", "repeated"],
)
def test_names_nearly_all_of_which_are_one_are_no_states_and_it_is_told(cells: list[str], tmp_path: Path):
    found = read(one_aspect(tmp_path / "a.csv", cells))
    assert found.aspects == ["口味"]
    assert any("taken for no aspects: '服务'; if some are, list all aspects in" in told for told in found.warnings)


@pytest.mark.parametrize("said", [["正面"] * 3 + ["负面"] * 2, ["正面"] * 8 + ["负", "正"]], ids=["few", "typos"])
def test_an_aspect_that_is_seldom_mentioned_is_still_refused_by_row(said: list[str], tmp_path: Path):
    with pytest.raises(UserError, match="'服务' holds '这家.*one of 未提及, 正面"):
        read(one_aspect(tmp_path / "a.csv", ["未提及"] * 190 + said + [ODD, ODD + "。"]))


def test_numbers_and_empty_cells_are_read_as_pandas_writes_them(tmp_path: Path):
    cells = ["1.0", "-2.0", "", "-1", "nan", "NaN", "1", "0.0"] * 3
    rows = [[f"好{row}", cell, str(row % 2 - 2)] for row, cell in enumerate(cells)]
    path = write_table(tmp_path / "a.csv", rows, ("评论", "口味", "服务"))
    found = read(path)
    assert found.labels == ["未提及", "负面", "中性", "正面"]
    assert found.states[:8, 0].tolist() == [3, 0, IGNORED, 1, IGNORED, IGNORED, 3, 2]
    assert (read(path, ["-2.0", "-1.0", "0", "1.0"]).states == found.states).all()  # of a model that was made before
    (tmp_path / "states.txt").write_text("-2.0\t无\n-1\t差\n0\t中\n1.0\t好\n", encoding="utf-8")
    assert (read(path).states == found.states).all() and read(path).labels == ["无", "差", "中", "好"]


def test_states_that_are_numbers_and_words_are_imported_as_they_are(tmp_path: Path):
    """A number that is a state itself is not also the value of the state that it is usually known by."""
    rows = [[f"菜很香{row}", *(("１", "0"), ("正面", "中性"), ("0", "1"))[row % 3]] for row in range(30)]
    source = write_table(tmp_path / "reviews.csv", rows, ("评论", "口味", "服务"))
    main(["import", str(source), "--to", str(tmp_path / "made")])
    assert set(read_data(tmp_path / "made")["train"].labels) == {"１", "0", "正面", "中性"}


def test_reviews_are_no_aspect(tmp_path: Path):
    (tmp_path / "aspects.txt").write_text("评论\n口味\n", encoding="utf-8")
    with pytest.raises(UserError, match="aspects.txt names '评论', which holds the reviews: leave it out"):
        read(one_aspect(tmp_path / "a.csv", USUAL))


def test_columns_that_are_known_to_be_none_are_not_told(tmp_path: Path):
    rows = [[str(i), "匿名用户", "5", f"好{i}", "正面" if i % 2 else "未提及"] for i in range(20)]
    found = read(write_table(tmp_path / "a.csv", rows, ("编号", "用户名", "star", "评论", "口味")))
    assert found.aspects == ["口味"] and not found.warnings


def test_columns_that_case_or_width_alone_tells_apart_are_refused_where_they_are_chosen(tmp_path: Path):
    rows = [["好", "正面", "负面"], ["坏", "负面", "正面"]]
    for other in ("taste", "Ｔaste", "TASTE "):
        with pytest.raises(UserError, match="two columns named 'Taste'"):
            read(write_table(tmp_path / "a.csv", rows, ("review", "Taste", other)))
    with pytest.raises(UserError, match="two columns named 'Taste'"):
        read(tmp_path / "a.csv", aspects=["taste"])
    with pytest.raises(UserError, match="two columns named 'Q'"):
        read(write_table(tmp_path / "a.csv", rows, ("review", "Q", "Q")), aspects=["Q"])
    (tmp_path / "aspects.txt").write_text("Taste\ntaste\n", encoding="utf-8")
    with pytest.raises(UserError, match="aspects.txt names Taste, taste as two aspects"):
        read(write_table(tmp_path / "a.csv", rows, ("review", "Taste", "价格")))


def test_names_with_numbers_are_no_twins(tmp_path: Path):
    rows = [["好", "正面", "负面"], ["坏", "负面", "正面"]]
    for header in (("review", "Q", "Q_1"), ("review", "Q", "Q_7"), ("review", "Q", "q_2"), ("review", "Q_2", "Q_3")):
        assert read(write_table(tmp_path / "a.csv", rows, header)).aspects == [*header[1:]]
    ids = [[str(i), str(i), *rows[i % 2]] for i in range(20)]
    assert read(write_table(tmp_path / "a.csv", ids, ("id", "id", "review", "Q", "P"))).aspects == ["Q", "P"]
    path = write_table(tmp_path / "a.csv", rows, ("review", "Q", "Q_2"))
    (tmp_path / "aspects.txt").write_text("Q\nQ_2\n", encoding="utf-8")
    assert read(path).aspects == ["Q", "Q_2"]


def test_the_first_rows_know_the_states_of_all(tmp_path: Path):
    folder = write_reviews(tmp_path / "data", 30)
    rows = [[f"好{index}", "正面" if index % 2 else "负面", "正面"] for index in range(20)]
    write_table(folder / "train.csv", [*rows, ["没说", "未提及", "未提及"]])
    splits = read_data(folder, 4)
    assert len(splits["train"]) == 4 and splits["train"].labels == ["未提及", "负面", "正面"]


def test_scripts_read_a_file_with_the_aspects_of_train(tmp_path: Path):
    """In its order, one without any label too, and none that looks like one in this file alone."""
    folder, labels = write_reviews(tmp_path / "data", 12), ["未提及", "负面", "正面"]
    header = ("服务", "城市", "评论", "口味")
    path = write_table(folder / "test.csv", [["", "北京", "菜很香", "正面"], ["", "上海", "菜太咸", "负面"]], header)
    found = TASK.read(path, labels, None)
    assert found.aspects == ["口味", "服务"] and found.states.tolist() == [[2, IGNORED], [1, IGNORED]]
    alone = write_table(tmp_path / "alone/test.csv", [["好", "正面", "负面"]], ("评论", "TASTE", "Service"))
    assert TASK.read(alone, labels, None).of(["service", "taste"]).states.tolist() == [[1, 2]]
    assert len(TASK.read(folder / "train.csv", labels, 5)) == 5
