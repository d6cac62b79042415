"""Onlookers of a training: whom the loop tells how a run goes, and who may stop it."""

import json
from collections.abc import Callable, Mapping
from typing import Any


class Watch:
    """Onlooker of a training; what it raises stops the run and goes on to the caller of `fit`."""

    def begins(self, identity: Mapping[str, Any]) -> None:
        """Take note that a run begins: the data are read, all knobs have values, nothing is learned yet.

        Args:
            identity: what decides the result; see `RunState`.
        """

    def evaluated(self, done: float, metrics: Mapping[str, Any], best_by: str) -> None:
        """Take note of an evaluation.

        Args:
            done: the share of the run that is over, 0 to 1.
            metrics: on the dev data.
            best_by: the one that is best when highest.
        """


class _Begun(Exception):
    """The run would learn from here on."""


class _Stop(Watch):
    def begins(self, identity: Mapping[str, Any]) -> None:
        raise _Begun(identity)


def identity_of(run: Callable[[Any], object], knobs: Any) -> dict[str, Any]:
    """What decides the result of a run, as plain values; it reads data and models, and ends before it learns anything.

    Args:
        run: the run, a function of its knobs.
        knobs: a `LoopConfig`; what is None in it is filled in.

    Raises:
        UserError: what the run raises for a fault in data, models or knobs.
    """
    knobs.watch = _Stop()
    try:
        run(knobs)
    except _Begun as begun:
        return json.loads(json.dumps(begun.args[0], default=str))
    raise RuntimeError("the run ended without a training")
