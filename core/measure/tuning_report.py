"""Reports of searches for knobs: a line for each trial, what the search has gained, and its pictures.

A trial is a dict: `number`; `state` (complete, pruned, failed); `value` on the dev data, of a pruned one the best so
far, and the `metric` that it is of; `done`, the share of its run, 0 to 1; `seconds`; `knobs`; `default`, whether it is
the one without a search; `fault`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.console import quoted
from core.files import write_json, write_picture
from core.measure.metrics import headline, readable
from core.measure.stats import interval

Trial = Mapping[str, Any]
Scores = Mapping[str, Mapping[str, Any]]  # of the default and the best trial, as evaluate.py finds them
LOOKS = {"complete": ("o", "tab:blue"), "pruned": ("x", "tab:gray"), "failed": ("v", "tab:red")}


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The trial that came to its end with the best value, the default one where none is better; None: none ended."""
    ended = [trial for trial in trials if trial["state"] == "complete"]
    return max(ended, key=lambda trial: (trial["value"], trial["default"], -trial["number"]), default=None)


def default_of(trials: Sequence[Trial]) -> Trial | None:
    """The trial of the default configuration, if it came to its end."""
    return next((trial for trial in trials if trial["default"] and trial["state"] == "complete"), None)


def knobs_in_words(knobs: Mapping[str, Any]) -> str:
    """`learning rate 0.0004, recipe plain`."""
    shown = (f"{value:.3g}" if isinstance(value, float) else str(value) for value in knobs.values())
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in zip(knobs, shown, strict=True))


def trial_in_words(trial: Trial) -> str:
    """A trial as a line for people."""
    what = "default" if trial["default"] else knobs_in_words(trial["knobs"])
    found = {
        "complete": lambda: f"dev {readable(trial['metric'])} {trial['value']:.4f}",
        "pruned": lambda: f"pruned at {trial['done']:.0%}" + (f", {trial['value']:.4f}" if trial["value"] else ""),
        "failed": lambda: f"failed: {trial['fault']}",
    }
    return f"trial {trial['number']}: {found[trial['state']]()}  ({trial['seconds']:.0f} s; {what})"


def standing(trials: Sequence[Trial], wanted: int, seconds_left: float) -> str:
    """How a search stands, as a line for people.

    Args:
        trials: those that have ended.
        wanted: how many there will be.
        seconds_left: until the search ends at the latest.
    """
    best, default = best_of(trials), default_of(trials)
    words = f"  best so far {best['value']:.4f} (trial {best['number']})" if best else "  none came to its end so far"
    words += f", default {default['value']:.4f}" if default else ""
    for state in ("pruned", "failed"):
        words += f", {count} {state}" if (count := sum(trial["state"] == state for trial in trials)) else ""
    mean = sum(trial["seconds"] for trial in trials) / len(trials)
    left = max(0.0, min(seconds_left, mean * (wanted - len(trials)))) / 60
    return f"{words}; {len(trials)} of {wanted} trials, about {left:.{left < 10:d}f} minutes left"


def saved_share(trials: Sequence[Trial]) -> float:
    """The share of the time that pruning has saved, by how far the pruned trials were."""
    spent = sum(trial["seconds"] for trial in trials)
    cut = [trial for trial in trials if trial["state"] == "pruned" and trial["done"]]
    saved = sum(trial["seconds"] * (1 / trial["done"] - 1) for trial in cut)
    return saved / (spent + saved) if saved else 0.0


def conclusion(trials: Sequence[Trial], dev: Scores | None, test: Scores | None) -> dict[str, Any]:
    """What a search has gained: a sentence, and whether the best or the default knobs are advised.

    The best of many trials on few rows is as a rule the luckiest: it is advised only where it is significantly better
    than the default on the dev data, and not significantly worse on test.

    Args:
        trials: all of them.
        dev: metrics of the "default" and the "best" on the dev data, those of the best `against` the default's (see
            `Comparison`); None: not known, or the default is the best.
        test: the same on the test data; None: there are none.

    Returns:
        `advised` (best, default), the `verdict`, `against` and `dev_against` (see `Comparison`, or None), and of each
        on `test` the metric and the rows `n`.
    """
    best, default = best_of(trials), default_of(trials)
    facts: dict[str, Any] = {"advised": "best", "dev_against": None, "against": None, "test": {}}
    if best is None or default is None:
        return facts | {"verdict": "no gain is known: the default configuration did not come to its end"}
    if best is default:
        words = f"no gain: the default is the best of {len(trials)} trial{'s' * (len(trials) > 1)} on dev"
        return facts | {"advised": "default", "verdict": words}
    words = f"gain {100 * (best['value'] - default['value']):+.1f} on dev"
    form = "{difference} points (95 % interval {low} to {high}, p {p})"
    if dev:
        metric, facts["dev_against"] = headline(dev["best"], best["metric"]), dev["best"]["against"]
        if facts["dev_against"]["low"] <= 0:
            facts["advised"] = "default"
            words += f", which may be luck ({readable(metric)} {interval(facts['dev_against'], form)})"
    if test is None:
        words += "; without a test file nothing confirms it"
    else:
        metric, facts["against"] = headline(test["best"], best["metric"]), test["best"]["against"]
        facts["test"] = {name: {metric: its[metric], "n": its["n"]} for name, its in test.items()}
        judged = "better on test too" if facts["against"]["low"] > 0 else "not significant on test"
        if facts["against"]["high"] < 0:
            facts["advised"], judged = "default", "but worse on test"
        words += f", {judged}: {readable(metric)} {interval(facts['against'], form)}"
    return facts | {"verdict": words}


def write(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write what a search has found, tune.json and its pictures, and print what counts.

    Args:
        folder: where they go.
        facts: `trials`, `importance` (see `draw_importance`), what `conclusion` returns, and more.
    """
    trials = facts["trials"]
    best, default = best_of(trials), default_of(trials)
    numbers = {"best": best and best["number"], "default": default and default["number"]}
    write_json(folder / "tune.json", {**numbers, "saved": saved_share(trials), **facts})
    draw_history(trials, folder / "history.png")
    if facts["importance"]:
        draw_importance(facts["importance"], folder / "importance.png")
    for name, trial in {"default": default, "best": best}.items():
        if trial and not (name == "best" and best is default):
            print(f"{name}: {trial_in_words(trial)}")
    for name, scores in facts.get("test", {}).items():
        print(f"{name} on test: {', '.join(f'{readable(metric)} {value:.4g}' for metric, value in scores.items())}")
    print(f"stopping trials early saved about {saved_share(trials):.0%} of the time")
    print(facts["verdict"])
    if best and facts["advised"] == "default" and best is not default:
        print(f"best.json keeps the default; the knobs of trial {best['number']} are in tune.json")
    print(f"wrote best.json, tune.json, history.png, importance.png to {folder}")


def next_step(module: str, knobs: Path) -> str:
    """What to run after a search, as a line for people: the module of the stage, with the file of the knobs."""
    script = f"-m {module}" if "." in module else f"{module}.py"
    return f"train with it: python {script} --config {quoted(knobs)}"


def draw_history(trials: Sequence[Trial], path: Path) -> None:
    """Draw the values of the trials in their order, and the best so far, as a PNG."""
    from matplotlib.figure import Figure

    metric = next(trial["metric"] for trial in trials if trial["metric"])
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    valued = [trial for trial in trials if trial["value"] is not None]
    for state, (marker, color) in LOOKS.items():
        some = [trial for trial in valued if trial["state"] == state]
        if some:
            at = [trial["number"] for trial in some], [100 * trial["value"] for trial in some]
            axes.plot(*at, marker, color=color, label=state)
    ended = [trial for trial in valued if trial["state"] == "complete"]
    best: list[float] = []
    for trial in ended:
        best.append(max([100 * trial["value"], *best[-1:]]))
    axes.step([trial["number"] for trial in ended], best, where="post", color="tab:orange", label="best so far")
    if default := default_of(trials):
        axes.axhline(100 * default["value"], color="black", linewidth=0.8, linestyle="--", label="default")
        low = min(100 * trial["value"] for trial in ended)
        axes.set_ylim(bottom=low - 0.3 * (max(best) - low) - 0.5)  # what failed to learn lies below the picture
    axes.set_xlabel("trial")
    axes.set_ylabel(f"dev {readable(metric)}, %")
    axes.grid(alpha=0.3)
    axes.legend()
    write_picture(path, figure)


def draw_importance(shares: Mapping[str, float], path: Path) -> None:
    """Draw how much each knob has to do with a trial being good, the shares adding up to 1, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.2 + 0.35 * len(shares)), layout="constrained")
    axes = figure.subplots()
    names = sorted(shares, key=shares.__getitem__)
    bars = axes.barh([name.replace("_", " ") for name in names], [100 * shares[name] for name in names])
    axes.bar_label(bars, fmt="%.0f", padding=2, fontsize=8)
    axes.margins(x=0.1)
    axes.set_xlabel("importance for the score on dev, %")
    write_picture(path, figure)
