"""The bundled questions are what their guide says."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from qa.data import BUNDLED_DATA, read

DATA = Path(BUNDLED_DATA)
SPLITS = ("train", "dev", "test")
SHARED = 8  # characters in a row that no two passages have


def paragraphs(split: str) -> list[dict]:
    content = json.loads((DATA / f"{split}.json").read_text(encoding="utf-8"))
    return [paragraph for article in content["data"] for paragraph in article["paragraphs"]]


def test_there_are_so_many_and_each_answer_stands_at_its_place():
    whole = [paragraph for split in SPLITS for paragraph in paragraphs(split)]
    asked = [question for paragraph in whole for question in paragraph["qas"]]
    assert (len(whole), len(asked)) == (120, 400)
    assert max(Counter(question["id"] for question in asked).values()) == 1
    assert max(Counter(question["question"] for question in asked).values()) == 1
    for paragraph in whole:
        assert 80 <= len(paragraph["context"]) <= 400
        for question in paragraph["qas"]:
            [answer] = question["answers"]
            start = answer["answer_start"]
            assert paragraph["context"][start : start + len(answer["text"])] == answer["text"] == answer["text"].strip()
    for split in SPLITS:
        assert not read(DATA / f"{split}.json").warnings


def test_no_two_passages_share_a_frame():
    seen: dict[str, str] = {}
    for split in SPLITS:
        for paragraph in paragraphs(split):
            context = paragraph["context"]
            for at in range(len(context) - SHARED + 1):
                assert seen.setdefault(context[at : at + SHARED], context) == context


@pytest.mark.parametrize("page", ["README.md", "README.en.md"])
def test_the_tables_say_what_is_there(page: str):
    groups = [paragraphs(split) for split in SPLITS]
    groups.append([paragraph for group in groups for paragraph in group])
    text = (DATA / page).read_text(encoding="utf-8")
    lines = re.findall(r"^\| [^|]+ \|((?: [\d.]+ \|){8})$", text, re.MULTILINE)
    assert len(lines) == len(groups)
    for line, group in zip(lines, groups, strict=True):
        lengths = [len(paragraph["context"]) for paragraph in group]
        answers = sorted(len(one["answers"][0]["text"]) for paragraph in group for one in paragraph["qas"])
        wanted = [len(group), len(answers), f"{sum(lengths) / len(lengths):.0f}", min(lengths), max(lengths)]
        wanted += [f"{sum(answers) / len(answers):.1f}", answers[len(answers) // 2], answers[-1]]
        assert line.strip(" |").split(" | ") == list(map(str, wanted))


@pytest.mark.parametrize("page", ["README.md", "README.en.md"])
def test_every_disagreement_is_settled_by_a_rule(page: str):
    held = {one["id"]: one for split in SPLITS for paragraph in paragraphs(split) for one in paragraph["qas"]}
    guide = (DATA / page).read_text(encoding="utf-8")
    header, *lines = (DATA / "disagreements.tsv").read_text(encoding="utf-8").splitlines()
    assert header.split("\t") == ["id", "question", "first", "second", "decision", "rule"] and len(lines) == 25
    for line in lines:
        name, question, first, second, decision, rule = line.split("\t")
        assert held[name]["question"] == question and f"- **{rule} " in guide
        assert held[name]["answers"][0]["text"] == {"first": first, "second": second}[decision]
    assert f"{400 - len(lines)} / 400" in guide
