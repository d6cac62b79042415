"""What a visitor gives to the page as a file or a pasted table: read within bounds, its faults told in Chinese."""

import csv
import io
import re
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import PurePath
from typing import Any
from zipfile import BadZipFile, ZipFile

from core.console import UserError
from core.tables.cells import cell_text
from core.tables.columns import LABEL_NAMES, TEXT_NAMES, letter, name_columns
from core.tables.formats import SAVE_AS, SHEETS, TABLES
from core.tables.read import open_table
from core.text.decode import CHUNK_BYTES, open_text
from core.text.names import name_key

MAX_ROWS = 200_000
MAX_COLUMNS = 200
MAX_CELLS = 2_000_000  # of all rows; a blank row counts as one
MAX_CHARACTERS = 30_000_000  # of all cells
MAX_UNPACKED = 100_000_000  # bytes of a workbook
MAX_TAGS = 2_800_000  # of its XML, four or more for a cell; each element stays in memory for a while
MAX_WHOLE_TAGS = 300_000  # of those parts that are not read bit by bit
STREAMED = ("worksheets/", "sharedStrings")
SECONDS = 8  # of the processor
LOOK_ROWS = 1000  # that tell whether lines are a table
TAB = "\t"
SUFFIXES = (".txt", *TABLES, *SAVE_AS)  # of what may be uploaded, if only to be told how to save it otherwise
WIDE = f"这个文件的一行有 {MAX_COLUMNS} 列以上：请只留下标题和标签两列，或把标题另存为 TXT（每行一条）"
HUGE = "这个文件太大（{}）：请只留下标题和标签两列，分成几个文件，或用命令 python predict_fun.py --file"
MANY = f"超过 {MAX_ROWS:,} 条：请分成几个文件，或用命令 python predict_fun.py --file"
SMALLER = "另存为 CSV 可以大得多"
NO_TEXT = "读不出这个文件：请另存为 UTF-8 文本（Excel 选“CSV UTF-8”，记事本把编码选为 UTF-8）"
SAID = {  # what the readers of files say, and how the page says it
    r"row (\d+) has (\d+) cells, and the table (\d+) columns": r"第 \1 行有 \2 格，表头只有 \3 列："
    '标题里有逗号或制表符时，要用引号括起来（"…"），或用 Excel 另存为 XLSX',
    r"line (\d+) opens a quote that is never closed": r"第 \1 行的引号没有配对："
    '标题以 " 开头时，要写成 """…"，或另存为 XLSX',
    r"line (\d+) is longer than ([\d,]+)": r"第 \1 行超过 \2 个字：每条标题应各占一行",
    r"row of more than|different keys": WIDE,
    r"line (\d+) is no JSON": r'第 \1 行不是 JSON 对象：每行应是 {"title": "…"} 这样的一个对象',
    r"is JSON": "这是 JSON，不是每行一条的文字：请把标题另存为 TXT（每行一条）、CSV 或 JSONL（每行一个对象）",
    r"holds no row|no row": "文件里没有标题：请每行写一条",
    r"protected by a password": "这个工作簿有密码，或是旧的 .xls 格式：请用 Excel 打开，去掉密码，另存为 XLSX",
    r"no Excel workbook": "这不是 Excel 工作簿，或文件坏了：请用 Excel 打开，另存为 XLSX",
    r"no Parquet file": "这不是 Parquet 文件，或文件坏了：请重新生成",
    r"needs (\w+): run": r"服务器上没有读这种表格的库 \1：请另存为 CSV 再上传",
    r" is (an old Excel|a WPS|an OpenDocument|a Numbers) ": "读不了这种表格：请用 Excel 或 WPS 打开，另存为 XLSX",
    r"sheet '(.+?)' is read, not (.+): see": r"读的是工作表“\1”，没有读 \2：要读别的，请把它单独另存为一个文件",
    r"(\d+) row\(s\) above the header": r"列名上面的 \1 行没有读",
    r"(\d+) cell\(s\) of sheet '(.+?)' hold formulas": r"工作表“\2”有 \1 格的公式没有算出来的值，读作空格："
    "请用 Excel 打开，保存，再上传",
}


@dataclass(frozen=True)
class Sheet:
    """A table or lines as they were given.

    Attributes:
        columns: names.
        rows: cells, one for each column.
        headed: whether the columns bear the names of its first row; None: it is not a matter of opinion.
        notes: what the visitor should know, in Chinese.
    """

    columns: list[str]
    rows: list[list[Any]]
    headed: bool | None = None
    notes: tuple[str, ...] = ()

    def with_header(self, headed: bool) -> "Sheet":
        """The same, with its first row taken for names of columns, or for a row like others."""
        if self.headed in (None, headed):
            return self
        if headed:
            columns, rows = name_columns(self.rows[0], len(self.columns)), self.rows[1:]
        else:
            columns, rows = [letter(index) for index in range(len(self.columns))], [self.columns, *self.rows]
        return replace(self, columns=columns, rows=rows, headed=headed)


class _Timed(io.BytesIO):
    """The content of a file, which is read for some seconds and no longer."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._end = time.thread_time() + SECONDS

    def check(self) -> None:
        if time.thread_time() > self._end:
            raise UserError(HUGE.format(f"读了 {SECONDS} 秒还没有读完"))

    def read(self, *size: int) -> bytes:
        self.check()
        return super().read(*size)

    def read1(self, *size: int) -> bytes:
        self.check()
        return super().read1(*size)

    def readline(self, *size: int) -> bytes:
        self.check()
        return super().readline(*size)


def read_upload(content: bytes, name: str) -> Sheet:
    """The rows of a file: a table of any format that its name says, else a title a line.

    Lines with a tab in each are a table too, where all have as many, or more than one names its columns; else the last
    tab parts a title from its label.

    Raises:
        UserError: it cannot be read, is too large, or has no title; in Chinese.
    """
    suffix = PurePath(name).suffix.lower()
    file = _Timed(content)
    try:
        if suffix in (*TABLES, *SAVE_AS):
            _refuse_bomb(content, suffix)
            sheet = _read_table(file, f"x{suffix}")
        else:
            sheet = _read_lines(file, content)
    except UserError as fault:
        raise UserError(in_chinese(str(fault)) or NO_TEXT) from fault
    if not any(cell_text(cell).strip() for row in sheet.rows for cell in row):
        alone = "除了列名，" if sheet.headed else ""
        raise UserError(f"{alone}文件里没有标题：请每行写一条")
    return sheet


def read_pasted(text: str) -> Sheet:
    """The rows of pasted text: cells of a spreadsheet, which come with tabs between, or a title a line."""
    content = text.encode("utf-8", "replace")
    return read_upload(content, "x.tsv" if _width(text.splitlines()) > 1 else "x.txt")


def in_chinese(said: str) -> str:
    """What a reader said, as the page says it; what is Chinese stays, and "" stands for what has no translation."""
    for pattern, chinese in SAID.items():
        if found := re.search(pattern, said):
            return found.expand(chinese)
    return said if "请" in said else ""


def _width(lines: Sequence[str]) -> int:
    """How many cells, with tabs between, each row of the first lines has; 1: not all have as many."""
    lines = [line for line in lines[:LOOK_ROWS] if line.strip()]
    try:
        widths = {len(row) for row in csv.reader(lines, delimiter=TAB, strict=True)}
    except csv.Error:  # quotes are characters like others
        widths = {line.count(TAB) + 1 for line in lines}
    return widths.pop() if len(widths) == 1 else 1


def _read_lines(file: _Timed, content: bytes) -> Sheet:
    with open_text(file, "x.txt") as text:
        lines = list(islice(text.lines(), MAX_ROWS + 2))
    width = _width(lines)
    known = {name_key(name) for name in (*TEXT_NAMES, *LABEL_NAMES)}
    if width > 2 or (width == 2 and any(name_key(cell) in known for cell in lines[0].split(TAB))):
        return _read_table(_Timed(content), "x.tsv")
    if len(lines) > MAX_ROWS:
        raise UserError(MANY)
    if all(TAB in line for line in lines[:LOOK_ROWS] if line.strip()):
        return Sheet(["标题", "标签"], [[*line.rpartition(TAB)[::2]] if TAB in line else [line, ""] for line in lines])
    return Sheet(["标题"], [[line] for line in lines])


def _read_table(file: _Timed, name: str) -> Sheet:
    rows: list[list[Any]] = []
    cells = characters = 0
    with open_table(file, name) as table:
        if len(table.columns) > MAX_COLUMNS:
            raise UserError(WIDE)
        for row in table.rows:
            row = [cell_text(cell) if isinstance(cell, list | dict | bytes) else cell for cell in row]
            cells += len(row)
            characters += sum(len(cell) for cell in row if isinstance(cell, str))
            if len(rows) >= MAX_ROWS:
                raise UserError(MANY)
            if cells > MAX_CELLS or characters > MAX_CHARACTERS:
                limit = f"{MAX_CELLS:,} 格" if cells > MAX_CELLS else f"{MAX_CHARACTERS:,} 个字"
                raise UserError(HUGE.format(f"超过 {limit}"))
            if len(rows) % 256 == 0:
                file.check()
            rows.append(row)
        notes = tuple(filter(None, map(in_chinese, table.warnings)))
        is_laid_out = PurePath(name).suffix.lower() not in (".jsonl", ".parquet")
        return Sheet(table.columns, rows, table.first_row > 1 if is_laid_out else None, notes)


def _refuse_bomb(content: bytes, suffix: str) -> None:
    """Refuse a workbook that is far larger than its file, or made of more tags than can be read in time."""
    if suffix not in SHEETS:
        return
    tags = whole = 0
    is_wide = False
    try:
        with ZipFile(io.BytesIO(content)) as archive:
            parts = [part for part in archive.infolist() if "media/" not in part.filename]
            if sum(part.file_size for part in parts) > MAX_UNPACKED:
                raise UserError(HUGE.format(f"解开后超过 {MAX_UNPACKED // 1_000_000} MB；{SMALLER}"))
            for part in parts:
                found = rows = 0
                with archive.open(part) as file:
                    for chunk in iter(partial(file.read, CHUNK_BYTES), b""):
                        found, rows = found + chunk.count(b"<"), rows + chunk.count(b"row")
                tags += found
                whole += found * (not any(word in part.filename for word in STREAMED))
                is_wide |= "worksheets/" in part.filename and found > 100_000 + 6 * MAX_COLUMNS * rows
    except (BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError):
        return  # which is told by whoever opens it
    if is_wide:
        raise UserError(WIDE)
    if tags > MAX_TAGS or whole > MAX_WHOLE_TAGS:
        raise UserError(HUGE.format(f"一个工作簿里最多约 60 万格；{SMALLER}"))
