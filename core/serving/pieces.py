"""The words and characters that a model sees in a text: POST /pieces.

Who wants to know what a class hangs on leaves out one piece of the text after the other and predicts again.
"""

import json
import re
from collections.abc import Mapping
from threading import Lock
from typing import Any

from core.serving.answers import ApiError
from core.serving.openapi import ASK_PIECES
from core.serving.questions import read_texts, text_error
from core.text.tokenizer import Tokenizer

WHOLE = re.compile(r"[A-Za-z]+|[0-9][0-9.,:%]*")  # a Latin word or a number, however many tokens it has


class Pieces:
    """Cuts texts as the tokenizers of some models do; these are made when they are first asked for.

    Args:
        facts: of the models, by name.
        max_chars: characters allowed in a text.
    """

    def __init__(self, facts: Mapping[str, Mapping[str, Any]], max_chars: int) -> None:
        self._facts, self._max_chars, self._lock = facts, max_chars, Lock()
        self._tokenizers: dict[str, Tokenizer] = {}

    def read(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request about a model: its "text" and the "pieces" of that, blanks left out.

        Raises:
            ApiError: the text is none, or too long.
        """
        if "text" not in body:
            raise ApiError(422, "text_missing", f"缺少 text：请发送 {json.dumps(ASK_PIECES, ensure_ascii=False)}")
        if isinstance(body["text"], list):
            raise ApiError(422, "one_text", "text 应为一段文字，不能是列表：请一条一条发送")
        [text] = read_texts(dict(body), 1)
        if fault := text_error(text, self._max_chars):
            raise fault
        with self._lock:
            if name not in self._tokenizers:
                self._tokenizers[name] = Tokenizer.from_facts(self._facts[name])
        return {"text": text, "pieces": split(self._tokenizers[name], str(text))}


def split(tokenizer: Tokenizer, text: str) -> list[str]:
    """The tokens of a text as they stand in it, Latin words, numbers, and characters of several tokens whole."""
    inside = {index for found in WHOLE.finditer(text) for index in range(found.start() + 1, found.end())}
    pieces: list[list[int]] = []
    for start, end in tokenizer.spans(text):
        if pieces and (start in inside or start < pieces[-1][1]):
            pieces[-1][1] = end
        else:
            pieces.append([start, end])
    return [text[start:end] for start, end in pieces]
