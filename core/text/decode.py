"""What the bytes of a text file mean, found once for all inputs: files, pipes, uploads.

A file is read line by line as UTF-8 or GB18030. Lines of the other of the two are read as what they are, a few broken
bytes become U+FFFD, and both are counted; anything else is refused by name.
"""

import codecs
import io
import math
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any, BinaryIO

from core.console import UserError
from core.text.strange import FOREIGN, count_strange, guess

CHUNK_BYTES = 1 << 20
BLOCK_BYTES = 1 << 16
LONGEST_LINE = 1_000_000  # characters; what is longer is no text of a line, and could fill the memory
MAX_STRANGE_SHARE = 1 / 4  # of the characters beyond ASCII; more of them is no Chinese text
HOPELESS = 1_000_000  # characters beyond ASCII, of which half are strange: the rest of the file is not looked at
UTF8, GB18030 = "utf-8", "gb18030"
SAVE_IT = "save it as UTF-8 (Excel: 'CSV UTF-8', Notepad: encoding 'UTF-8')"
PACKED = "compressed: unpack it first"
SIGNATURES = {
    **dict.fromkeys((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE), f"UTF-16: {SAVE_IT}"),
    b"PK\x03\x04": "an Excel workbook or a zip archive: save the sheet as 'CSV UTF-8', or unpack the archive",
    **dict.fromkeys((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf", b"Rar!"), PACKED),
    **dict.fromkeys((b"\xd0\xcf\x11\xe0", b"%PDF-"), "an old Excel or Word file, or a PDF: save it as text in UTF-8"),
}
STRING = r'"(?:[^"\\]|\\.)*"'
JSON_START = re.compile(rf"\s*(?:(?:\[\s*)*\{{\s*{STRING}\s*:|(?:\[\s*)+{STRING}\s*(?:,|\]\s*(?:,|\Z|\n)))")


class Text(AbstractContextManager):
    """A text file that was looked through: `encoding` of most of its lines, `warnings` in sentences, and its lines.

    Args:
        file: can be read again from where it stands; closed with the text.
        name: what the file is called in an error.
        may_be_json: whether JSON is taken for text too.

    Raises:
        UserError: it is not text, or in neither encoding.
    """

    def __init__(self, file: BinaryIO, name: str, may_be_json: bool = False) -> None:
        self.name, self._may_be_json = name, may_be_json
        self.warnings: list[str] = []
        self._file: IO[Any] = file  # of bytes; of text once `parts` gives them out
        self._start = file.tell()
        self._head = file.read(CHUNK_BYTES)
        self._start += 3 * self._head.startswith(codecs.BOM_UTF8)
        self.encoding, self._is_uniform = UTF8, True
        if not self._is_utf8():
            self._look_at_lines()

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def head(self) -> str:
        """Its beginning, as far as it was read at once."""
        return self._head.decode(self.encoding, "replace").removeprefix("\ufeff")

    def lines(self) -> Iterator[str]:
        """The lines without their ends, once.

        Raises:
            UserError: one is longer than `LONGEST_LINE`.
        """
        line, number = "", 1
        for part in chain(self.parts(BLOCK_BYTES), [""]):
            line += part
            if len(line) > LONGEST_LINE and len(line.rstrip("\n")) > LONGEST_LINE:
                raise UserError(
                    f"{self.name} line {number} is longer than {LONGEST_LINE:,} characters: write one text a line"
                )
            if line and (not part or part[-1] == "\n"):
                yield line.removeprefix("\ufeff").rstrip("\n")
                line, number = "", number + 1

    def parts(self, size: int) -> Iterator[str]:
        """The lines with their ends, once, each of more than `size` characters in several parts."""
        if not self._is_uniform:
            return (part for part, _, _ in self._decoded(size))
        self._file.seek(self._start)
        self._file = io.TextIOWrapper(self._file, encoding=self.encoding, errors="replace")
        return iter(partial(self._file.readline, size), "")

    def _looked_at(self) -> Iterator[tuple[str, str, int]]:
        """As `_decoded`, but lines of the usual encoding in which nothing is strange come many together, and fast."""
        start = self._start
        while True:
            self._file.seek(start)
            block = self._file.read(BLOCK_BYTES)
            block += self._file.readline(BLOCK_BYTES)
            if not block:
                return
            text = block.decode(self.encoding, "replace")
            if count_strange(text):
                yield from self._decoded(CHUNK_BYTES, start, start + len(block))
                start = self._file.tell()
            else:
                yield text, self.encoding, 0
                start += len(block)

    def _decoded(self, size: int, start: int | None = None, end: float = math.inf) -> Iterator[tuple[str, str, int]]:
        """The lines of a file not all in UTF-8 as `decode_line` reads them, a long one in parts of `size` bytes."""
        for raw in self._raw_lines(size, start, end):
            text, encoding, strange = decode_line(raw, self.encoding)
            if len(raw) < size or raw.endswith(b"\n"):
                if "\r" in text:
                    text = text.replace("\r\n", "\n").replace("\r", "\n")
                for part in io.StringIO(text):
                    yield part, encoding, strange if part == text else count_strange(part)
                continue
            decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)("replace"), translate=True)
            while raw:
                is_last = len(raw) < size or raw.endswith(b"\n")
                text = decoder.decode(raw, final=is_last)
                yield from ((part, encoding, count_strange(part)) for part in io.StringIO(text))
                raw = b"" if is_last else self._file.readline(size)

    def _raw_lines(self, size: int, start: int | None = None, end: float = math.inf) -> Iterator[bytes]:
        self._file.seek(self._start if start is None else start)
        while (end == math.inf or self._file.tell() < end) and (line := self._file.readline(size)):
            yield line

    def _is_utf8(self) -> bool:
        """Whether the whole file is UTF-8.

        Raises:
            UserError: it begins like a file of another kind, or holds a NUL byte.
        """
        chunk, lines, decoder = self._head, 1, codecs.getincrementaldecoder("utf-8-sig")()
        for signature, kind in SIGNATURES.items():
            if chunk.startswith(signature):
                is_text = b"\0" not in chunk or kind.startswith("UTF")
                what = "is" if is_text else "holds a NUL byte: this is not a text file but"
                raise UserError(f"{self.name} {what} {kind}")
        try:
            while chunk:
                text = decoder.decode(chunk)
                self._refuse_nul(text, lines)
                if lines == 1:
                    self._refuse_json(text)
                lines += chunk.count(b"\n")
                chunk = self._file.read(CHUNK_BYTES)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
        return True

    def _refuse_nul(self, text: str, line: int) -> None:
        if "\0" in text:
            if (other := guess(self._head)) and other.startswith("utf"):
                raise UserError(f"{self.name} is {FOREIGN[other]}: {SAVE_IT}")
            line += text[: text.index("\0")].count("\n")
            raise UserError(f"{self.name} line {line} holds a NUL byte: this is not a text file, or damaged: {SAVE_IT}")

    def _refuse_json(self, text: str) -> None:
        if not self._may_be_json and JSON_START.match(text):
            raise UserError(f"{self.name} is JSON: write its texts alone into a text file, one a line")

    def _look_at_lines(self) -> None:
        """Find the encoding of most lines, and count those that are otherwise.

        Raises:
            UserError: too much of the file is text in neither encoding.
        """
        valid = Counter(_is_valid(raw) for raw in self._raw_lines(CHUNK_BYTES) if not raw.isascii())
        self.encoding = UTF8 if valid[True] > valid[False] else GB18030
        self._refuse_json(decode_line(self._head, self.encoding)[0])
        characters = strange = lines = switched = broken = odd = 0
        for text, encoding, found in self._looked_at():
            self._refuse_nul(text, lines + 1)
            lines += max(1, text.count("\n"))
            beyond = len(text) - len(text.encode("ascii", "ignore"))
            characters, strange = characters + beyond, strange + found
            self._is_uniform &= encoding == self.encoding
            broken += found > 0 and "\ufffd" in text
            is_odd = found > beyond * MAX_STRANGE_SHARE and "\ufffd" not in text
            odd += is_odd
            switched += encoding != self.encoding and not is_odd
            if strange > max(HOPELESS, characters) / 2:
                break
        if strange > 1 + characters * MAX_STRANGE_SHARE or broken > 1 + lines // 20:
            kind = FOREIGN.get(guess(self._head) or "", "neither UTF-8 nor GB18030 text")
            raise UserError(f"{self.name} is {kind}: {SAVE_IT}")
        usual, other = ("UTF-8", "GB18030") if self.encoding == UTF8 else ("GB18030", "UTF-8")
        counts = {
            f"line(s) in {other} among those in {usual}, read as such": switched,
            "line(s) with broken bytes, read as U+FFFD": broken,
            "line(s) that do not look like Chinese, perhaps in a third encoding": odd,
        }
        self.warnings = [f"{count} {what}" for what, count in counts.items() if count]


def open_text(source: Path | BinaryIO, name: str | None = None, may_be_json: bool = False) -> Text:
    """Look through a text file, and be ready to read it; a pipe is copied to a temporary file first.

    Args:
        source: a path, or an open binary file; it is closed with the text.
        name: what it is called in an error; the path where there is one.
        may_be_json: whether JSON is taken for text too.

    Raises:
        UserError: it is missing, a folder, not text, or in neither encoding.
    """
    name = name or str(source)
    try:
        with ExitStack() as stack:  # closes on a fault
            file = stack.enter_context(source.open("rb") if isinstance(source, Path) else source)
            if not file.seekable():
                with file as pipe:
                    file = stack.enter_context(tempfile.TemporaryFile())
                    shutil.copyfileobj(pipe, file, CHUNK_BYTES)
                file.seek(0)
            text = Text(file, name, may_be_json)
            stack.pop_all()
            return text
    except FileNotFoundError:
        raise UserError(f"{name} does not exist: check the path") from None
    except OSError as fault:
        raise UserError(f"cannot read {name} ({fault.strerror}): check the path and its permissions") from fault


def decode_line(raw: bytes, usual: str) -> tuple[str, str, int]:
    """A line in whichever of the two encodings it makes more sense: its text, the encoding, its strange characters.

    Args:
        raw: the line in bytes.
        usual: the encoding of most lines of the file.
    """
    if raw.isascii():
        return raw.decode("ascii"), usual, 0
    text = raw.decode(usual, "replace")
    found = count_strange(text)
    if not found or (usual == UTF8 and _is_valid(raw)):
        return text, usual, found
    other = GB18030 if usual == UTF8 else UTF8
    other_text = raw.decode(other, "replace")
    other_found = count_strange(other_text)
    # What is UTF-8 throughout is hardly so by chance; half a character of UTF-8 is now and then one of GB18030.
    if other_found + (not (other == UTF8 and _is_valid(raw))) < found:
        return other_text, other, other_found
    return text, usual, found


def _is_valid(raw: bytes) -> bool:
    try:
        raw.decode(UTF8)
    except UnicodeDecodeError:
        return False
    return True
