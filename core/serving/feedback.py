"""What users say was wrong, kept for the next training: a CSV file with the columns text and label.

`python utils.py import --add` reads it. Where it is full it is put aside as FILE.1, the one before as FILE.2; the
oldest of them goes. Several workers write to the same file, and any of them knows the last texts of the others.
"""

import csv
import io
import json
import mmap
import os
import struct
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from core.answers import text_fault
from core.console import UserError
from core.serving.answers import ApiError
from core.serving.questions import Question
from core.tables.cells import inert
from core.text.tokenizer import replace_surrogates

FILE_BYTES = 10 << 20
OLDER_FILES = 4
RECENT = 4096  # requests whose text is known by their id
SLOT = struct.Struct("12sHH1008s")  # id, number of the model, bytes of the text, the text; a longer one is not kept
LONGEST = 10_000  # characters


def check_feedback(name: str, questions: Mapping[str, Question]) -> None:
    """Refuse feedback for a model that could not be trained on it.

    Raises:
        ApiError: it is such a one; models that take feedback are named.
    """
    if questions[name].takes_feedback:
        return
    others = [json.dumps(each, ensure_ascii=False) for each in questions if questions[each].takes_feedback]
    told = f'要反馈的是别的模型时，请写 "model": {" 或 ".join(others)}' if others else "这里也没有别的模型收反馈"
    raise ApiError(422, "no_feedback", f"模型 {name}（{questions[name].called}）不收反馈，一个类别不够它学习：{told}")


class Feedback:
    """The file, and the texts of the last requests.

    Args:
        path: the file; its folder is made.
        recent: a file that the workers share for the texts; None: the memory of this process.

    Raises:
        UserError: it cannot be written.
    """

    def __init__(self, path: Path, recent: Path | None = None) -> None:
        self._path, size = path, RECENT * SLOT.size
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("ab").close()
            if recent is None:
                self._recent = mmap.mmap(-1, size)
            else:
                with recent.open("ab") as file:
                    file.truncate(size)
                with recent.open("r+b") as file:
                    self._recent = mmap.mmap(file.fileno(), size)
        except OSError as fault:
            raise UserError(f"--feedback {path} cannot be written ({fault.strerror}): name another file") from fault
        self._lock = FileLock(f"{path}.lock", timeout=5)

    def remember(self, request_id: str, text: str, model: int) -> None:
        """Keep the text of a request, and which model answered it, until as many others have come."""
        data = text.encode("utf-8", "replace")
        if len(data) <= 1008:
            SLOT.pack_into(self._recent, self._place(request_id), request_id.encode(), model, len(data), data)

    def _place(self, request_id: str) -> int:
        return int(request_id, 16) % RECENT * SLOT.size

    def recall(self, request_id: Any) -> tuple[str, int] | None:
        """The text of a request and the model that answered it; None where it is not known any more."""
        try:
            found, model, size, data = SLOT.unpack_from(self._recent, self._place(request_id))
            return (data[:size].decode("utf-8"), model) if found == request_id.encode() else None
        except (ValueError, TypeError):  # no id of ours
            return None

    def read(self, body: dict[str, Any], labels: Collection[str]) -> tuple[str, str]:
        """The text and the label of a request.

        Raises:
            ApiError: one of them is missing, or not usable.
        """
        text, label, request_id = (body.get(name) for name in ("text", "label", "request_id"))
        if not isinstance(label, str) or label not in labels:
            raise ApiError(422, "unknown_label", f"label 应为模型的类别之一：{'、'.join(sorted(labels))[:500]}")
        if text is None and isinstance(request_id, str):
            if (known := self.recall(request_id)) is None:
                raise ApiError(404, "unknown_request", "不记得这个 request_id 的文字：请改为发送 text 和 label")
            text = known[0]
        if not isinstance(text, str) or text_fault(text):
            raise ApiError(
                422, "text_missing", '请发送 {"request_id": "…", "label": "…"} 或 {"text": "…", "label": "…"}'
            )
        if len(text) > LONGEST:
            raise ApiError(413, "text_too_long", f"文字有 {len(text)} 个字，最多 {LONGEST} 个：请缩短后再试")
        return replace_surrogates(text), label

    def append(self, text: str, label: str) -> None:
        """Add a row; a full file is put aside first."""
        row = io.StringIO(newline="")
        csv.writer(row).writerow([inert(text), inert(label)])
        data = row.getvalue().encode("utf-8", "replace")
        with self._lock:
            size = self._path.stat().st_size if self._path.exists() else 0
            if size + len(data) > FILE_BYTES:
                for number in range(OLDER_FILES, 0, -1):
                    older = self._older(number - 1)
                    if older.exists():
                        older.replace(self._older(number))
                size = 0
            with self._path.open("a+b") as file:
                if not size:
                    data = b"\xef\xbb\xbftext,label\r\n" + data
                elif file.seek(-1, os.SEEK_END) and file.read(1) != b"\n":  # half a row of a process that was killed
                    data = b"\r\n" + data
                file.write(data)

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path
