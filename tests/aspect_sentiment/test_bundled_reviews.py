"""The reviews in data/aspect_sentiment/: whole, of known states, free of shared frames, counted right and settled."""

import csv
import re
from collections import Counter, defaultdict

import pytest
from conftest import ROOT

from aspect_sentiment.data import read_data

DATA = ROOT / "data" / "aspect_sentiment"
SIZES = {"train": 200, "dev": 50, "test": 50}
STATES = ["未提及", "负面", "中性", "正面"]
PAGES = ["README.md", "README.en.md"]


@pytest.fixture(scope="module")
def splits() -> dict[str, list[dict[str, str]]]:
    found = {}
    for name in SIZES:
        with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            found[name] = list(csv.DictReader(file))
    return found


@pytest.fixture(scope="module")
def rows(splits: dict[str, list[dict[str, str]]]) -> list[dict[str, str]]:
    return sum(splits.values(), [])


def test_training_reads_them_without_a_warning(splits: dict[str, list[dict[str, str]]]):
    found = read_data(DATA)
    assert {name: len(split) for name, split in found.items()} == SIZES == {n: len(s) for n, s in splits.items()}
    assert len(found["train"].aspects) == 18 and found["train"].labels == STATES
    assert not [split.warnings for split in found.values() if split.warnings]
    for name, split in found.items():
        assert set(split.states.ravel().tolist()) == {0, 1, 2, 3}, name


def test_texts_are_clean(rows: list[dict[str, str]]):
    texts = [row["评论"] for row in rows]
    assert len(set(texts)) == len(texts)
    for text in texts:
        assert 30 <= len(text) <= 400 and text.isprintable() and "\ufffd" not in text and text == text.strip(), text
        assert "|" not in text, text  # left over from the form in which they were written


def test_no_two_reviews_share_a_frame(rows: list[dict[str, str]]):
    owners: dict[str, set[int]] = defaultdict(set)
    for number, row in enumerate(rows):
        text = row["评论"]
        for start in range(len(text) - 7):
            owners[text[start : start + 8]].add(number)
    assert not [gram for gram, numbers in owners.items() if len(numbers) > 1]


@pytest.mark.parametrize("page", PAGES)
def test_the_table_of_counts_is_right(rows: list[dict[str, str]], page: str):
    text = (DATA / page).read_text(encoding="utf-8")
    table = re.findall(r"^\| ([^|]+) \|((?: [\d,]+ \|){4}) [\d.]+ \| [\d.]+ \|$", text, re.MULTILINE)
    aspects = (DATA / "aspects.txt").read_text(encoding="utf-8").split()
    assert [name.split()[0] for name, _ in table[:-1]] == aspects
    for (_, cells), names in zip(table, [*([name] for name in aspects), aspects], strict=True):
        counts = Counter(row[name] for row in rows for name in names)
        assert [int(cell.replace(",", "")) for cell in cells.strip(" |").split(" | ")] == [counts[s] for s in STATES]


@pytest.mark.parametrize("page", PAGES)
def test_every_disagreement_is_settled_by_a_rule(rows: list[dict[str, str]], page: str):
    held = {row["评论"]: row for row in rows}
    guide = (DATA / page).read_text(encoding="utf-8")
    header, *lines = (DATA / "disagreements.tsv").read_text(encoding="utf-8").splitlines()
    assert header.split("\t") == ["text", "aspect", "first", "second", "decision", "rule"]
    for line in lines:
        text, aspect, first, second, decision, rule = line.split("\t")
        assert first != second and {first, second, decision} <= set(STATES), line
        assert held[text][aspect] == decision and f"- **{rule} " in guide, line
    assert str(len(lines)) in re.search(r"disagreements.tsv.*", guide)[0]
