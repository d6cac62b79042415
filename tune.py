"""Search for the knobs that suit your data, with Optuna:

    python tune.py --data-dir my_data --trials 20 --minutes 60
    python tune.py --data-dir my_data --resume                             # go on after Ctrl-C, a kill or a power cut
    python tune.py --data-dir my_data --space learning_rate=1e-4:1e-3:log recipe=plain,fgm
    python tune.py --data-dir my_data --stage soft --set bert_layers=2     # the knobs of distillation
    python train.py --data-dir my_data --config reports/tune/best.json     # then train with what was found

Trial 0 is the default, so that the search cannot lose on dev; the others are proposed by a tree-structured Parzen
estimator (Bergstra et al. 2011), and one that is behind the median of the others at the same share of its training is
stopped (Golovin et al. 2017). dev decides; test is read once, at the end, for the default and the best. Writes
best.json, report.json, history.png and importance.png to reports/tune/; study.db there keeps every trial. Several
processes or machines share a study with --storage and --resume. Needs `pip install -r requirements-tune.txt`.
"""

import hashlib
import shutil
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import tasks
from config import Config
from core.console import Stopped, UserError, flag, parse, require_one_or_more, run
from core.files import sha256, write_json
from core.measure.metrics import readable
from core.measure.stats import paired_bootstrap
from core.model_files.checkpoint import load
from core.training.device import measured_on
from core.training.space import read_shared, read_space
from core.training.study import DEFAULT, describe, draw, in_a_line, open_study, reporter, shown

if TYPE_CHECKING:
    from optuna import Study, Trial

# A range is LOW:HIGH, or LOW:HIGH:log; x2 is twice the default; values with commas between them are choices.
TRAINING = "learning_rate=x0.25:x4:log num_epochs=x0.5:x2 batch_size=32,64,128 warmup_ratio=0:0.3 weight_decay=0:0.1"
STAGES = {  # by name: the script, its knobs, the function that runs it, and what is searched
    "train": ("train", "TrainConfig", "fine_tune", f"{TRAINING} dropout=0:0.3 recipe=plain,fgm,class_balanced"),
    "soft": ("soft_label_distillation", "SoftConfig", "distil_soft", f"{TRAINING} temperature=1:6 alpha=0.3:0.95"),
    "hard": ("hard_label_distillation", "DistillConfig", "distil_hard", TRAINING),
    "ner.train": ("ner.train", "TrainConfig", "fine_tune", TRAINING.replace("32,64,128", "16,32,64")),
}
FAULTS = (UserError, RuntimeError, MemoryError)  # that end a trial and not the search


@dataclass
class TuneConfig:
    """Knobs of the search."""

    data_dir: Path = Config.data_dir
    """Data folder of the stage."""
    stage: Literal["train", "soft", "hard", "ner.train"] = "train"
    """What is tuned: train.py, soft_ or hard_label_distillation.py, or ner.train."""
    trials: int = 20
    """Trainings, the default one included."""
    minutes: float | None = None
    """Begin no further trial after so many minutes. None: all trials."""
    space: tuple[str, ...] = ()
    """What to search in place of the stage's own: learning_rate=1e-5:1e-3:log num_epochs=2:8 recipe=plain,fgm."""
    set: tuple[str, ...] = ()
    """Knobs that all trials share: bert_layers=2 bert_path=rbt3."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """What stops trials that promise little."""
    limit: int | None = None
    """Train on the first N rows only."""
    storage: str | None = None
    """URL of the database of the study, for several machines. None: study.db in the output folder."""
    resume: bool = False
    """Go on with a study."""
    seed: int = Config.seed
    """Seed of the proposals and of each training."""
    output: Path = Config.output
    """Folder for the report: tune/ is made in it."""

    def __post_init__(self) -> None:
        require_one_or_more(self, "trials", "limit")
        if self.minutes is not None and not self.minutes > 0:
            raise UserError(f"--minutes is {self.minutes}: it must be above 0")


class Search:
    """A search: the stage, what all trials share, and the study that remembers them.

    Raises:
        UserError: the space is none, or the study is not to be gone on with.
    """

    def __init__(self, config: TuneConfig) -> None:
        script, knobs, function, own = STAGES[config.stage]
        module = import_module(script)
        self.config, self.stage, self.knobs = config, getattr(module, function), getattr(module, knobs)
        names = {each.name for each in fields(self.knobs) if each.init}
        self.space = read_space(config.space or own.split(), names)
        self.shared = read_shared(config.set, names - self.space.keys())
        self.folder = config.output / "tune"
        self.work = self.folder / "trials"
        self.folder.mkdir(parents=True, exist_ok=True)
        url = config.storage or f"sqlite:///{(self.folder / 'study.db').as_posix()}"
        self.study: Study = open_study(url, config.pruner, config.seed, self.identity(), config.resume)
        self.started = time.monotonic()

    def identity(self) -> dict[str, str]:
        """What makes two trials comparable, by its name for people."""
        files = [path for path in sorted(self.config.data_dir.glob("*")) if path.is_file() and "test" not in path.name]
        if not files:
            raise UserError(f"{self.config.data_dir} has no data: give the folder of train and dev with --data-dir")
        data = hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()
        space, shared = (" ".join(map(str, each)) for each in (self.space.values(), self.shared))
        own = {"stage": self.config.stage, "data folder": data, "--limit": str(self.config.limit)}
        return own | {"--space": space, "--set": shared}

    def read(self, knobs: dict[str, Any], folder: Path) -> Any:
        """The config of a training.

        Raises:
            UserError: a knob is what it must not be.
        """
        given = {"data_dir": self.config.data_dir, "limit": self.config.limit, "seed": self.config.seed, **knobs}
        given |= {"save_dir": folder, "output": folder / "reports"}
        args = [part for name, value in given.items() if value is not None for part in (flag(name), str(value))]
        return parse(self.knobs, [*args, *self.shared, "--resume"], None)

    def train(self, name: str, knobs: dict[str, Any], trial: "Trial | None" = None) -> dict[str, Any]:
        """One training, in a folder of its name; returns the facts of its model.

        Raises:
            TrialPruned: it is behind the others.
        """
        folder = self.work / name
        folder.mkdir(parents=True, exist_ok=True)
        config = self.read(knobs, folder)
        if trial:
            config.on_evaluation = reporter(trial, self.study.user_attrs["best_by"])
        with open(folder / "out.txt", "a", encoding="utf-8") as log, redirect_stdout(log):
            self.stage(config, False)
        return load(self.model(name))[1]

    def model(self, name: str) -> Path:
        """The checkpoint in the folder of a trial."""
        return next(path for path in (self.work / name).glob("*") if path.suffix in (".pt", ".pth"))

    def begin(self) -> None:
        """Train the default unless the study has it; with it known, the ranges are numbers, and are looked over.

        Raises:
            UserError: what the stage says of data or knobs.
        """
        from optuna.trial import create_trial

        if DEFAULT not in self.study.user_attrs:
            print("training with the default knobs", flush=True)
            facts = self.train(DEFAULT, {})
            self.study.set_user_attr("best_by", facts["best_by"])
            knobs = {name: facts["config"].get(name) for name in self.space}
            value = float(facts["metrics"]["dev"][facts["best_by"]])
            self.study.set_user_attr(DEFAULT, {"value": value, "knobs": knobs})
        default, self.metric = self.study.user_attrs[DEFAULT], readable(self.study.user_attrs["best_by"])
        self.space = {name: each.resolve(default["knobs"][name]) for name, each in self.space.items()}
        for name, each in self.space.items():
            for end in each.ends():
                self.read({name: end}, self.work)
        inside = all(each.holds(default["knobs"][name]) for name, each in self.space.items())
        self.trials = self.config.trials - (not inside)  # of Optuna's
        if inside and not self.study.get_trials(deepcopy=False):
            given = {name: each.distribution() for name, each in self.space.items()}
            self.study.add_trial(create_trial(params=default["knobs"], distributions=given, value=default["value"]))
        print(f"the default: {self.metric} {default['value']:.4f} on dev", flush=True)

    def objective(self, trial: "Trial") -> float:
        """Train with what is proposed; the metric on dev."""
        knobs = {name: each.suggest(trial) for name, each in self.space.items()}
        try:
            facts = self.train(str(trial.number), knobs, trial)
        except Stopped as fault:
            raise KeyboardInterrupt from fault
        except FAULTS as fault:
            trial.set_user_attr("why", str(fault).splitlines()[0][:200])
            raise
        return float(facts["metrics"]["dev"][facts["best_by"]])

    def after(self, study: "Study", trial: Any) -> None:
        """Say how the search stands, and remove the models that are not the best."""
        name, value, _ = self.best()
        for other in range(trial.number + 1):
            if str(other) != name:
                shutil.rmtree(self.work / str(other), ignore_errors=True)
        states = [each.state.name for each in study.get_trials(deepcopy=False)]
        told = {"PRUNED": "stopped early", "FAIL": f"failed: {trial.user_attrs.get('why', '')}"}
        print(
            f"trial {trial.number}: {told.get(trial.state.name) or format(trial.value, '.4f')}  {shown(trial.params)}"
        )
        minutes = (time.monotonic() - self.started) / 60
        left = f", {max(0.0, self.config.minutes - minutes):.0f} minutes left" if self.config.minutes else ""
        counted = f"{len(states)} trials, {states.count('PRUNED')} stopped early, {states.count('FAIL')} failed"
        print(f"  best {value:.4f} (trial {name}); {counted}{left}", flush=True)

    def best(self) -> tuple[str, float, dict[str, Any]]:
        """Name, value and knobs of the best trial: the default, unless another one is better."""
        default = self.study.user_attrs[DEFAULT]["value"]
        done = [each for each in self.study.get_trials(deepcopy=False) if each.state.name == "COMPLETE"]
        top = max(done, key=lambda each: each.value, default=None)
        return (str(top.number), top.value, dict(top.params)) if top and top.value > default else (DEFAULT, default, {})

    def go(self) -> None:
        """Run trials until there are enough, or the time is up."""
        from optuna.study import MaxTrialsCallback
        from optuna.trial import TrialState

        self.begin()
        ended = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
        left = self.trials - sum(each.state in ended for each in self.study.get_trials(deepcopy=False))
        seconds = self.config.minutes and self.config.minutes * 60 - (time.monotonic() - self.started)
        if left > 0 and (seconds is None or seconds > 0):
            callbacks = [self.after, MaxTrialsCallback(self.trials, states=ended)]
            self.study.optimize(self.objective, left, seconds, catch=FAULTS, callbacks=callbacks)

    def close(self) -> dict[str, Any]:
        """Judge the best and the default on test, and write what was found; returns the report."""
        name, value, knobs = self.best()
        trials = [describe(trial) for trial in self.study.get_trials(deepcopy=False)]
        report = {**measured_on(), **self.identity(), "best_by": self.study.user_attrs["best_by"]}
        report |= {DEFAULT: self.study.user_attrs[DEFAULT], "best": {"trial": name, "value": value, "knobs": knobs}}
        report |= {"test": self.test(name) if name != DEFAULT else None, "trials": trials}
        write_json(self.folder / "report.json", report)
        write_json(self.folder / "best.json", knobs)
        draw(self.study, self.folder, self.metric)
        return report

    def test(self, name: str) -> dict[str, Any] | None:
        """The metric of the default and of the best on test, and how their accuracies differ; None without a test."""
        judged: list[dict[str, Any]] = []
        for each in (DEFAULT, name):
            task, predictor = tasks.load(self.model(each))
            path = task.file(self.config.data_dir, "test")
            if not path.is_file():
                return None
            split = task.read(path, predictor.labels, None)
            judged.append(task.score(predictor, split, self.folder / f"test_{each}"))
        best_by = self.study.user_attrs["best_by"]
        found: dict[str, Any] = {DEFAULT: judged[0][best_by], "best": judged[1][best_by]}
        if all("predicted" in each for each in judged):
            right = [np.array(str(each["predicted"]).split(), int) == np.array(split.labels) for each in judged]
            found["accuracy"] = asdict(paired_bootstrap(right[1], right[0]))
        return found


def main(argv: Sequence[str] | None = None) -> None:
    search = Search(parse(TuneConfig, argv, __doc__))
    try:
        search.go()
    except (KeyboardInterrupt, Stopped) as fault:
        raise UserError("stopped: go on with the same flags and --resume") from fault
    report = search.close()
    print(in_a_line(report, search.metric))
    if knobs := report["best"]["knobs"]:
        print(f"best: {shown(knobs)}; train with it: --config {(search.folder / 'best.json').as_posix()}")


if __name__ == "__main__":
    run(main)
