"""Resuming: the state of a training run on disk, and a Ctrl-C that waits for the step to end."""

import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import nn

from core import __version__
from core.console import Stopped, UserError
from core.files import require_folder
from core.model_files.checkpoint import read_tensors, save, write_tensors
from core.model_files.facts import Facts


@dataclass
class Progress:
    """Where a run is, beside its weights, optimizer and random numbers."""

    step: int = 0
    seconds: float = 0.0
    best: dict[str, Any] = field(default_factory=dict)  # {"metrics", "step", "weights"}
    misses: int = 0  # evaluations since the best one
    losses: dict[str, list[float]] = field(default_factory=dict)  # since the last evaluation
    tokens: int = 0  # of real text so far
    log: list[dict[str, Any]] = field(default_factory=list)

    def count(self, parts: dict[str, float], tokens: int, seconds: float) -> None:
        """Count a step: its loss and the parts of it, the tokens of real text in it, and how long it took."""
        self.step += 1
        self.tokens += tokens
        self.seconds += seconds
        for name, part in parts.items():
            self.losses.setdefault(name, []).append(part)

    def judge(self, metrics: dict[str, Any], best_by: str, model: nn.Module) -> bool:
        """Whether an evaluation is the best so far; if so, its weights are kept."""
        if self.best and metrics[best_by] <= self.best["metrics"][best_by]:
            self.misses += 1
            return False
        weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        self.misses, self.best = 0, {"metrics": metrics, "step": self.step, "weights": weights}
        return True

    def mean_losses(self) -> dict[str, float]:
        """The mean of the loss and of each part since the last call."""
        means = {name: sum(values) / len(values) for name, values in self.losses.items()}
        self.losses.clear()
        return means


class RunState:
    """The state of the run that makes `artefact`, in `resume/` beside it while the run lasts.

    The state before the last one is kept too: it serves when the last one turns out to be damaged.

    Args:
        artefact: the file that the run will write.
        identity: plain values that decide the result, and so must be the same when the run goes on: class names, data,
            the content of the encoder's folder; `fit` adds the knobs, the training rows and the number of processes.
    """

    def __init__(self, artefact: Path, identity: dict[str, Any] | None = None) -> None:
        self.artefact = artefact
        self.folder = artefact.parent / "resume" / artefact.name
        self.identity = identity or {}
        self._last, self._before = self.folder / "state.pt", self.folder / "before.pt"

    @contextmanager
    def claim(self, reports: Path, is_main: bool = True) -> Iterator[None]:
        """Have the folders of a run to itself, and know before it begins that they can be written.

        A lock that a dead process has left is none. The folder of the state is there from the beginning on: a run that
        is stopped or killed before its first save has not finished, whatever an earlier one has made.

        Args:
            reports: the folder of its log.
            is_main: False in the other processes of a run.

        Raises:
            UserError: a folder cannot be written, or another run is writing there.
        """
        with ExitStack() as locks:
            for path in (self.artefact.with_name(f".{self.artefact.name}.lock"), reports / ".lock") if is_main else ():
                require_folder(path.parent)
                try:
                    locks.enter_context(FileLock(path, blocking=False))
                    locks.callback(_remove, path)  # while it is held: Windows leaves an empty file
                except Timeout as fault:
                    raise UserError(
                        f"another run is writing {self.artefact} or {reports}: wait for its end, or give this one "
                        "other folders with --save-dir and --output"
                    ) from fault
            if is_main:
                self.folder.mkdir(parents=True, exist_ok=True)
            goes_on = True
            try:
                yield
                goes_on = False
            except UserError as fault:
                goes_on = isinstance(fault, Stopped)
                raise
            finally:
                if is_main and not goes_on:
                    self._forget()

    def exists(self) -> bool:
        return self._last.is_file() or self._before.is_file()

    def save(self, state: dict[str, Any]) -> None:
        """Write tensors and plain values, atomically."""
        fresh = self.folder / "fresh.pt"
        write_tensors(fresh, {"identity": self.identity, "project": __version__, **state})
        if self._last.is_file():
            self._last.replace(self._before)
        fresh.replace(self._last)

    def load(self) -> dict[str, Any]:
        """Read what was saved last.

        Raises:
            UserError: no saved state can be read, or it belongs to a run with other knobs or data.
        """
        state = self._read()
        for key, value in self.identity.items():
            if (saved := state["identity"].get(key)) != value:
                raise UserError(
                    f"the stopped run had {key} = {_short(saved)}, this one has {_short(value)}: "
                    "repeat its flags and data, or start afresh without --resume"
                )
        if (version := state.get("project", __version__)) != __version__:
            print(f"warning: the stopped run was made with version {version} of this project, this is {__version__}")
        return state

    def _read(self) -> dict[str, Any]:
        for path in (self._last, self._before):
            try:
                state = read_tensors(path)
                if isinstance(state, dict) and "identity" in state:
                    return state
            except UserError as fault:
                if path.is_file():
                    print(f"warning: {fault}")
        raise UserError(f"no state in {self.folder} can be read: start afresh without --resume")

    def drop(self) -> None:
        """Remove the state once the run has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._forget()

    def _forget(self) -> None:
        """Remove the folders of the state that nothing is in."""
        for folder in (self.folder, self.folder.parent):
            with suppress(OSError):
                folder.rmdir()


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _short(value: Any) -> str:
    text = str(value)
    size = 12 if re.fullmatch("[0-9a-f]{64}", text) else 200  # of a fingerprint the beginning tells enough
    return text if len(text) <= size else f"{text[:size]}…"


def finish(
    artefact: Path,
    model: nn.Module,
    facts: Facts,
    run_state: RunState,
    stale: Iterable[Path],
    then: Callable[[], object] | None = None,
) -> None:
    """Write what a run has made, and remove what it does not need any more.

    Args:
        artefact: the checkpoint to write.
        model: the module.
        facts: of the model.
        run_state: the state to resume from; it goes last, so that a kill before loses nothing.
        stale: files made from an earlier checkpoint of this name, which would be preferred to this one.
        then: writes what else is to be written, while the run can still be resumed.

    Raises:
        UserError: a file could not be written.
    """
    save(artefact, model.state_dict(), facts)
    for file in stale:
        file.unlink(missing_ok=True)
    if then:
        then()
    run_state.drop()


def has_finished(artefact: Path) -> bool:
    """Whether there is nothing to resume because the run that makes a file has ended; says so if it has."""
    finished = artefact.is_file() and not RunState(artefact).folder.is_dir()
    if finished:
        print(f"nothing to resume: the run that made {artefact} has finished")
    return finished


def rng_state() -> dict[str, torch.Tensor]:
    """The random number generators of this process."""
    cuda = {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {}
    return {"cpu": torch.get_rng_state(), **cuda}


def set_rng_state(state: dict[str, torch.Tensor]) -> None:
    """Put back what `rng_state` gave."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


@contextmanager
def hold_ctrl_c() -> Iterator[threading.Event]:
    """Hold back the first Ctrl-C or SIGTERM: it only sets the event, so that no step is cut in half.

    A second one stops at once.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return

    def on_press(_signal: int, _frame: Any) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    earlier = {number: signal.signal(number, on_press) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield pressed
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
