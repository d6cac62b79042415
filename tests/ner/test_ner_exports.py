"""What doccano and Label Studio export is read as it comes, and told from what is no such file."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.console import UserError
from ner import formats
from ner.formats import read_labelled
from ner.tags import Entity

TEXT = "王芳在北京 🙂"
MEANT = [Entity(0, 2, "PER"), Entity(3, 5, "LOC")]
LISTS = [[start, end, label] for start, end, label in MEANT]
OFFSETS = [
    {"id": number, "label": label, "start_offset": start, "end_offset": end}
    for number, (start, end, label) in enumerate(MEANT)
]
VALUES = [{"start": start, "end": end, "text": TEXT[start:end], "labels": [label]} for start, end, label in MEANT]
REGIONS = [{"id": "a", "from_name": "label", "to_name": "text", "type": "labels", "value": value} for value in VALUES]
RELATION = {"from_id": "a", "to_id": "b", "type": "relation", "direction": "right"}
MIN = {"id": 1, "annotator": 1, "annotation_id": 1}
EMPTY = {"text": "好", "entities": []}


def annotated(*results: list[Any] | None, **data: Any) -> dict[str, Any]:
    """A task of Label Studio's JSON; None: an annotation that was cancelled."""
    annotations = [{"result": own or [], "was_cancelled": own is None} for own in results]
    return {"id": 1, "annotations": annotations, "drafts": [], "predictions": [], "data": data or {"text": TEXT}}


def write(path: Path, content: Any, indent: int | None = None) -> Path:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=indent)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "row",
    [
        {"id": 1, "text": TEXT, "label": LISTS},
        {"id": 1, "text": TEXT, "labels": LISTS, "Comments": []},
        {"id": 1, "data": TEXT, "label": LISTS},
        {"id": 1, "text": TEXT, "entities": OFFSETS, "relations": [], "Comments": []},
        {"text": TEXT, "label": VALUES, **MIN},
        {"text": TEXT, "ner": VALUES, "mood": ["good"], **MIN},
        annotated(REGIONS),
        annotated(None, [*REGIONS, RELATION], []),
        annotated(REGIONS, sentence=TEXT, number=7),
        annotated(REGIONS, text=TEXT, source="a.txt"),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_exports_are_read_as_lists_and_as_lines(row: dict[str, Any], indent: int | None, tmp_path: Path):
    lines = write(tmp_path / "train.jsonl", f"{json.dumps(row)}\n" * 2)
    listed = write(tmp_path / "train.json", [row, row], indent)
    for path in (lines, listed, write(tmp_path / "bom.json", "\ufeff\n" + listed.read_text(encoding="utf-8"))):
        found = read_labelled(path)
        assert (found.texts, found.entities) == ([TEXT] * 2, [MEANT] * 2)
    assert len(read_labelled(listed, limit=1).texts) == 1


def test_what_nobody_labelled_is_no_sentence_without_entities(tmp_path: Path):
    tasks = [annotated(), annotated(None), annotated([]), {"text": TEXT, **MIN}, {"text": TEXT, "label": []}]
    found = read_labelled(write(tmp_path / "train.json", tasks))
    assert found.entities == [[]] * 3 and found.counts["task(s) without an annotation, skipped"] == 2


def test_spaces_and_line_ends_of_a_name_are_as_label_studio_writes_them(tmp_path: Path):
    values = [{"start": 0, "end": 5, "text": "王 芳", "labels": ["PER"]}]
    values += [{"start": 6, "end": 9, "text": "北\\n京", "labels": ["LOC", "GPE"]}]
    found = read_labelled(write(tmp_path / "train.json", [{"text": "王   芳在北\n京", "label": values}]))
    assert found.entities == [[Entity(0, 5, "PER"), Entity(6, 9, "LOC")]]
    assert found.counts["entities within or across a longer one, dropped"] == 1


def test_a_list_is_longer_than_a_line_may_be_but_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "train.json", [annotated(REGIONS)] * 4_000)
    assert path.stat().st_size > 1_000_000 and len(read_labelled(path).texts) == 4_000
    monkeypatch.setattr(formats, "MOST_CHARACTERS", 1_000)
    with pytest.raises(UserError, match="more than 1,000 characters"):
        read_labelled(path)


@pytest.mark.parametrize("first", ["[", "[CLS]", "[]", "[{"])
def test_a_bracket_may_be_a_token_of_conll(first: str, tmp_path: Path):
    assert read_labelled(write(tmp_path / "train.txt", f"{first} O\n王 B-PER\n")).texts[0].startswith(first)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (3, "it is no JSON object"),
        ({"text": TEXT, "label": "体育"}, "label is no list of places"),
        ({"text": TEXT, "label": ["体育"]}, "'体育' is no place"),
        ({"text": TEXT, "label": [[0, 2]]}, r"\[0, 2\] is no place"),
        ({"text": TEXT, "label": [[0, 99, "PER"]]}, "0 to 99 is not within its 7 characters"),
        ({"text": TEXT, "entities": [{"label": "PER", "start_offset": 0}]}, "'end' is missing"),
        ({"text": TEXT, "label": [{**VALUES[0], "start": 1}]}, "'王芳' is not at 1 to 2, where '芳' stands"),
        ({"text": TEXT, "label": [{**VALUES[0], "labels": []}]}, "labels must be a list of names"),
        ({"text": TEXT, **MIN, "label": None}, "label is no list of places"),
        (
            annotated(REGIONS, a="一", b="二"),
            "its data have no text, but 2 strings: call the one that is labelled text",
        ),
        (annotated([{"type": "hypertextlabels", "value": {}}]), "its regions are hypertextlabels"),
        (annotated([{"type": "labels"}]), "'value' is missing"),
        ({"data": {"text": TEXT}, "annotations": [7]}, "annotations is no list of objects"),
        ({"annotations": []}, "'text' is missing"),
    ],
)
def test_a_bad_line_or_task_is_named(row: Any, says: str, tmp_path: Path):
    lines = f"{json.dumps(EMPTY)}\n{json.dumps(row)}\n"
    with pytest.raises(UserError, match=rf"1 bad line\(s\).*\n  line 2: {says}"):
        read_labelled(write(tmp_path / "train.jsonl", lines))
    with pytest.raises(UserError, match=rf"1 bad task\(s\).*\n  task 2: {says}"):
        read_labelled(write(tmp_path / "train.json", [EMPTY, row]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('[{"text": "好"', "begins like a JSON list, and is none"),
        ("[" + '{"a":' * 200_000, "begins like a JSON list, and is none"),
        ("[]", "has no labelled sentence"),
        ([{"a": 1}, {"a": 2}], "has no task with a labelled sentence: .*; its first: task 1: 'text' is missing"),
        ([annotated(), annotated()], "has no labelled sentence"),
    ],
    ids=["cut", "deep", "empty", "other", "unlabelled"],
)
def test_a_list_that_is_no_labelled_file_is_refused(content: Any, says: str, tmp_path: Path):
    with pytest.raises(UserError, match=says):
        read_labelled(write(tmp_path / "train.json", content))
