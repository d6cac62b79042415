"""What the bytes of a text file mean: found alike for all inputs, told where it is odd, refused where it is no text."""

import gzip
import io
import os
import random
import sys
import threading
import tracemalloc
from itertools import product
from pathlib import Path

import pytest
from conftest import ROOT

from core.console import UserError
from core.text import decode
from core.text.decode import decode_line, open_text
from core.text.odd import is_garbled

TITLES = [line.rpartition("\t")[0] for line in (ROOT / "data/dev.txt").read_text(encoding="utf-8").splitlines()]
TRADITIONAL = ["臺灣棒球隊今日奪冠", "銀行利率維持不變", "手機晶片價格上漲", "颱風來襲學校停課"]


def read(content: bytes) -> tuple[list[str], list[str]]:
    """The lines and the warnings."""
    with open_text(io.BytesIO(content), "x.txt") as text:
        return list(text.lines()), text.warnings


def refusal(content: bytes) -> str:
    with pytest.raises(UserError) as fault:
        read(content)
    assert str(fault.value).startswith("x.txt ")
    return str(fault.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_one_encoding_throughout(encoding: str, end: str):
    lines = [*TITLES[:50], "", " 😀 café·堃喆，央行今日下调存款利率 ", "\u2028"]
    assert read(end.join(lines).encode(encoding)) == (lines, [])


@pytest.mark.parametrize("usual", ["utf-8", "gb18030"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_each_line_of_two_encodings_is_read_right_and_told(usual: str, end: bytes):
    other = {"utf-8": "gb18030", "gb18030": "utf-8"}[usual]
    encoded = [title.encode(other if row % 9 == 4 else usual) for row, title in enumerate(TITLES[:180])]
    lines, [warning] = read(end.join(encoded))
    assert lines == TITLES[:180]
    assert warning.startswith("20 line(s) in ") and "read as such" in warning


def test_lines_of_either_encoding_are_hardly_ever_taken_for_the_other():
    for title in TITLES:
        assert decode_line(title.encode(), "gb18030")[0] == title
        assert decode_line(title.encode("gb18030"), "utf-8")[0] == title
        assert decode_line(title.encode("gb18030"), "gb18030")[0] == title


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_few_broken_bytes_are_counted_and_spoil_their_own_line_alone(encoding: str):
    lines = [title.encode(encoding) for title in TITLES[:100]]
    lines[7], lines[30] = lines[7] + b"\xff", lines[30][:1] + b"\xff\xff" + lines[30][1:]
    got, [warning] = read(b"\n".join(lines))
    assert warning.startswith("2 line(s) with broken bytes")
    assert [row for row, (one, other) in enumerate(zip(got, TITLES, strict=False)) if one != other] == [7, 30]
    assert all("\ufffd" in got[row] for row in (7, 30))
    assert "neither UTF-8 nor GB18030" in refusal(b"\n".join(line[:9] + b"\xff" + line[9:] for line in lines))


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_lines_of_a_third_encoding_are_counted(encoding: str):
    lines = [title.encode(encoding) for title in TITLES[:100]] + [line.encode("big5") for line in TRADITIONAL[:4]]
    _, warnings = read(b"\n".join(lines))
    assert sum(int(warning.split()[0]) for warning in warnings) == 4
    assert not any("read as such" in warning for warning in warnings)


@pytest.mark.parametrize("encoding", ["big5", "utf-16", "utf-16-le", "utf-16-be"])
def test_other_encodings_are_refused_by_name(encoding: str):
    name = "Big5" if encoding == "big5" else "UTF-16"
    for lines in (TRADITIONAL, TRADITIONAL * 500, [",".join(TRADITIONAL).replace(",", "")]):
        assert f"is {name}: save it as UTF-8" in refusal("\n".join(lines).encode(encoding))


def test_traditional_characters_are_text_in_either_encoding():
    for encoding in ("utf-8", "gb18030"):
        assert read("\n".join(TRADITIONAL).encode(encoding)) == (TRADITIONAL, [])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress("央行\n".encode(), mtime=0), "compressed: unpack it first"),
        (b"PK\x03\x04rest of it", "an Excel workbook or a zip archive: save the sheet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an old Excel or Word file"),
        ("好\n坏\0的\n".encode(), "line 2 holds a NUL byte"),
        ("好\n坏\0的\n".encode("gb18030"), "line 2 holds a NUL byte"),
        (random.Random(0).randbytes(5000), "NUL"),
        (random.Random(0).randbytes(5000).replace(b"\0", b""), "neither UTF-8 nor GB18030"),
    ],
)
def test_what_is_no_text_is_refused(content: bytes, says: str):
    assert says in refusal(content)


@pytest.mark.parametrize(
    "content",
    [
        '{"text": "央行降息", "label": 0}\n{"text": "夺冠", "label": 1}\n',
        '\n [\n  {"title": "央行降息"},\n  {"title": "夺冠"}\n]',
        '["央行降息", "夺冠"]',
        '[["央行降息", 0], ["夺冠", 1]]',
        '[{"a\\"b" : "' + "x" * 3_000_000 + '"}]',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
def test_json_is_noticed(content: str, encoding: str):
    assert "is JSON: write its texts alone into a text file, one a line" in refusal(content.encode(encoding))


def test_titles_that_look_a_little_like_json_are_titles():
    lines = ["[图文]央行降息", '["硬核"科技]又来了', "{夺冠}", '"央行": "降息"', '  "夺冠", 他说']
    for line in lines:
        assert read(f"{line}\n夺冠".encode()) == ([line, "夺冠"], [])


def test_a_line_without_end_is_refused_by_its_number_and_no_more_of_it_is_held(tmp_path: Path):
    """In UTF-8, in GB18030, and among lines of the other one; its parts are read all the same."""
    long = "央行" + "体育新闻，" * 2_000_000
    for encoding, other in (("utf-8", "utf-8"), ("gb18030", "utf-8"), ("gb18030", "gb18030")):
        path = tmp_path / "long.txt"
        path.write_bytes("夺冠\r\n".encode(other) + f"{long}\r\n降息".encode(encoding))
        with open_text(path) as text, pytest.raises(UserError, match="long.txt line 2 is longer than 1,000,000 char"):
            tracemalloc.start()
            list(text.lines())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10_000_000
        with open_text(path) as text:
            parts = list(text.parts(10_000))
        assert "".join(parts) == f"夺冠\n{long}\n降息" and max(map(len, parts)) <= 10_000


def test_lines_are_whole_however_they_are_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decode, "LONGEST_LINE", 18)
    lines = ["央行" * 9, "", "央行下调存款准备金率"[:10], "\x20", "夺冠" * 9]
    for encoding, end in product(("utf-8", "utf-8-sig", "gb18030"), ("", "\n", "\r\n")):
        content = (end or "\n").join(lines).encode(encoding) + end.encode()
        assert read(content)[0] == lines
        mixed = content + b"\n" * (not end) + "夺冠".encode("gb18030" if encoding.startswith("utf") else "utf-8")
        assert read(mixed)[0] == [*lines, "夺冠"]
        assert "line 5 is longer than 18" in refusal(content.rstrip() + "！".encode(encoding.removesuffix("-sig")))


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes are POSIX")
def test_a_pipe_is_read_like_a_file(tmp_path: Path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    content = "\n".join(TITLES[:500]).encode("gb18030") + "\n夺冠".encode()
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    with open_text(path) as text:
        assert list(text.lines()) == [*TITLES[:500], "夺冠"]
    writer.join()


def test_files_put_together_with_their_boms():
    assert read(("\ufeff央行\n" * 3).encode()) == (["央行"] * 3, [])
    assert read("\ufeff央行\n".encode() * 2 + "降息\n".encode("gb18030"))[0] == ["央行", "央行", "降息"]


def test_a_file_is_read_from_where_it_stands():
    file = io.BytesIO("read before\n央行\n".encode())
    file.readline()
    with open_text(file, "x") as text:
        assert list(text.lines()) == ["央行"]


def test_text_garbled_before():
    garbled = [title.encode().decode("gb18030", "replace") for title in TITLES[:200]]
    assert all(map(is_garbled, garbled))
    assert not any(map(is_garbled, [*TITLES, *TRADITIONAL, "café 堃喆", "Ünïcödé", "안녕하세요", "涓涓细流"]))


def test_what_is_plain_is_not_looked_at_line_by_line_and_what_is_hopeless_not_to_its_end(monkeypatch):
    """So 50 MB take seconds, whatever is in them; the one odd line among many is found all the same."""
    looked = []
    monkeypatch.setattr(decode, "decode_line", lambda raw, usual: looked.append(raw) or decode_line(raw, usual))
    many = "央行下调存款准备金率\n".encode("gb18030") * 40_000
    with open_text(io.BytesIO(many), "x") as text:
        assert text.encoding == "gb18030" and not text.warnings and len(looked) == 1  # the head, for JSON
    odd = many + "主队加时绝杀夺冠\n".encode() + many
    with open_text(io.BytesIO(odd), "x") as text:
        assert text.warnings == ["1 line(s) in UTF-8 among those in GB18030, read as such"]
        assert len(looked) < 8_000
        assert list(text.lines()).index("主队加时绝杀夺冠") == 40_000
    looked.clear()
    noise = random.Random(0).randbytes(6_000_000).replace(b"\0", b"\n")
    with pytest.raises(UserError, match="neither"):
        open_text(io.BytesIO(noise), "x")
    assert 100 < len(looked) < noise.count(b"\n") / 2
