"""Search spaces: which values of which knobs a search may try, in the notation of the command line.

    learning_rate=1e-5:1e-3:log    from 1e-5 to 1e-3, all magnitudes alike; without :log all values alike
    num_epochs=2:6                 whole numbers for a knob that counts
    recipe=plain,fgm               one of these
    learning_rate=x0.25:x4:log     a quarter to four times of what the knob is without a search

A space is checked before anything runs: its ends and its choices must be such as the stage itself takes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from core.console import UserError
from core.training.knobs import LoopConfig

DIGITS = 3  # of the numbers that a search tries: more make no difference, and are hard to read
KINDS = (bool, int, float, str, Path)  # of knobs that can be searched
PLACES = ("config", "output", "save_dir", "data_dir", "resume", "device")  # of a run
NO_KNOBS = (*PLACES, "seed", "limit", "minutes", "save_minutes", "adapt_minutes")  # the last pretrains in each trial


@dataclass(frozen=True)
class Knob:
    """A knob and the values that a search may try: one of `choices`, or from `low` to `high`.

    Attributes:
        name: of the knob.
        kind: of its values, one of `KINDS`.
        choices: plain values; empty for a range.
        low: the least value of a range.
        high: its greatest one.
        log: whether all magnitudes are alike, in place of all values.
    """

    name: str
    kind: type
    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the space."""
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high

    def value(self, found: Any) -> Any:
        """What the knob is set to where a search comes up with this: numbers are rounded."""
        if self.kind is float and not self.choices:
            return min(self.high, max(self.low, float(f"{found:.{DIGITS}g}")))
        return found

    def __str__(self) -> str:
        """The notation of the command line."""
        if self.choices:
            return ",".join(map(str, self.choices))
        return f"{self.low:g}:{self.high:g}{':log' if self.log else ''}"


def split_entries(entries: Iterable[str]) -> dict[str, str]:
    """`knob=values`, as they stand on the command line, by name of the knob.

    Raises:
        UserError: there is none, one is written in another way, or a knob stands there twice.
    """
    space: dict[str, str] = {}
    for entry in entries:
        name, equals, text = entry.partition("=")
        name = name.strip().replace("-", "_")
        if not (name and equals and text.strip()):
            raise UserError(f"--space {entry!r} names no values: write knob=low:high, knob=low:high:log or knob=a,b,c")
        if name in space:
            raise UserError(f"--space has {name} twice: give each knob once")
        space[name] = text.strip()
    if not space:
        raise UserError("--space is empty: write knobs behind it, such as learning_rate=1e-5:1e-3:log, or leave it out")
    return space


def read_space(entries: Mapping[str, str], config: LoopConfig) -> dict[str, Knob]:
    """The knobs of a space by name.

    Args:
        entries: their values, in the notation of the command line.
        config: a stage's, as it is without a search; a knob that is None there has no multiples.

    Raises:
        UserError: a knob is unknown, its values cannot be read, or one of them is none that the stage takes.
    """
    kinds = {name: kind for name, kind in _kinds(type(config)).items() if name not in NO_KNOBS}
    space = {}
    for name, text in entries.items():
        if name not in kinds:
            raise UserError(f"--space: there is no knob {name} to search here: take of {', '.join(sorted(kinds))}")
        space[name] = knob = _read(name, text, kinds[name], getattr(config, name))
        for value in knob.choices or (knob.low, knob.high):
            if get_origin(kinds[name]) is Literal and value not in get_args(kinds[name]):
                raise UserError(f"--space {name}={text}: {value} is none of {', '.join(get_args(kinds[name]))}")
            replace(config, **{name: value})  # refuses what the stage refuses
    return space


def has_multiples(text: str) -> bool:
    """Whether values are written as multiples of what the knob is without a search."""
    return any(part.startswith("x") and _is_number(part[1:]) for part in text.replace(":", ",").split(","))


def _kinds(config_class: type) -> dict[str, Any]:
    """The kind of each knob that is set on the command line and has one of `KINDS`, or a Literal of texts."""
    hints, kinds = get_type_hints(config_class), {}
    for name in (each.name for each in fields(config_class) if each.init):
        kind = hints[name]
        if get_origin(kind) in (Union, UnionType):
            kind = next((each for each in get_args(kind) if each is not type(None)), kind)
        if kind in KINDS or get_origin(kind) is Literal:
            kinds[name] = kind
    return kinds


def _read(name: str, text: str, kind: Any, default: Any) -> Knob:
    """One knob of `read_space`."""

    def number(part: str) -> float:
        times = part.startswith("x")
        if times and not isinstance(default, int | float):
            raise UserError(f"--space {name}={text}: {name} has no number here to be multiplied: write numbers")
        if not _is_number(part[times:]):
            raise UserError(f"--space {name}={text}: {part!r} is no number: write low:high or low:high:log")
        value = float(part[times:]) * (default if times else 1)
        if kind is int:
            if not times and value != int(value):
                raise UserError(f"--space {name}={text}: {name} is a whole number, {part} is none")
            return max(1, round(value)) if times else int(value)
        return float(f"{value:.{DIGITS}g}") if times else value

    parts = [part.strip() for part in text.split(":")] if kind in (int, float) else [text]  # C:/models is no range
    if len(parts) == 1:
        words = [word.strip() for word in text.split(",")]
        if kind is bool:
            if set(words) - {"true", "false"}:
                raise UserError(f"--space {name}={text}: write true,false")
            return Knob(name, kind, tuple(word == "true" for word in dict.fromkeys(words)))
        values = [number(word) for word in words] if kind in (int, float) else words
        if "" in words:
            raise UserError(f"--space {name}={text}: a value between the commas is empty")
        return Knob(name, str if get_origin(kind) is Literal else kind, tuple(dict.fromkeys(values)))
    if len(parts) > 3 or (len(parts) == 3 and parts[2] != "log"):
        raise UserError(f"--space {name}={text}: write low:high or low:high:log")
    low, high, log = number(parts[0]), number(parts[1]), len(parts) == 3
    if not low < high and not (has_multiples(text) and low == high):
        raise UserError(f"--space {name}={text}: the range is empty, {parts[0]} is not below {parts[1]}")
    if log and not low > 0:
        raise UserError(f"--space {name}={text}: a range by magnitudes (log) begins above 0")
    return Knob(name, kind, (), low, high, log)


def _is_number(text: str) -> bool:
    try:
        return float(text) - float(text) == 0  # neither nan nor infinite
    except ValueError:
        return False
