"""Concurrent requests -> batches: what waits shares a forward pass, what comes alone is computed at once.

One thread computes, one batch at a time, so that every batch has all cores. Nothing waits for company: a batch is
what came while the one before was being computed, as in Clipper's adaptive batching (Crankshaw et al. 2017). A list
that does not fit a batch goes to the end of the queue with what is left of it, so it delays others by one batch only.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

MOST_CHARS = 20_000  # of the texts of a batch, one alone aside: long passages make a batch that others wait for
LAST_BATCH_SECONDS = 1  # that the batch being computed has to end in, once the batcher is closed
PredictFn = Callable[[Sequence[str]], Sequence[Any]]


class NotAnswered(Exception):
    """A request that gets no answer."""


class QueueFull(NotAnswered):
    """So many requests wait already that one more is not taken."""


class DeadlinePassed(NotAnswered):
    """The answer did not come in time."""


class Stopped(NotAnswered):
    """The batcher was closed before the answer came."""


@dataclass(eq=False)
class Job:
    """The texts of one request, the answers so far, how many texts have been taken into batches, and who waits."""

    model: str
    texts: Sequence[str]
    deadline: float
    answers: list[Any] = field(default_factory=list)
    taken: int = 0
    done: threading.Event = field(default_factory=threading.Event)
    waiter: Any = None


class MicroBatcher:
    """A bounded queue of requests in front of some models.

    Args:
        models: by name, functions that answer some texts, in order.
        max_batch: texts in a forward pass.
        max_waiting: requests that may be inside at a time.
        clock: seconds that only grow.
        on_batch: is told the number of texts of each batch.
        on_finished: is given the jobs that have come to their end, all those of a batch at once.
    """

    def __init__(
        self,
        models: Mapping[str, PredictFn],
        max_batch: int,
        max_waiting: int,
        clock: Callable[[], float] = time.monotonic,
        on_batch: Callable[[int], object] = lambda size: None,
        on_finished: Callable[[Sequence[Job]], object] = lambda jobs: None,
    ) -> None:
        self._models, self._clock, self._on_batch, self._on_finished = models, clock, on_batch, on_finished
        self.max_batch, self.max_waiting = max_batch, max_waiting
        self.waiting = self._long = 0
        self._last_answer = dict.fromkeys(models, -math.inf)
        self._jobs: deque[Job] = deque()
        self._computing: list[Job] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)

    def start(self) -> "MicroBatcher":
        """Start to compute."""
        self._thread.start()
        return self

    @contextmanager
    def admit(self, is_long: bool = False) -> Iterator[None]:
        """Hold one of the places; to be entered when a request arrives, before any work is done for it.

        Args:
            is_long: whether it asks much; of several places one half is kept from such requests.

        Raises:
            QueueFull: there is none.
        """
        with self._changed:
            if self.waiting >= self.max_waiting or (is_long and self._long >= max(1, self.max_waiting // 2)):
                raise QueueFull
            self.waiting += 1
            self._long += is_long
        try:
            yield
        finally:
            with self._changed:
                self.waiting -= 1
                self._long -= is_long

    def predict(self, model: str, texts: Sequence[str], seconds: float) -> list[Any]:
        """The model's answer for each text, in order; an exception stands for a text that it failed on.

        Raises:
            DeadlinePassed: it took more than `seconds`.
            Stopped: the batcher was closed.
        """
        return self.wait(self.submit(model, texts, seconds))

    def submit(self, model: str, texts: Sequence[str], seconds: float, waiter: Any = None) -> Job:
        """Queue texts for a model; see `predict`. `waiter` is for whom `on_finished` tells."""
        job = Job(model, texts, self._clock() + seconds, waiter=waiter)
        with self._changed:
            if self._closed:
                raise Stopped
            if texts:
                self._jobs.append(job)
                self._changed.notify()
            else:
                job.done.set()
        return job

    def wait(self, job: Job) -> list[Any]:
        """The answers of a job; see `predict`."""
        if not job.done.wait(job.deadline - self._clock()):
            self.give_up(job)
            raise DeadlinePassed
        if len(job.answers) < len(job.texts):
            raise Stopped
        return job.answers

    def give_up(self, job: Job) -> None:
        """Compute nothing more of a job."""
        job.deadline = -math.inf

    def seconds_since_answer(self, model: str) -> float:
        """Seconds since a model last answered a text."""
        return self._clock() - self._last_answer[model]

    def step(self) -> None:
        """Compute one batch of what is queued."""
        with self._changed:
            model, pieces = self._take()
            self._computing = [job for job, _ in pieces]
        if not pieces:
            return
        answers = iter(self._answers(model, [text for _, texts in pieces for text in texts]))
        for job, texts in pieces:
            job.answers += [next(answers) for _ in texts]
        self._finish([job for job, _ in pieces if len(job.answers) == len(job.texts)])

    def close(self) -> None:
        """Compute no further batch; who still waits, be it for a model that hangs, is told so."""
        with self._changed:
            self._closed, left = True, list(self._jobs)
            self._jobs.clear()
            self._changed.notify()
        self._finish(left)
        if self._thread.is_alive():
            self._thread.join(LAST_BATCH_SECONDS)
        self._finish(self._computing)

    def _finish(self, jobs: Sequence[Job]) -> None:
        """Let those go on who wait for some jobs, answered or not."""
        for job in jobs:
            job.done.set()
        self._on_finished(jobs)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
            self.step()

    def _take(self) -> tuple[str, list[tuple[Job, Sequence[str]]]]:
        """A batch for the model of the first job: [(job, its texts in this batch), …]."""
        model, room, chars = "", self.max_batch, MOST_CHARS
        pieces: list[tuple[Job, Sequence[str]]] = []
        others: list[Job] = []
        unfinished: list[Job] = []
        now = self._clock()
        while self._jobs and room and chars > 0:
            job = self._jobs.popleft()
            if job.deadline <= now:
                continue
            model = model or job.model
            if job.model != model:
                others.append(job)
                continue
            texts: list[str] = []
            for text in job.texts[job.taken : job.taken + room]:
                size = sum(map(len, text)) if isinstance(text, tuple) else len(text)
                if size > chars and (texts or pieces):  # it begins another batch
                    chars = 0
                    break
                texts.append(text)
                chars -= size
            if not texts:  # the first of its own is too long beside the others
                others.append(job)
                continue
            pieces.append((job, texts))
            room -= len(texts)
            job.taken += len(texts)
            if job.taken < len(job.texts):
                unfinished.append(job)
        self._jobs.extendleft(reversed(others))
        self._jobs.extend(unfinished)
        return model, pieces

    def _answers(self, model: str, texts: list[str]) -> list[Any]:
        answers = self._attempt(model, texts)
        if isinstance(answers[0], Exception) and len(texts) > 1:  # one of them may have failed the others
            answers = [self._attempt(model, [text])[0] for text in texts]
        if not all(isinstance(answer, Exception) for answer in answers):
            self._last_answer[model] = self._clock()
        self._on_batch(len(texts))
        return answers

    def _attempt(self, model: str, texts: list[str]) -> list[Any]:
        try:
            answers = list(self._models[model](texts))
            if len(answers) != len(texts):
                raise ValueError(f"{len(answers)} answers to {len(texts)} texts")
            return answers
        except Exception as fault:
            return [fault] * len(texts)
