"""Many titles on their way through one model or several, in a thread that can be stopped and set going again."""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

CHUNK = 100  # titles in a request
TRIES = 4  # of a chunk, halved where it was too much
WAITS = (0.5, 1, 2)  # seconds before each further try, or what the server asks for
MAX_FAILURES = 3  # chunks in a row: then the server is gone, and the run waits for the user
UNWATCHED_SECONDS = 600  # after which a run that nobody looks at stops
NOT_ASKED, REFUSED, FAILED = -1, -2, -3
TOO_MUCH = {413, 504}
PASSING = {429, 500, 502, 503, 504}

Ask = Callable[[Sequence[str], str, int], dict[str, Any]]


class ModelAnswers:
    """One model's answers, row by row: `codes` are indices into `labels`, or why there is no class.

    `next_codes` and `next_confidence`, (rows, top_k - 1), are of the classes that are next in likelihood; -1: none.
    """

    def __init__(self, rows: int, labels: Sequence[str], top_k: int) -> None:
        self.labels = list(labels)
        self._code_of = {name: code for code, name in enumerate(self.labels)}
        self.codes = np.full(rows, NOT_ASKED, np.int16)
        self.confidence = np.zeros(rows)
        self.next_codes = np.full((rows, top_k - 1), -1, np.int16)
        self.next_confidence = np.zeros((rows, top_k - 1))
        self.truncated = np.zeros(rows, bool)
        self.errors: dict[int, str] = {}
        self._chunk_ms: list[float] = []  # a title, by chunk

    @property
    def answered(self) -> np.ndarray:
        """Which rows have a class."""
        return self.codes >= 0

    @property
    def ms(self) -> float | None:
        """Milliseconds the server took for a title, the median over the chunks."""
        return statistics.median(self._chunk_ms) if self._chunk_ms else None

    def label(self, row: int) -> str:
        """The class of a row, "" where there is none."""
        return self.labels[self.codes[row]] if self.codes[row] >= 0 else ""

    def record(self, rows: Sequence[int], answer: dict[str, Any]) -> None:
        """Keep what the server says of some rows."""
        self._chunk_ms.append(answer["elapsed_ms"] / len(rows))
        for row, item in zip(rows, answer["predictions"], strict=True):
            if "error" in item:
                self.codes[row], self.errors[row] = REFUSED, item["error"]
                continue
            self.codes[row] = self.code(item["pred_class"])
            self.confidence[row], self.truncated[row] = item["confidence"], item["truncated"]
            for rank, share in enumerate(item["top_k"][1 : 1 + self.next_codes.shape[1]]):
                self.next_codes[row, rank] = self.code(share["pred_class"])
                self.next_confidence[row, rank] = share["confidence"]

    def code(self, label: str) -> int:
        """The index of a class among the labels, to which it is added where another model was started in the middle."""
        if label not in self._code_of:
            self._code_of[label] = len(self.labels)
            self.labels.append(label)
        return self._code_of[label]

    def fail(self, rows: Sequence[int], error: str) -> None:
        """Keep that the server could not be asked about some rows."""
        self.codes[list(rows)] = FAILED
        self.errors.update(dict.fromkeys(rows, error))

    def reopen(self) -> None:
        """Have the failed rows asked again."""
        for row in np.flatnonzero(self.codes == FAILED).tolist():
            self.codes[row] = NOT_ASKED
            del self.errors[row]


class BatchRun:
    """Asks about titles, chunk by chunk and model by model.

    Args:
        ask: (texts, model, top_k) -> the API's answer to a list, or {"error", "status", "retry_after"}.
        titles: what is asked; a title may be empty.
        models: {name: its classes}.
        top_k: how many of the likeliest classes are kept.
    """

    def __init__(self, ask: Ask, titles: Sequence[str], models: dict[str, list[str]], top_k: int = 1) -> None:
        self.ask, self.titles, self.top_k = ask, titles, top_k
        self.answers = {name: ModelAnswers(len(titles), labels, top_k) for name, labels in models.items()}
        self.total = len(titles) * len(models)
        self._lock = threading.Lock()
        self.start()

    def start(self) -> None:
        """Ask about all rows that have no answer yet."""
        for answers in self.answers.values():
            answers.reopen()
        self.trouble = self.halted = ""  # what goes wrong at the moment; what ended the run before its end
        self._end, self._before, self._started = threading.Event(), self.done, time.monotonic()
        self.touch()
        self._thread = threading.Thread(target=self._work, args=(self._end,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Record nothing from now on; a request under way is let run out."""
        with self._lock:
            self._end.set()

    def touch(self) -> None:
        """Note that somebody is still there to read the answers."""
        self._seen = time.monotonic()

    @property
    def running(self) -> bool:
        """Whether more answers will come by themselves."""
        return self._thread.is_alive() and not self._end.is_set()

    @property
    def done(self) -> int:
        """Rows with an answer or an error, over all models."""
        return sum(int((answers.codes != NOT_ASKED).sum()) for answers in self.answers.values())

    @property
    def unanswered(self) -> int:
        """Rows that `start` would ask about."""
        failed = sum(int((answers.codes == FAILED).sum()) for answers in self.answers.values())
        return self.total - self.done + failed

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far; None before the first answer."""
        new = self.done - self._before
        return (time.monotonic() - self._started) / new * (self.total - self.done) if new else None

    def _work(self, end: threading.Event) -> None:
        for name, answers in self.answers.items():
            rows = np.flatnonzero(answers.codes == NOT_ASKED).tolist()
            # The next chunk is the last of the list, with how often it has been tried.
            chunks = [(rows[start : start + CHUNK], 0) for start in range(0, len(rows), CHUNK)][::-1]
            failures = 0
            while chunks and not end.is_set():
                if time.monotonic() > self._seen + UNWATCHED_SECONDS:
                    self.halted = "页面十分钟没有打开，已经停下"
                    return
                chunk, tries = chunks.pop()
                answer = self.ask([self.titles[row] for row in chunk], name, self.top_k)
                with self._lock:
                    if end.is_set():
                        return
                    again = self._take(answers, chunk, tries + 1, answer)
                chunks += again
                if "error" not in answer:
                    self.trouble, failures = "", 0
                    continue
                self.trouble = answer["error"]
                failures += not again and answer["status"] != 413  # too large a title says nothing about the server
                if failures >= MAX_FAILURES:
                    self.halted = answer["error"]
                    return
                if answer["status"] in PASSING and again:
                    end.wait(max(WAITS[tries], answer["retry_after"]))

    @staticmethod
    def _take(
        answers: ModelAnswers, chunk: list[int], tries: int, answer: dict[str, Any]
    ) -> list[tuple[list[int], int]]:
        """Keep an answer, or say what is to be asked again."""
        if "error" not in answer:
            answers.record(chunk, answer)
            return []
        status, half = answer["status"], len(chunk) // 2
        if status == 413 and half:
            return [(chunk[half:], 0), (chunk[:half], 0)]
        if status in PASSING and tries < TRIES:
            if status in TOO_MUCH and half:
                return [(chunk[half:], tries), (chunk[:half], tries)]
            return [(chunk, tries)]
        answers.fail(chunk, answer["error"])
        return []
