"""What tune.py gains, what stopping trials early saves, and what kills cost it.

    python -m experiments.tuning                                        # the bundled data, 3 seeds of 20 minutes each
    python -m experiments.tuning --data-dir my_data --limit 5000 --output results/my_data
    python -m experiments.tuning --parts pruning kills                  # only these

gain: searches of so many minutes with several seeds; the best trial of each against the default on test.txt, whether
best.json holds it, and all searches together. pruning: a search that stops trials early against one that runs all of
them out. kills: a search that is killed (SIGKILL) at random moments and resumed; of the trials that had ended, none may
be lost. Finished searches are kept: a run that was stopped goes on where it was. Writes tuning.json and tuning.md to
the output folder.
"""

import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

import tune
import tune_study
from config import BUNDLED_BERT, PROJECT, Config
from core.bert.folder import find_bert, find_weights
from core.console import UserError, parse, run
from core.files import sha256
from core.measure.stats import interval, paired_bootstrap
from experiments.readme_words import Words, markdown, percent
from experiments.trials import Trials, as_array, write_views
from utils import read_data

PARTS = ("gain", "pruning", "kills")
MANY = 1000  # trials, which no search comes to


@dataclass
class TuningConfig:
    """Knobs of the measurement."""

    parts: tuple[Literal["gain", "pruning", "kills"], ...] = PARTS
    """What is measured."""
    data_dir: Path = Config.data_dir
    """Folder with class.txt, train.txt, dev.txt and test.txt."""
    bert_path: Path = Config.bert_path
    """Folder of the BERT; while the default one holds none, the bundled bert-mini-chinese is used."""
    limit: int | None = None
    """Train on the first N rows only."""
    seeds: int = 3
    """Searches whose gain is measured."""
    minutes: float = 20.0
    """Of each of them."""
    trials: int = 12
    """Trials of each search of the part pruning."""
    kills: int = 5
    """How often a search is killed."""
    output: Path = Config.output
    """Folder for the table."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        if min(self.seeds, self.trials, self.kills) < 1 or self.minutes <= 0:
            raise UserError("--seeds, --trials and --kills must be 1 or more, --minutes above 0")


def flags(config: TuningConfig, folder: Path, *more: str) -> list[str]:
    """Those of tune.py for a search in a folder, which goes on there."""
    own = ["--data-dir", str(config.data_dir), "--bert-path", str(config.bert_path), "--device", config.device]
    own += ["--limit", str(config.limit)] if config.limit else []
    return [*own, "--output", str(folder), "--resume", *more]


def search(config: TuningConfig, folder: Path, *more: str) -> dict[str, Any]:
    """Run a search; what it found, and the classes that the default and the best predict, where these differ."""
    started = time.perf_counter()
    tune.main(flags(config, folder, *more))
    found = json.loads((folder / "tune" / "tune.json").read_text(encoding="utf-8"))
    by_number = {trial["number"]: trial for trial in found["trials"]}
    entry = {
        "wall": round(time.perf_counter() - started),
        "seconds": sum(trial["seconds"] for trial in found["trials"]),
    }
    entry |= {name: sum(t["state"] == name for t in found["trials"]) for name in ("complete", "pruned", "failed")}
    entry |= {f"dev_{name}": by_number[found[name]]["value"] for name in ("default", "best")}
    entry |= {name: found[name] for name in ("advised", "verdict", "against", "dev_against")}
    entry["knobs"] = by_number[found["best"]]["knobs"]
    for name in found["test"]:
        metrics = json.loads(
            (folder / "tune" / "test" / name / "evaluate" / "metrics.json").read_text(encoding="utf-8")
        )
        entry |= {f"test_{name}": metrics["accuracy"], f"predicted_{name}": metrics["predicted"]}
    return entry


def killed(config: TuningConfig, folder: Path) -> dict[str, Any]:
    """Kill a search at random moments and let it end; how many trials had ended at each kill, and how many are lost."""
    command = [sys.executable, str(PROJECT / "tune.py"), *flags(config, folder), "--trials"]
    rng, known, ended, lost = random.Random(1), {}, [], 0
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(config.kills):
        before = len(known)
        with (folder / "kills.log").open("a", encoding="utf-8") as log:
            process = subprocess.Popen([*command, str(MANY)], stdout=log, stderr=log)
        try:
            while len(known) <= before and process.poll() is None:  # until a trial of its own has ended
                time.sleep(0.5)
                lost += _look(folder, known)
            time.sleep(rng.uniform(0, max((trial["seconds"] for trial in known.values()), default=0)))
            if process.poll() is not None:
                raise UserError(f"the search ended before it was killed: see {folder / 'kills.log'}")
        finally:
            process.kill()
            process.wait()
        lost += _look(folder, known)
        ended.append(len(known))
    subprocess.run([*command, str(len(known) + 1)], check=True, stdout=subprocess.DEVNULL)
    lost += _look(folder, known)
    return {"ended": ended, "lost": lost, "found": len(known)}


def _look(folder: Path, known: dict[int, Any]) -> int:
    """Note the trials that have ended; how many of those noted before are gone, or not what they were."""
    import optuna

    if not (folder / "tune" / "trials" / "0.log").is_file():  # the study is not made yet
        return 0
    url = f"sqlite:///{(folder / 'tune' / 'study.db').as_posix()}"
    study = optuna.load_study(study_name=tune_study.NAME, storage=url)
    now = {trial["number"]: trial for trial in tune_study.read_trials(study, {})}
    gone = sum(now.get(number) != trial for number, trial in known.items())
    known.update(now)
    return gone


def summarise(entries: Sequence[dict[str, Any]], true: Sequence[int]) -> dict[str, Any]:
    """The best trials against the default, the mean over the searches; 0 where the default is the best."""
    gains = np.zeros((len(entries), len(true)))
    for gain, entry in zip(gains, entries, strict=True):
        if "predicted_best" in entry:
            best, default = as_array([entry["predicted_best"], entry["predicted_default"]]) == np.array(true)
            gain[:] = best.astype(float) - default
    return asdict(paired_bootstrap(gains.mean(axis=0), np.zeros(len(true))))


def table(report: dict[str, Any], words: Words) -> str:
    """The searches as tables and sentences."""
    parts = []
    if report["gain"]:
        lines = []
        for entry in report["gain"]:
            test = (percent(entry[f"test_{name}"]) if f"test_{name}" in entry else "–" for name in ("default", "best"))
            counts = f"{entry['complete'] + entry['pruned'] + entry['failed']} ({entry['pruned']})"
            lines.append([str(entry["seed"]), counts, *(percent(entry[f"dev_{name}"]) for name in ("default", "best"))])
            lines[-1] += [*test, interval(entry["against"], words["an interval"]) if entry["against"] else "0"]
            lines[-1].append(words[f"advised {entry['advised']}"])
        parts += [
            markdown(words["table tuning"], lines),
            "",
            words["all searches"].format(interval(report["summary"], words["an interval"], 2)),
            words["all advised"].format(interval(report["summary_advised"], words["an interval"], 2)),
        ]
    for entry in report["pruning"]:
        parts.append(words["a pruner"].format(**entry, total=entry["seconds"], dev=percent(entry["dev_best"])))
    for entry in report["kills"]:
        parts.append(words["kills"].format(len(entry["ended"]), entry["found"], entry["lost"]))
    return "\n".join(parts)


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(TuningConfig, argv, __doc__)
    _, titles = read_data(config.data_dir)
    if "test" not in titles:
        raise UserError(f"{config.data_dir} has no test.txt: the gain is measured on it")
    config.bert_path = find_bert(config.bert_path, Config.bert_path, BUNDLED_BERT)
    settings = {"data": {name: sha256(config.data_dir / f"{name}.txt") for name in ("class", "train", "dev", "test")}}
    settings |= {"bert": sha256(find_weights(config.bert_path)), "limit": config.limit, "minutes": config.minutes}
    settings["trials"] = config.trials
    path = config.output / "tuning.json"
    trials = Trials(config.output / "tuning_work", settings, PARTS, path, config.device)
    if "gain" in config.parts:
        for seed in range(1, config.seeds + 1):
            limits = ("--seed", str(seed), "--minutes", str(config.minutes), "--trials", str(MANY))
            trials.once("gain", {"seed": seed}, lambda folder, limits=limits: search(config, folder, *limits))
        gain, true = trials.report["gain"], titles["test"].labels
        trials.report["summary"] = summarise(gain, true)
        trials.report["summary_advised"] = summarise([e if e["advised"] == "best" else {} for e in gain], true)
    if "pruning" in config.parts:
        for pruner in ("none", "median", "hyperband"):
            limits = ("--pruner", pruner, "--trials", str(config.trials))
            trials.once("pruning", {"pruner": pruner}, lambda folder, limits=limits: search(config, folder, *limits))
    if "kills" in config.parts:
        trials.once("kills", {"kills": config.kills}, lambda folder: killed(config, folder / "kills"))
    trials.save()
    write_views(trials.report, path, table)


if __name__ == "__main__":
    run(main)
