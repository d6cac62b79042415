"""The headlines in data/: complete, free of near-duplicates, and neither trivial nor noise."""

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from conftest import ROOT

import baseline
from utils import read_data, read_labels

DATA = ROOT / "data"
CLASSES = ["财经", "房产", "股票", "教育", "科技", "社会", "时政", "体育", "游戏", "娱乐"]


@pytest.fixture(scope="module")
def splits() -> dict[str, list[tuple[str, int]]]:
    _, splits = read_data(DATA)
    return {name: list(zip(titles.texts, titles.labels, strict=True)) for name, titles in splits.items()}


def test_classes_and_counts(splits: dict[str, list[tuple[str, int]]]):
    assert read_labels(DATA / "class.txt") == CLASSES
    for name, count in (("train", 140), ("dev", 20), ("test", 40)):
        assert Counter(label for _, label in splits[name]) == dict.fromkeys(range(10), count)


def test_lengths_and_characters(splits: dict[str, list[tuple[str, int]]]):
    for text, _ in sum(splits.values(), []):
        assert 8 <= len(text) <= 32, text
        assert text.isprintable() and "\ufffd" not in text and text == text.strip(), text


def test_no_two_titles_are_alike(splits: dict[str, list[tuple[str, int]]]):
    texts = [text for text, _ in sum(splits.values(), [])]
    assert len(set(texts)) == len(texts)
    grams = [{text[start : start + 3] for start in range(len(text) - 2)} for text in texts]
    shared: dict[str, list[int]] = defaultdict(list)
    for row, own in enumerate(grams):
        candidates = {other for gram in own for other in shared[gram]}
        for other in candidates:
            likeness = len(own & grams[other]) / len(own | grams[other])
            assert likeness < 0.5, (texts[row], texts[other])
        for gram in own:
            shared[gram].append(row)


def test_a_linear_model_finds_it_neither_trivial_nor_noise(tmp_path: Path):
    baseline.main(["--data-dir", str(DATA), "--output", str(tmp_path)])
    metrics = json.loads((tmp_path / "baseline" / "metrics.json").read_text(encoding="utf-8"))
    assert 0.55 < metrics["accuracy"] < 0.92
    assert metrics["n"] == 400


def test_stopwords_are_single_words():
    first, *words = (DATA / "stopwords.txt").read_text(encoding="utf-8").splitlines()
    assert first.startswith("#")
    assert len(set(words)) == len(words) > 50
    assert all(word == word.strip() and word for word in words)
