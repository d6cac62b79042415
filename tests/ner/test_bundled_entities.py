"""The sentences in data/ner/: whole, of valid spans, free of shared frames, counted right and settled by the guide."""

import json
import re
from collections import Counter, defaultdict

import pytest
from conftest import ROOT

DATA = ROOT / "data" / "ner"
TYPES = ["PER", "LOC", "ORG", "MISC"]
SIZES = {"train": 400, "dev": 100, "test": 100}


def is_english(text: str) -> bool:
    return not re.search("[\u4e00-\u9fff]", text)


@pytest.fixture(scope="module")
def splits() -> dict[str, list[dict]]:
    lines = {name: (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines() for name in SIZES}
    return {name: [json.loads(line) for line in rows] for name, rows in lines.items()}


@pytest.fixture(scope="module")
def rows(splits: dict[str, list[dict]]) -> list[dict]:
    return sum(splits.values(), [])


def test_sizes_types_and_languages(splits: dict[str, list[dict]]):
    assert {name: len(rows) for name, rows in splits.items()} == SIZES
    for rows in splits.values():
        assert {entity["label"] for row in rows for entity in row["entities"]} == set(TYPES)
        assert 0.15 < sum(is_english(row["text"]) for row in rows) / len(rows) < 0.25
        assert 0.1 < sum(not row["entities"] for row in rows) / len(rows) < 0.2


def test_texts_are_clean(rows: list[dict]):
    texts = [row["text"] for row in rows]
    assert len(set(texts)) == len(texts)
    for text in texts:
        assert 12 <= len(text) <= 140 and text.isprintable() and "\ufffd" not in text and text == text.strip(), text
        assert not re.search(r"[【】|]", text), text  # left over from the markup in which they were written


def test_spans_are_names_in_order(rows: list[dict]):
    for row in rows:
        text, end = row["text"], 0
        assert set(row) == {"text", "entities"}
        for entity in row["entities"]:
            assert list(entity) == ["start", "end", "label"], row
            assert end <= entity["start"] < entity["end"] <= len(text), row
            end = entity["end"]
            name = text[entity["start"] : end]
            assert name == name.strip(" ，。、；：,") and len(name) <= 40, (name, row)
            for pair in ("“”", "《》", "（）"):
                assert name.count(pair[0]) == name.count(pair[1]), name
            if is_english(text):
                assert text[: entity["start"]][-1:] in ("", " ") and text[end : end + 1] in ("", " "), (name, row)


def test_no_two_sentences_share_a_frame(rows: list[dict]):
    owners: dict[tuple, set[int]] = defaultdict(set)
    for number, row in enumerate(rows):
        english = is_english(row["text"])
        units, length = (row["text"].split(), 6) if english else (row["text"], 8)
        for start in range(len(units) - length + 1):
            owners[english, *units[start : start + length]].add(number)
    assert not [gram for gram, numbers in owners.items() if len(numbers) > 1]


@pytest.mark.parametrize("page", ["README.md", "README.en.md"])
def test_the_table_of_counts_is_right(splits: dict[str, list[dict]], rows: list[dict], page: str):
    chinese = [row for row in rows if not is_english(row["text"])]
    groups = [*splits.values(), chinese, [row for row in rows if is_english(row["text"])], rows]
    table = re.findall(r"^\| [^|]+ \|((?: [\d,]+ \|){7})$", (DATA / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert len(table) == len(groups)
    for line, group in zip(table, groups, strict=True):
        counts = Counter(entity["label"] for row in group for entity in row["entities"])
        empty = sum(not row["entities"] for row in group)
        numbers = [int(cell.replace(",", "")) for cell in line.strip(" |").split(" | ")]
        assert numbers == [len(group), empty, *(counts[name] for name in TYPES), counts.total()]


@pytest.mark.parametrize("page", ["README.md", "README.en.md"])
def test_every_disagreement_is_settled_by_a_rule(rows: list[dict], page: str):
    held = {row["text"]: {(e["start"], e["end"], e["label"]) for e in row["entities"]} for row in rows}
    guide = (DATA / page).read_text(encoding="utf-8")
    header, *lines = (DATA / "disagreements.tsv").read_text(encoding="utf-8").splitlines()
    assert header.split("\t") == ["text", "first", "second", "decision", "rule"]
    for line in lines:
        text, *readings, decision, rule = line.split("\t")
        first, second = (
            {(int(start), int(end), label) for start, end, label in re.findall(r"(\d+)-(\d+) ([A-Z]+)", reading)}
            for reading in readings
        )
        taken, other = (first, second) if decision == "first" else (second, first)
        assert decision in ("first", "second") and taken <= held[text] and not (other - taken) & held[text], line
        assert f"- **{rule}" in guide, rule
    assert len(lines) == int(re.search(r"(\d+) (?:处|places)", guide)[1])
