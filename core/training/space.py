"""What a search looks through: a range or some choices for each knob, read from `learning_rate=1e-5:1e-3:log`."""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from core.console import UserError, flag

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution

NUMBER = r"(x?)([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
RANGE = re.compile(rf"{NUMBER}:{NUMBER}(:log)?")


@dataclass(frozen=True)
class Range:
    """What a knob may be: the numbers from `low` to `high`, or one of `choices`.

    Attributes:
        name: of the knob.
        text: as it was given.
        low: the least value, in units of the default where `relative`.
        high: the greatest.
        log: whether equal ratios are equally likely, in place of equal differences.
        whole: whether it is a whole number.
        relative: whether both ends are multiples of the default.
        choices: the values; none: it is a range.
    """

    name: str
    text: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    relative: tuple[bool, bool] = (False, False)
    choices: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}={self.text}"

    def resolve(self, default: Any) -> "Range":
        """The range in numbers, with what the default turned out to be.

        Raises:
            UserError: it is empty.
        """
        if self.choices:
            return self
        low, high = (
            end * default if relative else end
            for end, relative in zip((self.low, self.high), self.relative, strict=True)
        )
        whole = self.whole and isinstance(default, int)
        low, high = (max(1, round(low)), max(1, round(high))) if whole else (float(low), float(high))
        if not low <= high or (self.log and not low > 0):
            raise UserError(
                f"--space {self}: nothing lies between {low:g} and {high:g}: give LOW:HIGH, with LOW below HIGH"
            )
        return replace(self, low=low, high=high, whole=whole, relative=(False, False))

    def ends(self) -> tuple[Any, ...]:
        """Its extremes, or the choices."""
        return self.choices or (self.low, self.high)

    def holds(self, value: Any) -> bool:
        """Whether a value is in it."""
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high

    def distribution(self) -> "BaseDistribution":
        """The same as Optuna knows it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        return (IntDistribution if self.whole else FloatDistribution)(self.low, self.high, log=self.log)

    def suggest(self, trial: "Trial") -> Any:
        """What Optuna proposes for a trial."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        ask = trial.suggest_int if self.whole else trial.suggest_float
        return ask(self.name, self.low, self.high, log=self.log)


def read_space(texts: Sequence[str], knobs: Collection[str]) -> dict[str, Range]:
    """The ranges of some knobs.

    Args:
        texts: `name=low:high`, `name=low:high:log`, or `name=one,two`; `x2` is twice the default.
        knobs: the names that there are.

    Raises:
        UserError: there is none, a name is unknown or stands there twice, or what is behind it is no range.
    """
    found: dict[str, Range] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().lstrip("-").replace("-", "_")
        if not equals or name not in knobs:
            raise UserError(f"--space has {text}: the knobs are {' '.join(sorted(knobs))}")
        if name in found:
            raise UserError(f"--space names {name} twice: name it once")
        found[name] = _read_range(name, values.strip())
    if not found:
        raise UserError("--space is empty: name a knob, such as learning_rate=1e-5:1e-3:log")
    return found


def _read_range(name: str, text: str) -> Range:
    match = RANGE.fullmatch(text)
    if not match:
        choices = tuple(read_value(each) for each in text.split(",") if each)
        if ":" in text or not choices or len(set(choices)) < len(choices):
            raise UserError(f"--space has {name}={text}: give LOW:HIGH, LOW:HIGH:log, or different values with commas")
        return Range(name, text, choices=choices)
    low, high = float(match[2]), float(match[4])
    relative, log = (bool(match[1]), bool(match[3])), bool(match[5])
    if not all(map(math.isfinite, (low, high))) or (relative[0] == relative[1] and low > high):
        raise UserError(f"--space has {name}={text}: LOW must be at most HIGH")
    if log and not low > 0:
        raise UserError(f"--space has {name}={text}: with :log both ends must be above 0")
    whole = all(relative) or (low.is_integer() and high.is_integer() and not re.search(r"[.eE]", text))
    return Range(name, text, low, high, log, whole, relative)


def read_value(text: str) -> Any:
    """A whole number, a number, or the text itself."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def read_shared(texts: Sequence[str], names: Collection[str]) -> list[str]:
    """The flags of the knobs that all trials share.

    Raises:
        UserError: one is unknown, or searched for as well.
    """
    args: list[str] = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in names:
            known = ", ".join(sorted(names))
            raise UserError(f"--set has {text}: give name=value of a knob that is not searched: {known}")
        args += [flag(name), *value.split(",")]
    return args
