"""Labelled files of every format give the same sentences; faulty ones are told in a sentence."""

import json
from pathlib import Path

import pytest

from core.console import UserError
from ner.formats import read_labelled
from ner.tags import Entity

TEXT, MEANT = "王芳在北京 🙂", [Entity(0, 2, "PER"), Entity(3, 5, "LOC")]
CONLL = "王 B-PER\n芳 I-PER\n在 O\n北 B-LOC\n京 I-LOC\n🙂 O\n"
ENGLISH = """-DOCSTART- -X- -X- O

Mr. NNP B-NP B-PER
Smith NNP I-NP I-PER
left VBD B-VP O
the DT B-NP O
U.N. NNP I-NP B-ORG
. . O O
"""


def write(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


@pytest.mark.parametrize(
    "content",
    [
        CONLL,
        CONLL.replace(" ", "\t"),
        "\n\n# a comment\n" + CONLL.replace(" ", "\t").replace("\n", "\r\n") + "\r\n\r\n",
        CONLL.replace("B-", "S-")
        .replace("S-PER", "B-PER")
        .replace("I-PER", "E-PER")
        .replace("S-LOC", "B-LOC")
        .replace("I-L", "E-L"),
        CONLL.replace("B-", "I-"),
        "\ufeff" + CONLL,
    ],
)
def test_conll_of_every_kind(content: str, tmp_path: Path):
    found = read_labelled(write(tmp_path / "train.txt", content))
    assert (found.texts, found.entities) == ([TEXT.replace(" ", "")], [MEANT])


def test_gb18030(tmp_path: Path):
    assert read_labelled(write(tmp_path / "a.txt", CONLL * 3, "gb18030")).entities[0][0] == MEANT[0]


def test_english_words_stand_apart_and_keep_their_columns(tmp_path: Path):
    found = read_labelled(write(tmp_path / "train.conll", ENGLISH))
    assert found.texts == ["Mr. Smith left the U.N. ."]
    assert [found.texts[0][start:end] for start, end, _ in found.entities[0]] == ["Mr. Smith", "U.N."]


@pytest.mark.parametrize(
    ("line", "is_token"),
    [
        ("#", False),
        ("#doc1", False),
        ("# Blood group O", False),
        ("#\tsource\tB-LOC", False),
        ("# O", True),
        ("#\tO", True),
        ("#\tB-MISC", True),
        ("#北京 B-MISC", True),
    ],
)
@pytest.mark.parametrize("before", ["", CONLL, CONLL.replace(" ", "\t")])
def test_a_line_that_begins_with_a_hash_is_a_comment_unless_it_is_a_token(
    line: str, is_token: bool, before: str, tmp_path: Path
):
    found = read_labelled(write(tmp_path / "train.txt", f"{before}{line}\n{CONLL}"))
    assert ("#" in found.texts[0], found.counts["comment(s), skipped"]) == (is_token, not is_token)
    assert ("MISC" in {entity.label for entity in found.entities[0]}) == (is_token and "MISC" in line)


def test_a_hash_among_words_of_four_columns_is_a_token(tmp_path: Path):
    found = read_labelled(write(tmp_path / "train.conll", ENGLISH + "# # B-NP O\n# O\n#doc2\n"))
    assert found.texts[0].endswith("U.N. . #") and found.counts["comment(s), skipped"] == 2


def test_half_a_surrogate_pair_is_a_lost_character(tmp_path: Path):
    """In a text, a type or a name, as nothing that is written or handed to C could hold it; places stay."""
    spans = [{"start": 0, "end": 3, "label": "PER\ud83d", "text": "王芳\ud83d"}, {"start": 5, "end": 7, "label": "LOC"}]
    ours = {"text": "王芳\ud83d在🙂北京", "entities": spans}
    theirs = {"text": ours["text"], "label": {"LOC": {"北京": [[5, 6]]}, "PER\ud83d": {"王芳\ud83d": [[0, 2]]}}}
    found = read_labelled(write(tmp_path / "a.jsonl", f"{json.dumps(ours)}\n{json.dumps(theirs)}\n"))
    assert found.texts == ["王芳\ufffd在🙂北京"] * 2
    assert found.entities == [[Entity(0, 3, "PER\ufffd"), Entity(5, 7, "LOC")]] * 2


def test_json_lines_and_those_of_cluener(tmp_path: Path):
    spans = [{"start": 3, "end": 5, "label": "LOC", "text": "北京"}, {"start": 0, "end": 2, "label": "PER"}]
    ours = json.dumps({"text": TEXT, "entities": spans}, ensure_ascii=True)
    theirs = json.dumps({"text": TEXT, "label": {"LOC": {"北京": [[3, 4]]}, "PER": {"王芳": [[0, 1]]}}})
    found = read_labelled(write(tmp_path / "train.jsonl", f"{ours}\n\n{theirs}\n"))
    assert found.texts == [TEXT, TEXT] and found.entities == [MEANT, MEANT]
    assert len(read_labelled(tmp_path / "train.jsonl", limit=1).texts) == 1


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"text": TEXT}, "'entities' is missing"),
        ({"text": 3, "entities": []}, "text is not a string"),
        ({"text": TEXT, "entities": [{"start": 5, "end": 9, "label": "A"}]}, "5 to 9 is not within its 7 characters"),
        ({"text": TEXT, "entities": [{"start": 2, "end": 2, "label": "A"}]}, "2 to 2 is not within"),
        ({"text": TEXT, "entities": [{"start": "0", "end": 2, "label": "A"}]}, "must be whole numbers"),
        ({"text": TEXT, "entities": [{"start": 0, "end": 1, "label": "A", "text": "芳"}]}, "'芳' is not at 0 to 1"),
        *(
            ({"text": TEXT, "label": {"PER": {"王芳": [place]}}}, "must be whole numbers")
            for place in ([0.0, 1.0], [False, True], ["0", "1"], [0, None])
        ),
        ({"text": TEXT, "label": {"PER": {"王芳": [[0, 2]]}}}, "'王芳' is not at 0 to 3, where '王芳在' stands"),
        ({"text": TEXT, "label": {"PER": {"王芳": [[0, 7]]}}}, "0 to 8 is not within its 7 characters"),
        ({"text": TEXT, "label": {" ": {"王芳": [[0, 1]]}}}, "and label a name"),
        ({"text": TEXT, "label": {"PER": {"王芳": [0, 1]}}}, "unpack"),
        ('{"text": ' + "[" * 200_000, "recursion"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_bad_rows_are_listed(row: dict | str, says: str, tmp_path: Path):
    line = row if isinstance(row, str) else json.dumps(row)
    path = write(tmp_path / "train.jsonl", json.dumps({"text": "好", "entities": []}) + "\n" + line + "\n")
    with pytest.raises(UserError, match="1 bad line") as refusal:
        read_labelled(path)
    assert "line 2: " in str(refusal.value) and says in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("今天天气\n很好\n", "has no line with a tag"),
        ("", "has no labelled sentence"),
        ('{\n "data": [\n  {}\n ]\n}\n', r"no line with a labelled sentence: .*; its first: line 1: [^\n]*$"),
        ("王 B-PER\n芳 E-PER\n\n李 B-PER\n四 L-PER\n", "mix schemes"),
        (CONLL + "没有标签\n", r"line 7: no tag such as O or B-LOC at its end: '没有标签'"),
    ],
)
def test_what_is_no_labelled_file_is_refused(content: str, says: str, tmp_path: Path):
    with pytest.raises(UserError, match=says):
        read_labelled(write(tmp_path / "train.txt", content))


def test_what_can_be_mended_is_counted(tmp_path: Path):
    found = read_labelled(write(tmp_path / "a.txt", "\tO\n \u3000\tO\n王\tB-PER\n芳\tI-PER\n\n京\tI-LOC\n"))
    assert found.texts == ["王芳", "京"] and found.entities[1] == [Entity(0, 1, "LOC")]
    assert sorted(found.counts.values()) == [1, 2]  # one tag without B-, two empty tokens
    spans = [
        {"start": 0, "end": 4, "label": "A"},
        {"start": 1, "end": 2, "label": "B"},
        {"start": 4, "end": 6, "label": "B"},
    ]
    row = json.dumps({"text": "王芳北京 市", "entities": spans})
    found = read_labelled(write(tmp_path / "a.jsonl", row + '\n{"text": " ", "entities": []}\n'))
    assert found.entities == [[Entity(0, 4, "A"), Entity(5, 6, "B")]]
    assert [count for count in found.counts.values() if count] == [1, 1, 1]


def test_a_line_of_a_hundred_thousand_characters_is_read_whole(tmp_path: Path):
    row = {"text": "好" * 100_000 + "王芳", "entities": [{"start": 100_000, "end": 100_002, "label": "PER"}]}
    found = read_labelled(write(tmp_path / "a.jsonl", json.dumps(row, ensure_ascii=False)))
    assert len(found.texts[0]) == 100_002 and found.entities == [[Entity(100_000, 100_002, "PER")]]
