"""Rows shared out among train, dev and test."""

import random
import time
from collections import Counter

import pytest

from core.tables.split import group_rows, near_key, split_rows, unseen


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("央行降息，股市大涨！", "央行降息 股市大涨"),
        ("ＡＩ芯片２０２４", "AI芯片2024"),
        ("央行下调利率（图）", "央行下调利率(组图)"),
        ("“主队”夺冠", "主队夺冠。"),
        ("iPhone 发布", "IPHONE发布"),
    ],
)
def test_near_repeats_share_a_key(one: str, other: str):
    assert near_key(one) == near_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("增长 6.1%", "增长 6.2%"),
        ("（一）", "（二）"),
        ("！！", "？？"),
        ("【快讯】股市", "【快讯】楼市"),
        ("降息", "加息"),
    ],
)
def test_other_texts_do_not(one: str, other: str):
    assert near_key(one) != near_key(other)


def test_what_is_known_is_met_in_no_spelling():
    texts = ["央行降息，股市大涨", "主队夺冠", "主队 夺冠！", "央行降息股市大涨(图)", "ＡＩ芯片", "加息"]
    assert unseen(texts, iter(["央行降息 股市大涨！", "ai芯片"])) == ["主队夺冠", "加息"]
    assert unseen(iter(texts), []) == ["央行降息，股市大涨", "主队夺冠", "ＡＩ芯片", "加息"]


@pytest.mark.parametrize("seed", range(5))
def test_each_class_is_in_each_part_and_no_text_in_two(seed: int):
    rng = random.Random(seed)
    texts, labels = [], []
    for label, count in (("多", 200), ("中", 30), ("少", 3)):
        for number in range(count):
            repeats = 1 if label == "少" else rng.choice((1, 1, 1, 2, 9))
            texts += [f"{label}的标题{number}" + "！" * repeat for repeat in range(repeats)]
            labels += [label] * repeats
    split = split_rows(texts, labels, ("dev", "test"), seed)
    assert sorted(row for rows in split.values() for row in rows) == list(range(len(texts)))
    assert all({labels[row] for row in rows} == {"多", "中", "少"} for rows in split.values())
    keys = {name: {near_key(texts[row]) for row in rows} for name, rows in split.items()}
    assert keys["train"].isdisjoint(keys["dev"] | keys["test"]) and keys["dev"].isdisjoint(keys["test"])
    for name in ("dev", "test"):
        counts = Counter(labels[row] for row in split[name])
        assert counts["多"] == pytest.approx(labels.count("多") / 10, abs=3) and counts["少"] == 1
    assert split == split_rows(texts, labels, ("dev", "test"), seed)
    assert split != split_rows(texts, labels, ("dev", "test"), seed + 1)


def test_texts_that_are_all_one_still_fill_each_part():
    texts = ["同一个标题"] * 50 + ["第二个标题", "第三个标题"]
    split = split_rows(texts, ["甲"] * 52, ("dev", "test"), 0)
    assert {name: len(rows) for name, rows in split.items()} == {"train": 50, "dev": 1, "test": 1}


def test_time_grows_with_the_rows_alone():
    def seconds(count: int) -> float:
        texts = [f"第{number}条的标题，有些长" for number in range(count)]
        start = time.process_time()
        assert len(group_rows(texts)) == count
        return time.process_time() - start

    seconds(1000)
    assert seconds(20_000) < 60 * max(seconds(2000), 0.05)  # a hundred times as long if pairs were compared


@pytest.mark.parametrize("text", ["（", "(）", "[x", "】", "１"])
def test_time_grows_with_the_length_alone(text: str):
    """Of opening brackets alone, too, each of which was followed a long way, or to the end."""
    start = time.process_time()
    near_key(text * 3_000_000 + "）")
    assert time.process_time() - start < 5


def test_what_stands_in_brackets_does_not_matter_however_long_it_is():
    title = "今日股市大涨"
    assert near_key(f"{title}（{'详情见内文' * 90}）") == near_key(title) != near_key(f"{title}（未完")
