"""Tuning: from a tiny BERT to best.json; trials that fail, processes that die, spaces that are none."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, write_data

import train
import tune
from core.console import UserError
from core.model_files import checkpoint
from core.training.loop import fit
from core.training.space import read_space

pytest.importorskip("optuna", reason="tuning is optional: pip install -r requirements-tune.txt")
SPACE = ("--space", "learning_rate=1e-3:1e-2:log", "num_epochs=1:3", "recipe=plain,class_weights")


def args(data: Path, bert: Path, folder: Path, *more: str) -> list[str]:
    shared = ("--set", f"bert_path={bert}", "device=cpu", "batch_size=16", "max_length=12", "num_epochs=2")
    shared = shared[:-1] if "num_epochs" in " ".join(more) else shared
    return ["--data-dir", str(data), "--output", str(folder), *more, *shared]


def report_of(folder: Path) -> dict:
    return json.loads((folder / "tune" / "report.json").read_text(encoding="utf-8"))


def test_a_search_and_the_training_with_what_it_found(bert: Path, data: Path, tmp_path: Path, capsys):
    tune.main(args(data, bert, tmp_path, "--trials", "5", *SPACE))
    out, report = capsys.readouterr().out, report_of(tmp_path)
    assert "the default: macro-F1" in out and out.count("\ntrial ") >= 4
    assert {"stage", "machine", "date", "data folder", "--space"} <= report.keys()
    best, numbers = report["best"], [trial["value"] for trial in report["trials"] if trial["state"] == "complete"]
    assert best["value"] == max([report["default"]["value"], *numbers]) >= report["default"]["value"]
    assert (tmp_path / "tune" / "history.png").read_bytes().startswith(b"\x89PNG")
    kept = {path.name for path in (tmp_path / "tune" / "trials").iterdir()}
    assert kept == {"default", best["trial"]}
    found = json.loads((tmp_path / "tune" / "best.json").read_text(encoding="utf-8"))
    assert found == best["knobs"]
    if best["trial"] != "default":
        assert ("on test" in out) and report["test"]["best"] is not None
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"learning_rate": 0.002, "recipe": "class_weights", "num_epochs": 1}), encoding="utf-8")
    flags = ["--data-dir", str(data), "--bert-path", str(bert), "--save-dir", str(tmp_path / "save"), "--device", "cpu"]
    train.main([*flags, "--output", str(tmp_path), "--config", str(file), "--num-epochs", "2"])
    facts = checkpoint.load(tmp_path / "save" / "test_bertclassifer_model.pt")[1]
    assert [facts["config"][name] for name in ("learning_rate", "recipe", "num_epochs")] == [0.002, "class_weights", 2]

    with pytest.raises(UserError, match="holds a study already: go on with --resume"):
        tune.main(args(data, bert, tmp_path, "--trials", "5", *SPACE))
    with pytest.raises(UserError, match="holds a study of another --space"):
        tune.main(args(data, bert, tmp_path, "--resume", "--space", "learning_rate=1e-3:1e-2:log", "num_epochs=1:2"))
    with pytest.raises(UserError, match="holds a study of another data folder"):
        tune.main(args(write_data(tmp_path / "other", 30), bert, tmp_path, "--resume", *SPACE))
    capsys.readouterr()
    tune.main(args(data, bert, tmp_path, "--trials", "5", "--resume", *SPACE))
    assert "\ntrial " not in capsys.readouterr().out and len(report_of(tmp_path)["trials"]) == len(report["trials"])


def test_a_trial_that_fails_ends_itself_alone(bert: Path, data: Path, tmp_path: Path, monkeypatch, capsys):
    seen = []

    def sometimes(*given, **more):
        seen.append(given[4].learning_rate)
        if len(seen) == 2:
            raise UserError("the loss is not a number")
        if len(seen) == 3:
            raise RuntimeError("out of memory")
        return fit(*given, **more)

    monkeypatch.setattr(train, "fit", sometimes)
    tune.main(args(data, bert, tmp_path, "--trials", "4", "--space", "learning_rate=x0.5:x2:log"))
    states = [trial["state"] for trial in report_of(tmp_path)["trials"]]
    assert states == ["complete", "fail", "fail", "complete"] and len(seen) == 4
    out = capsys.readouterr().out
    assert "failed: the loss is not a number" in out and "2 failed" in out
    monkeypatch.setattr(train, "fit", lambda *_, **__: seen[99])
    with pytest.raises(IndexError):  # a fault of ours is no trial's
        tune.main(args(data, bert, tmp_path / "b", "--trials", "2", "--space", "learning_rate=x0.5:x2"))


def test_what_is_behind_is_stopped(bert: Path, data: Path, tmp_path: Path, monkeypatch):
    flags = ("--trials", "8", "--space", "learning_rate=1e-9,0.005,0.006,0.007", "--minutes", "5")
    tune.main(args(data, bert, tmp_path, *flags, "--seed", "1"))
    trials = report_of(tmp_path)["trials"]
    pruned = [trial for trial in trials if trial["state"] == "pruned"]
    assert len(trials) == 8 and 1e-9 in {trial["knobs"]["learning_rate"] for trial in pruned}
    assert all(trial["value"] < 0.9 for trial in pruned)


def test_a_killed_search_loses_the_running_trial_alone(bert: Path, data: Path, tmp_path: Path):
    flags = args(data, bert, tmp_path, "--trials", "4", "--space", "learning_rate=x0.5:x2:log")
    command = [sys.executable, "-X", "utf8", "tune.py", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8")
    for line in process.stdout:
        if line.startswith("trial 1"):
            process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
            break
    process.wait()
    tune.main([*flags, "--resume"])
    trials = report_of(tmp_path)["trials"]
    assert [trial["number"] for trial in trials] == list(range(len(trials)))
    ended = [trial["state"] for trial in trials if trial["state"] != "running"]
    assert len(ended) == 4 and len(trials) - len(ended) <= 1 and ended[0] == ended[1] == "complete"


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        (("--trials", "0"), "--trials is 0: it must be 1 or more"),
        (("--minutes", "0"), "--minutes is 0"),
        (("--space", "speed=1:2"), "--space has speed=1:2: the knobs are"),
        (("--space", "learning_rate=2:1"), "LOW must be at most HIGH"),
        (("--space", "learning_rate=0:1:log"), "with :log both ends must be above 0"),
        (("--space", "learning_rate="), "give LOW:HIGH"),
        (("--space", "recipe=plain,plain"), "give LOW:HIGH"),
        (("--space", "seed=1:2", "seed=3:4"), "names seed twice"),
        (("--space", ""), "--space has : the knobs are"),
        (("--set", "colour=red"), "--set has colour=red"),
        (("--space", "warmup_ratio=0:3"), "--warmup-ratio is 3"),
        (("--space", "recipe=plain,fokal"), "there is no recipe fokal"),
    ],
)
def test_spaces_that_are_none(flags: tuple[str, ...], fault: str, bert: Path, data: Path, tmp_path: Path, monkeypatch):
    facts = {"best_by": "macro_f1", "config": {"warmup_ratio": 0.1, "recipe": "plain"}}
    facts["metrics"] = {"dev": {"macro_f1": 0.5}}
    monkeypatch.setattr(tune.Search, "train", lambda *_, **__: facts)
    with pytest.raises(UserError, match=fault):
        tune.main(["--data-dir", str(data), "--output", str(tmp_path), *flags])


def test_a_folder_without_data_and_a_broken_study(bert: Path, tmp_path: Path):
    with pytest.raises(UserError, match="has no data"):
        tune.main(["--data-dir", str(tmp_path / "nothing"), "--output", str(tmp_path)])
    data = write_data(tmp_path / "data", 30)
    (data / "dev.txt").unlink()
    with pytest.raises(UserError, match="dev.txt"):
        tune.main(args(data, bert, tmp_path, "--space", "learning_rate=x1:x2"))
    (tmp_path / "b" / "tune").mkdir(parents=True)
    (tmp_path / "b" / "tune" / "study.db").write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match="study.db cannot be opened"):
        tune.main(args(data, bert, tmp_path / "b", "--space", "learning_rate=x1:x2"))


def test_ranges_in_units_of_the_default():
    space = read_space(["learning_rate=x0.5:x2:log", "num_epochs=x0.5:x2", "alpha=0:1", "batch_size=16,32"], KNOBS)
    rate, epochs = space["learning_rate"].resolve(4e-4), space["num_epochs"].resolve(8)
    assert (rate.low, rate.high, rate.log) == (2e-4, 8e-4, True) and (epochs.low, epochs.high) == (4, 16)
    assert isinstance(epochs.low, int) and space["num_epochs"].resolve(1).ends() == (1, 2)
    alpha = space["alpha"].resolve(0.7)
    assert alpha.ends() == (0.0, 1.0) and alpha.holds(0.7) and not alpha.holds(1.5)
    assert space["batch_size"].ends() == (16, 32)
    with pytest.raises(UserError, match="nothing lies between"):
        read_space(["learning_rate=1:x0.5"], KNOBS)["learning_rate"].resolve(1.0)


KNOBS = {"learning_rate", "num_epochs", "alpha", "batch_size"}
