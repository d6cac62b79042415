"""Names of classes: cleaned where nothing is lost, refused where two cannot be told apart."""

from pathlib import Path

import pytest

from core.console import UserError
from core.text.names import check_names, clean_name, name_key


@pytest.mark.parametrize(
    "written",
    [
        "体育",
        "体育\u200b",
        "\ufeff体育",
        " 体\u2060育\u3000",
        '"体育"',
        "“体育”",
        "'体育'",
        "「体育」",
        "\u202a体育\u202c",
        '"“体育”"',
    ],
)
def test_what_is_no_part_of_a_name_is_dropped(written: str):
    assert clean_name(written) == "体育"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("国际  新闻\u3000要闻", "国际 新闻 要闻"),
        ('"', '"'),
        ('""', '""'),
        ("《读书》", "《读书》"),
        ("5'", "5'"),
        ("\u200b ", ""),
    ],
)
def test_what_is_part_of_a_name_stays(written: str, name: str):
    assert clean_name(written) == name


def test_names_alike_but_for_case_width_or_spaces():
    assert name_key("ＡＩ 科技") == name_key("ai科技") == name_key('"Ai\u3000科技"\u200b')
    assert len({name_key(name) for name in ("①", "1", "②", "体育", "体肓", "C", "C++")}) == 7


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (["Music", "体育", "MUSIC"], ("'Music'", "'MUSIC'")),
        (["ＩＴ", "IT"], ("'ＩＴ'", "'IT'")),
        (["国际 新闻", "国际新闻"], ("'国际 新闻'", "'国际新闻'")),
        (['"体育"', "体育"], ("""'"体育"'""", "'体育'")),
        (["体育", "体育\u200b"], ("'体育'", r"'体育\u200b'")),
        (["财经", "\u200b\u2060", "体育"], ("line 2 is blank",)),
        (["财经\t0", "体育\t1"], ("line 1 holds a tab", r"'财经\t0'")),
        (["财经", "体\ufffd"], ("line 2 holds broken bytes",)),
        (["体育", "０"], ("names a class ０, which is the id of another one", "０星")),
        (["体育", "财经", "体育"], ("line 3 names a class twice: 体育", "line 1")),
    ],
)
def test_names_that_cannot_be_told_apart_are_refused_and_shown(written: list[str], shown: tuple[str, ...]):
    with pytest.raises(UserError) as refusal:
        check_names(written, Path("my/class.txt"))
    assert str(refusal.value).startswith(str(Path("my/class.txt")))
    assert all(part in str(refusal.value) for part in shown)


def test_a_name_of_a_million_quotes_takes_no_time():
    assert clean_name('"' * 1_000_001) == '"' and clean_name('" ' * 300_000 + "好" + ' "' * 300_000) == "好"
    assert clean_name('" “好” "') == "好" and clean_name('" "') == ""
