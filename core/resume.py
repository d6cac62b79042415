"""Stopping a training run and going on with it: its state on disk, and a Ctrl-C that waits for the step to end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from core.checkpoint import read_tensors, write_tensors
from core.console import UserError


def state_path(artefact: Path) -> Path:
    """Where the state of the run that makes `artefact` lies while it runs."""
    return artefact.parent / "resume" / artefact.name / "state.pt"


def save_state(path: Path, identity: dict[str, Any], state: dict[str, Any]) -> None:
    """Write all that a run needs to go on, random number generators included, atomically.

    Args:
        path: the file.
        identity: plain values that must be the same when the run goes on (knobs, data).
        state: tensors and plain values.
    """
    rng = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        rng["cuda"] = torch.cuda.get_rng_state()
    write_tensors(path, {"identity": identity, "rng": rng, **state})


def load_state(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Read what `save_state` wrote and put the random number generators back.

    Raises:
        UserError: the file is damaged, or belongs to a run with other knobs or data.
    """
    state = read_tensors(path)
    for key, value in identity.items():
        if (saved := state["identity"].get(key)) != value:
            raise UserError(
                f"the stopped run had {key} = {saved}, this one has {value}: "
                "repeat its flags, or start afresh without --resume"
            )
    torch.set_rng_state(state["rng"]["cpu"])
    if "cuda" in state["rng"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["rng"]["cuda"])
    return state


def drop_state(path: Path) -> None:
    """Remove the state of a run that has ended, and its folders when nothing else is in them."""
    path.unlink(missing_ok=True)
    for folder in (path.parent, path.parent.parent):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def hold_ctrl_c() -> Iterator[threading.Event]:
    """Within the block the first Ctrl-C only sets the event, so that no step is cut in half; a second one stops."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return

    def on_press(_signal: int, _frame: Any) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    earlier = signal.signal(signal.SIGINT, on_press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, earlier)
