"""Search good knobs for your data with Optuna: learning rate, epochs, batch size and more.

    python tune.py --data-dir my_data --trials 20 --minutes 60    # of train.py; whichever end comes first
    python tune.py --stage soft --model teacher                   # of a student; or hard, ner.train, ner.distillation
    python tune.py --space learning_rate=1e-5:1e-3:log recipe=plain,fgm num_epochs=2:6    # in place of the usual knobs
    python tune.py --resume                                       # go on after Ctrl-C, a kill or a power cut
    python tune.py --resume --storage postgresql://…              # several processes or machines at one search
    python train.py --config reports/tune/best.json               # train with what was found

Needs requirements-tune.txt. Flags that are not listed below go to the stage, such as --bert-path, --limit, --model,
--unlabeled, --bert-layers, --device or --config. Trial 0 is the stage as it is without a search (the default); what
falls behind the other trials is stopped early. At the end the best and the default are scored on dev and, once, on
test: best.json holds the best where it is significantly better on dev, else the default. Writes best.json, tune.json,
pictures, study.db (the trials so far), and the log of each trial to reports/tune/. More: docs/tuning.en.md.
"""

import importlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from filelock import FileLock

import evaluate
import tasks
import tune_study
from config import Config
from core.console import Stopped, UserError, flag, parse, printing_to, progress, require_one_or_more, run, split_flags
from core.files import require_folder, write_json
from core.measure import tuning_report as report
from core.model_files.checkpoint import load
from core.model_files.module import pick_device
from core.training.device import Devices, measured_on
from core.training.space import has_multiples, read_space, split_entries
from core.training.watch import Watch, identity_of

# What is searched, in the notation of --space (core/training/space.py): x0.5:x1.5 is half to one and a half times of
# what the stage takes by itself, which depends on the encoder and on the number of training rows.
FINE_TUNING = {
    "learning_rate": "x0.25:x4:log",
    "num_epochs": "x0.5:x1.5",
    "batch_size": "x0.25,x0.5,x1",
    "warmup_ratio": "0:0.3",
    "weight_decay": "1e-3:0.1:log",
    "dropout": "0:0.3",
}
STUDENT = FINE_TUNING | {"bert_layers": "1:x1"}  # of a BERT: no student grows beyond what it is by itself
ASPECTS = FINE_TUNING | {"loss": "plain,class_weights,focal"}
SOFT_STUDENT = STUDENT | {"temperature": "1:6", "alpha": "0.3:1"}


class Stage(NamedTuple):
    """A stage to search; its function takes the config, and False: test is not read, only the checkpoint is made."""

    module: str
    config: str
    function: str
    space: dict[str, str]


STAGES = {
    "train": Stage("train", "TrainConfig", "fine_tune", FINE_TUNING | {"recipe": "plain,fgm,class_weights"}),
    "soft": Stage("soft_label_distillation", "SoftConfig", "distil_soft", SOFT_STUDENT),
    "hard": Stage("hard_label_distillation", "DistillConfig", "distil_hard", STUDENT),
}
for task, training in {"ner": FINE_TUNING, "aspect_sentiment": ASPECTS, "qa": FINE_TUNING}.items():
    STAGES[f"{task}.train"] = Stage(f"{task}.train", "TrainConfig", "fine_tune", training)
    STAGES[f"{task}.distillation"] = Stage(f"{task}.distillation", "DistillConfig", "distil", SOFT_STUDENT)


@dataclass
class TuneConfig:
    """Knobs of the search."""

    stage: Literal[*STAGES] = "train"
    """What is searched."""
    data_dir: Path | None = None
    """Folder of the data. None: that of the stage."""
    trials: int = 20
    """End after so many trials, those before --resume and in other processes included."""
    minutes: float | None = None
    """End after so many minutes, and those that the test data take; --resume has as many again."""
    space: tuple[str, ...] | None = None
    """In place of the usual knobs: knob=low:high, knob=low:high:log, knob=a,b; x0.5 is half of the default."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """What is stopped early: trials below the median at the same share of their run, what Hyperband drops, nothing."""
    storage: str | None = None
    """Database of the study, an Optuna URL. None: study.db in the output folder."""
    resume: bool = False
    """Go on with a search that was stopped or killed, or join one that other processes are at."""
    seed: int = Config.seed
    """Seed of the search, and of each training in it."""
    output: Path = Config.output
    """Folder for the results: tune/ is made in it."""

    def __post_init__(self) -> None:
        require_one_or_more(self, "trials")
        if self.minutes is not None and not self.minutes > 0:
            raise UserError(f"--minutes is {self.minutes}: it must be above 0")


class Search:
    """A search over the knobs of a stage; its data and models are read, and so checked, before anything is searched.

    Args:
        config: knobs of the search.
        argv: the flags of the stage.
    """

    def __init__(self, config: TuneConfig, argv: Sequence[str]) -> None:
        self.config, self.stage = config, STAGES[config.stage]
        self.deadline = time.monotonic() + 60 * (config.minutes or float("inf"))
        self.folder, self.work = config.output / "tune", config.output / "tune" / "trials"
        self.module = importlib.import_module(self.stage.module)
        function = getattr(self.module, self.stage.function)
        self.train = lambda config: function(config, False)  # without a look at the test data
        self.argv = [*argv, *(("--data-dir", str(config.data_dir)) if config.data_dir else ())]
        given = self.given()
        if first := next((name for name in ("adapt_minutes", "cloze") if getattr(given, name, None)), None):
            raise UserError(
                f"{flag(first)} would pretrain in each trial: leave it out; --bert-path takes a BERT of pretrain_mlm.py"
            )
        Devices.alone(given.device, given.precision)
        require_folder(self.work)
        folder = self.work / f"probe-{os.getpid()}"
        self.defaults = self.configure({}, folder)
        try:
            identity = identity_of(self.train, self.defaults)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        usual = self.stage.space.items()  # of which a run may not have all: no layers where the student is no BERT
        usual = {name: text for name, text in usual if self.default(name) or not has_multiples(text)}
        plain = replace(self.defaults, gradient_accumulation=1)  # any batch will do
        self.space = read_space(usual if config.space is None else split_entries(config.space), plain)
        shown = {name: str(knob) for name, knob in self.space.items()}
        for name, text in shown.items():
            print(f"searching {name} = {text} (default: {self.default(name)})")
        url = config.storage or f"sqlite:///{(self.folder / 'study.db').as_posix()}"
        where = "--storage" if config.storage else str(self.folder / "study.db")
        identity = {"stage": config.stage, "space": shown, **identity}
        inside = {name: self.default(name) for name, knob in self.space.items() if knob.holds(self.default(name))}
        self.lock = FileLock(self.folder / ".lock")  # for who shares the folder
        with self.lock:
            self.study = tune_study.open_study(url, where, config.resume, config.pruner, identity, inside)
            tune_study.own_folder(self.work, self.study)

    def given(self) -> Any:
        """The config of the stage, as its flags say."""
        return parse(getattr(self.module, self.stage.config), self.argv, self.module.__doc__)

    def default(self, name: str) -> Any:
        """What a knob is without a search."""
        value = getattr(self.defaults, name)
        return value.as_posix() if isinstance(value, Path) else value

    def configure(self, knobs: Mapping[str, Any], folder: Path) -> Any:
        """The config of a run in a folder."""
        given = self.given()
        knobs = {name: Path(value) if self.space[name].kind is Path else value for name, value in knobs.items()}
        own = {"save_dir": folder, "output": folder / "reports", "seed": self.config.seed, "resume": False}
        own |= {"cloze": 0} if self.config.stage == "qa.train" else {}  # its trials would train twice
        most = knobs.get("batch_size", given.batch_size)  # pieces of a batch
        own["gradient_accumulation"] = min(knobs.get("gradient_accumulation", given.gradient_accumulation), most)
        config = replace(given, **(knobs | own))
        if hasattr(config, "logits_dir"):
            config.logits_dir = self.work / "teacher_logits"  # computed once for all runs
        return config

    def try_out(self, number: int, knobs: Mapping[str, Any], watch: Watch) -> None:
        """Run a trial; what it prints goes to its log."""
        config = self.configure(knobs, self.work / str(number))
        config.watch = watch
        with printing_to(self.work / f"{number}.log"):
            self.train(config)

    def run(self) -> None:
        """Run the trials, and tell how they go."""
        found = tune_study.read_trials(self.study, self.space)
        bar = progress(total=self.config.trials, initial=len(found), desc="tuning", unit="trial")

        def ended(trial: Any) -> None:
            found = tune_study.read_trials(self.study, self.space)
            kept = [trial["number"] for trial in (report.best_of(found), report.default_of(found)) if trial]
            with self.lock:
                tune_study.clear(self.work, self.study, kept)
            if own := next((each for each in found if each["number"] == trial.number), None):
                bar.n = len(found)
                bar.write(report.trial_in_words(own))
                bar.write(report.standing(found, self.config.trials, self.deadline - time.monotonic()))

        limits, seed = tune_study.Limits(self.config.trials, self.deadline), self.config.seed
        with bar:
            tune_study.search(self.study, self.space, self.try_out, limits, seed, bar.set_postfix_str, ended)

    def model(self, trial: Mapping[str, Any]) -> Path:
        """The model of a trial, trained again where another process has it or a kill came between."""
        folder = self.work / str(trial["number"])
        for _ in range(2):
            if model := next((path for path in folder.glob("*") if path.suffix in (".pt", ".pth")), None):
                return model
            self.try_out(trial["number"], {} if trial["default"] else trial["knobs"], Watch())
        raise UserError(f"{folder} has no model: is it on a full disk?")

    def conclude(self) -> None:
        """Read test for the best and the default, and write and say what was gained.

        Raises:
            UserError: no trial came to its end.
        """
        found = tune_study.read_trials(self.study, self.space)
        best, default = report.best_of(found), report.default_of(found)
        if best is None:
            last = f"; the last fault: {found[-1]['fault']}" if found and found[-1]["fault"] else ""
            raise UserError(f"none of {len(found)} trials came to its end: give it more time, or other knobs{last}")
        found_on = {}
        if default and best is not default:
            found_on = {split: self.compare(default, best, split) for split in ("dev", "test")}
        facts = {"stage": self.config.stage, "seed": self.config.seed, "pruner": self.config.pruner}
        facts |= {"space": {name: str(knob) for name, knob in self.space.items()}}
        facts |= report.conclusion(found, found_on.get("dev"), found_on.get("test"))
        facts |= {"importance": tune_study.importances(self.study, self.space), "trials": found}
        write_json(self.folder / "best.json", self.settings(best["knobs"] if facts["advised"] == "best" else {}))
        report.write(self.folder, facts | measured_on(pick_device(self.given().device)))
        print(report.next_step(self.stage.module, self.folder / "best.json"))

    def settings(self, knobs: Mapping[str, Any]) -> dict[str, Any]:
        """Some knobs, and what the flags of the stage change and a run with these knobs needs too."""
        given, usual = self.given().plain() | {"seed": self.config.seed}, type(self.given())().plain()
        own = {k: v for k, v in given.items() if v != usual[k] and k not in ("config", "device", "output", "save_dir")}
        size, pieces = knobs.get("batch_size", given["batch_size"]), "gradient_accumulation"
        return own | ({pieces: min(own[pieces], size)} if pieces in own else {}) | dict(knobs)

    def compare(self, default: Mapping[str, Any], best: Mapping[str, Any], split: str) -> dict[str, Any] | None:
        """Metrics of the default and the best trial on the dev or the test data; None: there are no such data."""
        data = tasks.task_of(load(self.model(default))[1]).file(self.given().data_dir, split)
        if not data.is_file():
            return None
        given = ["--data", str(data), "--device", self.given().device]
        given += ["--batch-size", str(min(32, self.given().batch_size))]  # what training has held, this will hold
        scored, more = {}, []
        for name, trial in {"default": default, "best": best}.items():
            folder = self.folder / split / name
            with printing_to(self.work / f"{name}_{split}.log"):
                evaluate.main(["--model", str(self.model(trial)), "--output", str(folder), *given, *more])
            scored[name] = json.loads((folder / "evaluate" / "metrics.json").read_text(encoding="utf-8"))
            more = ["--against", str(folder / "evaluate")]
        return scored


def main(argv: Sequence[str] | None = None) -> None:
    own, others = split_flags(TuneConfig, sys.argv[1:] if argv is None else argv)
    config = parse(TuneConfig, own, __doc__)
    tune_study.require_optuna()
    search = Search(config, others)
    try:
        search.run()
    except Stopped as stop:
        raise UserError("stopped; the trials so far are kept: go on with the same flags and --resume") from stop
    with search.lock:
        search.conclude()


if __name__ == "__main__":
    run(main)
