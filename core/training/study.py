"""A study of Optuna: kept in a database, compared by a fingerprint, drawn."""

import math
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.console import UserError
from core.files import atomic_write

if TYPE_CHECKING:
    from optuna import Study, Trial

STEPS = 5  # parts of a training, at the ends of which trials are compared
HEARTBEAT = 30  # seconds, by which processes know of each other whether they live
NAME = "tune"
DEFAULT = "default"  # the name of trial 0


def open_study(url: str, pruner: str, seed: int, identity: Mapping[str, str], resume: bool) -> "Study":
    """A new study, or the one to go on with; trials that a dead process has left count as failed.

    Args:
        url: of its database.
        pruner: "median", "hyperband" or "none".
        seed: of the proposals, which are others each time it goes on.
        identity: what makes two trials comparable, by its name for people.
        resume: whether there may be one.

    Raises:
        UserError: Optuna is missing, the database is none, or what it holds is not to be gone on with.
    """
    try:
        import optuna
    except ImportError as fault:
        raise UserError("tuning needs Optuna: `pip install -r requirements-tune.txt`") from fault
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    pruners = {
        "median": partial(optuna.pruners.MedianPruner, n_startup_trials=3, n_warmup_steps=1),
        "hyperband": partial(optuna.pruners.HyperbandPruner, max_resource=STEPS),
        "none": optuna.pruners.NopPruner,
    }
    try:
        storage = optuna.storages.RDBStorage(url, heartbeat_interval=HEARTBEAT, grace_period=2 * HEARTBEAT)
        study = optuna.create_study(
            storage=storage, study_name=NAME, direction="maximize", load_if_exists=True, pruner=pruners[pruner]()
        )
    except Exception as fault:  # of whichever database it is
        why = f"{type(fault).__name__}: {str(fault).splitlines()[0][:100]}"
        raise UserError(f"{url} cannot be opened ({why}): mend it, or choose another --output") from fault
    known = study.user_attrs.get("of")
    if known is None:
        study.set_user_attr("of", dict(identity))
    elif differ := [name for name in identity if identity[name] != known.get(name)]:
        raise UserError(f"{url} holds a study of another {differ[0]}: choose another --output")
    elif not resume:
        raise UserError(f"{url} holds a study already: go on with --resume, or choose another --output")
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), n_startup_trials=5)
    return study


def reporter(trial: "Trial", best_by: str) -> Callable[[float, dict[str, Any]], None]:
    """What `fit` calls after each evaluation: it tells Optuna the best so far, at the end of each fifth of a training.

    Raises:
        TrialPruned: then, where the trial is behind the others.
    """
    from optuna import TrialPruned

    best, reached = -math.inf, 0

    def report(share: float, metrics: dict[str, Any]) -> None:
        nonlocal best, reached
        best = max(best, metrics[best_by])
        if (step := math.floor(STEPS * share + 1e-9)) > reached:
            reached = step
            trial.report(best, step)
            if share < 1 and trial.should_prune():
                raise TrialPruned

    return report


def describe(trial: Any) -> dict[str, Any]:
    """A trial as a report keeps it."""
    seconds = trial.duration.total_seconds() if trial.duration else None
    told = {"number": trial.number, "state": trial.state.name.lower(), "value": trial.value, "knobs": trial.params}
    return {**told, "seconds": seconds, **trial.user_attrs}


def draw(study: "Study", folder: Path, metric: str) -> None:
    """The history of a search, and what matters in it, where there are trials enough to tell."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from optuna.visualization.matplotlib import plot_optimization_history, plot_param_importances

    complete = sum(trial.state.name == "COMPLETE" for trial in study.get_trials(deepcopy=False))
    for name, plot, least in (("history", plot_optimization_history, 1), ("importance", plot_param_importances, 4)):
        if complete < least:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                axes = plot(study)
            except (RuntimeError, ValueError):  # all values are alike
                continue
        if name == "history":
            axes.set_ylabel(f"{metric} on dev")
        axes.figure.tight_layout()
        atomic_write(folder / f"{name}.png", partial(axes.figure.savefig, format="png", dpi=120))
        pyplot.close(axes.figure)


def shown(knobs: dict[str, Any]) -> str:
    """Knobs on a line."""
    return " ".join(f"{key}={each:.3g}" if isinstance(each, float) else f"{key}={each}" for key, each in knobs.items())


def in_a_line(report: dict[str, Any], metric: str) -> str:
    """What the search has gained, for people."""
    default, best = report[DEFAULT]["value"], report["best"]["value"]
    if report["best"]["trial"] == DEFAULT:
        return f"no gain: of {len(report['trials'])} trials the default has the best {metric} on dev, {default:.4f}"
    gain, test = f"gain {100 * (best - default):+.2f} points of {metric} on dev", report["test"]
    if not test:
        return f"{gain}; there is no test file to confirm it"
    gain += f", {100 * (test['best'] - test[DEFAULT]):+.2f} on test"
    if "accuracy" not in test:
        return gain
    found = test["accuracy"]
    sure = "significant" if found["low"] > 0 or found["high"] < 0 else "not significant"
    ends = f"{100 * found['low']:+.2f} to {100 * found['high']:+.2f}"
    return f"{gain}; accuracy on test {100 * found['difference']:+.2f} (95 % interval {ends}): {sure} on test"
