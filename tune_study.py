"""The Optuna study of tune.py: opened or gone on with, searched, and read.

A trial is a training with the knobs that Optuna's TPE proposes, and its value the best evaluation on dev; trial 0 is
the training without a search. The study lies in a database, so that several processes may search at once, and a killed
one loses only the trial that it was at: whoever comes next does it again (Optuna's heartbeat).
"""

import shutil
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from core.console import Stopped, UserError, first_line, is_out_of_memory
from core.training.space import Knob
from core.training.watch import Watch

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

NAME = "tune"  # of the study in its database
STEPS = 10  # trials are compared at tenths of their runs, however many epochs these have
FREE_STEPS, FREE_TRIALS = 3, 4  # none is stopped before so many steps, nor before so many trials have come to their end
RANDOM_TRIALS = 6  # before TPE takes over
HEARTBEAT, DEAD = 5, 40  # seconds: a trial that was silent for so long has died
Space = Mapping[str, Knob]
Train = Callable[[int, dict[str, Any], Watch], None]  # (number of the trial, knobs, onlooker)


class Limits(NamedTuple):
    """When a search ends: with so many trials, or at a time of `time.monotonic`, but not without one trial."""

    trials: int
    deadline: float


class TrialFailed(Exception):
    """A trial had a fault of its own: the search goes on."""


class Reporter(Watch):
    """Onlooker who tells Optuna how a trial goes, and stops it where Optuna or the clock says so."""

    def __init__(self, trial: "Trial", may_stop: bool, deadline: float, told: Callable[[str], None]) -> None:
        self.trial, self.may_stop, self.deadline, self.told = trial, may_stop, deadline, told
        self.best, self.step = float("-inf"), -1

    def evaluated(self, done: float, metrics: Mapping[str, Any], best_by: str) -> None:
        from optuna import TrialPruned

        before, self.best = self.best, max(self.best, float(metrics[best_by]))
        self.told(f"trial {self.trial.number}: {done:.0%}, {self.best:.4f}")
        if (step := int(STEPS * done + 1e-6)) > self.step:
            for passed in range(self.step + 1, step) if self.step >= 0 else ():  # in which others may have been judged
                self.trial.report(before, passed)
            self.trial.report(self.best, step)
            self.step = step
        self.trial.set_user_attr("done", done)
        self.trial.set_user_attr("metric", best_by)
        late = time.monotonic() > self.deadline
        if self.may_stop and done < 1 and (late or self.trial.should_prune()):
            raise TrialPruned


@contextmanager
def _in_quiet() -> Iterator[None]:
    """Without Optuna's log, and without its warnings of what is experimental, or has few trials to go by."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        for kind in (optuna.exceptions.ExperimentalWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        yield


def require_optuna() -> None:
    """Refuse to search where Optuna is not installed.

    Raises:
        UserError: it is not.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as fault:
        raise UserError("a search needs optuna: run `pip install -r requirements-tune.txt`") from fault


def open_study(
    url: str, where: str, resume: bool, pruner: str, identity: dict[str, Any], default: dict[str, Any]
) -> "Study":
    """The study in a database, begun with the default configuration unless it is there.

    Args:
        url: of the database, as SQLAlchemy takes it.
        where: what messages call the database.
        resume: whether to go on with a study that is there.
        pruner: median, hyperband or none.
        identity: what decides the results, and so must be the same when a study goes on.
        default: the values of the knobs without a search, as far as they lie in the space.

    Raises:
        UserError: the database cannot be opened, its study is of other data, knobs or spaces, or `resume` is not given.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    pruners = {
        "median": lambda: optuna.pruners.MedianPruner(FREE_TRIALS, FREE_STEPS, n_min_trials=FREE_TRIALS),
        "hyperband": lambda: optuna.pruners.HyperbandPruner(1, STEPS),
        "none": optuna.pruners.NopPruner,
    }
    wait = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    again = optuna.storages.RetryHeartbeatStaleTrialCallback
    with _in_quiet():
        try:
            beats = {"heartbeat_interval": HEARTBEAT, "grace_period": DEAD, "heartbeat_stale_trial_callback": again()}
            storage = optuna.storages.RDBStorage(url, wait, **beats)
            known = NAME in optuna.get_all_study_names(storage)
        except (SQLAlchemyError, ImportError, RuntimeError, ValueError) as fault:
            told = f"no study can be opened in {where} ({first_line(fault)})"
            raise UserError(f"{told}: check it, or choose another place") from fault
        if known and not resume:
            raise UserError(
                f"{where} has a study already: go on with it by --resume, or give the new one another --output"
            )
        study = optuna.create_study(
            storage=storage, study_name=NAME, direction="maximize", load_if_exists=True, pruner=pruners[pruner]()
        )
        if (found := study.user_attrs.get("identity")) is None:
            study.enqueue_trial(default, user_attrs={"default": default}, skip_if_exists=True)
            study.set_user_attr("id", uuid4().hex)
            study.set_user_attr("identity", identity)  # last: a study without it was killed here
        elif differ := [key for key in {**found, **identity} if found.get(key) != identity.get(key)]:
            one, other = (str(each.get(differ[0]))[:200] for each in (found, identity))
            raise UserError(
                f"the study in {where} had {differ[0]} = {one}, this one has {other}: repeat its flags and data, or "
                "give another --output"
            )
    return study


def own_folder(folder: Path, study: "Study") -> None:
    """Make the folder of a study's trials; what the trials of another study have left in it is removed."""
    mark, own = folder / "study", study.user_attrs.get("id", "")
    if own and (not mark.is_file() or mark.read_text(encoding="utf-8") != own):
        for left in folder.glob("[0-9]*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        mark.write_text(own, encoding="utf-8")


def clear(folder: Path, study: "Study", kept: Collection[int]) -> None:
    """Remove what trials that have ended left in a folder, but for their logs and what some of them left."""
    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished() and trial.number not in kept:
            shutil.rmtree(folder / str(trial.number), ignore_errors=True)


def _sampler(study: "Study", seed: int) -> Any:
    """TPE (Bergstra et al. 2011), seeded anew for each trial: a resumed or second process does not repeat the first."""
    from optuna.samplers import TPESampler

    with _in_quiet():  # in groups: the default configuration may lack a knob
        number = len(study.get_trials(deepcopy=False))
        return TPESampler(seed=1000 * seed + number, n_startup_trials=RANDOM_TRIALS, multivariate=True, group=True)


def search(
    study: "Study",
    space: Space,
    train: Train,
    limits: Limits,
    seed: int,
    told: Callable[[str], None],
    ended: Callable[["FrozenTrial"], None],
) -> None:
    """Run trials until the study has enough, or the time is over.

    Args:
        study: see `open_study`.
        space: the knobs to search.
        train: runs a trial.
        limits: when to end.
        seed: of the sampler.
        told: takes a word on how the trial at hand goes.
        ended: takes a trial that has ended.

    Raises:
        Stopped: Ctrl-C; the trial at hand will be done again.
    """
    import optuna

    def objective(trial: "Trial") -> float:
        is_default = "default" in trial.user_attrs
        values = {name: _suggest(trial, space[name]) for name in trial.user_attrs.get("default", space)}
        watch = Reporter(trial, not is_default, limits.deadline, told)
        try:
            train(trial.number, {} if is_default else values, watch)
        except (Stopped, KeyboardInterrupt):
            optuna.storages.RetryHeartbeatStaleTrialCallback()(study, study.get_trials()[trial.number])
            raise
        except (UserError, MemoryError, RuntimeError) as fault:
            if isinstance(fault, RuntimeError) and not is_out_of_memory(fault):
                raise
            trial.set_user_attr("fault", str(fault) or "out of memory")
            raise TrialFailed from None
        return watch.best

    def is_over() -> bool:
        found = read_trials(study, {})
        enough = len(found) >= limits.trials and any(trial["default"] for trial in found)
        return enough or bool(found and time.monotonic() > limits.deadline)

    with _in_quiet():
        while not is_over():
            study.sampler = _sampler(study, seed)
            try:
                study.optimize(objective, n_trials=1, callbacks=[lambda _, trial: ended(trial)], catch=(TrialFailed,))
            except (optuna.exceptions.UpdateFinishedTrialError, ValueError) as fault:
                if isinstance(fault, ValueError) and not str(fault).startswith("Cannot tell a"):
                    raise
                print("a trial was silent for so long (the machine slept?) that another process does it again")


def _suggest(trial: "Trial", knob: Knob) -> Any:
    if knob.choices:
        return trial.suggest_categorical(knob.name, knob.choices)
    suggest = trial.suggest_int if knob.kind is int else trial.suggest_float
    return knob.value(suggest(knob.name, knob.low, knob.high, log=knob.log))


def read_trials(study: "Study", space: Space) -> list[dict[str, Any]]:
    """The trials that have ended, as `core.measure.tuning_report` takes them; those that were killed are none."""
    found = []
    for trial in study.get_trials(deepcopy=False):
        state, attrs = trial.state.name.lower().replace("fail", "failed"), trial.user_attrs
        if state in ("complete", "pruned") or (state == "failed" and "fault" in attrs):
            knobs = {name: knob.value(trial.params[name]) for name, knob in space.items() if name in trial.params}
            reported = max(trial.intermediate_values.values(), default=None)
            entry = {"number": trial.number, "state": state, "default": "default" in attrs}
            entry |= {"value": trial.value if state == "complete" else reported, "done": attrs.get("done", 0.0)}
            entry |= {"seconds": round(trial.duration.total_seconds(), 1), "knobs": knobs}
            found.append(entry | {"fault": attrs.get("fault"), "metric": attrs.get("metric")})
    return found


def importances(study: "Study", space: Space) -> dict[str, float]:
    """How much each knob has to do with a trial being among the better ones (PED-ANOVA, Watanabe et al. 2023)."""
    import optuna

    with _in_quiet():
        try:
            return optuna.importance.get_param_importances(study, params=list(space))
        except (ValueError, RuntimeError):  # too few trials, or all alike
            return {}
