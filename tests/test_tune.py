"""tune.py from end to end: what it finds, keeps and says, on a tiny BERT."""

import importlib
import json
import os
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
from aspect_reviews import VOCAB, write_reviews
from conftest import ROOT, press_ctrl_c, write_bert, write_data

import train
import tune
import tune_study
from core.console import UserError
from core.model_files import checkpoint
from core.training import recipes

optuna = pytest.importorskip("optuna", reason="requirements-tune.txt is not installed")
SPACE = ("learning_rate=1e-4:2e-2:log", "num_epochs=1:4", "recipe=plain,fgm")


def args(bert: Path, data: Path, output: Path, *more: str) -> list[str]:
    paths = ["--bert-path", str(bert), "--data-dir", str(data), "--output", str(output)]
    return [*paths, "--batch-size", "16", "--device", "cpu", *more]


def report(output: Path) -> dict:
    return json.loads((output / "tune" / "tune.json").read_text(encoding="utf-8"))


def weak(bert: Path, data: Path, output: Path, *more: str) -> list[str]:
    """The flags of a search whose default learns next to nothing, so that there is something to be gained."""
    return args(bert, data, output, "--learning-rate", "2e-5", "--num-epochs", "2", "--seed", "3", *more)


@pytest.fixture(scope="module")
def searched(bert: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("searched")
    tune.main(weak(bert, data, output, "--trials", "9", "--space", *SPACE))
    return output


def test_the_default_comes_first_and_the_best_is_better_on_dev_and_judged_on_test(searched: Path):
    found = report(searched)
    first, *others = found["trials"]
    assert first["default"] and first["number"] == found["default"] == 0 and first["state"] == "complete"
    assert len(found["trials"]) == 9 and not any(trial["default"] for trial in others)
    ended = {trial["number"]: trial["value"] for trial in found["trials"] if trial["state"] == "complete"}
    assert ended[found["best"]] == max(ended.values()) > first["value"]
    for trial in others:
        assert 1e-4 <= trial["knobs"]["learning_rate"] <= 2e-2 and trial["knobs"]["num_epochs"] in (1, 2, 3, 4)
    test, against = found["test"], found["against"]
    assert against["difference"] == pytest.approx(test["best"]["accuracy"] - test["default"]["accuracy"])
    assert against["low"] <= against["difference"] <= against["high"] and test["best"]["n"] == 20
    assert found["verdict"].startswith("gain +") and "interval" in found["verdict"]
    assert found["advised"] == "best" and found["dev_against"]["low"] > 0


def test_a_trial_that_falls_behind_is_stopped_early(searched: Path):
    pruned = [trial for trial in report(searched)["trials"] if trial["state"] == "pruned"]
    assert pruned and all(trial["done"] < 1 for trial in pruned) and 0 < report(searched)["saved"] < 1


def test_it_leaves_pictures_logs_and_two_models(searched: Path):
    folder, found = searched / "tune", report(searched)
    for name in ("history.png", "importance.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert sum(found["importance"].values()) == pytest.approx(1) and len(found["importance"]) == 3
    kept = {path.parent.name for path in (folder / "trials").rglob("*.pt")}
    assert kept == {str(found["best"]), str(found["default"])}
    assert "peak learning rate" in (folder / "trials" / "1.log").read_text(encoding="utf-8")


def test_training_with_the_best_knobs_gives_the_best_model(searched: Path, tmp_path: Path):
    found = report(searched)
    train.main(
        ["--config", str(searched / "tune" / "best.json"), "--save-dir", str(tmp_path), "--output", str(tmp_path)]
    )
    [model] = tmp_path.glob("*.pt")
    [trial] = [trial for trial in found["trials"] if trial["number"] == found["best"]]
    facts = checkpoint.load(model)[1]
    assert facts["metrics"]["dev"]["macro_f1"] == pytest.approx(trial["value"])
    assert facts["config"]["learning_rate"] == trial["knobs"]["learning_rate"] and facts["seed"] == 3


def test_resume_goes_on_and_a_study_is_neither_lost_nor_mixed(searched: Path, bert: Path, data: Path, tmp_path: Path):
    before = report(searched)["trials"]
    with pytest.raises(UserError, match=r"has a study already: go on with it by --resume"):
        tune.main(weak(bert, data, searched, "--space", *SPACE))
    other = write_data(tmp_path / "other", seed=5)
    with pytest.raises(UserError, match="had (dev|training) rows = .*repeat its flags and data"):
        tune.main(weak(bert, other, searched, "--space", *SPACE, "--resume"))
    with pytest.raises(UserError, match="had space = .*, this one has "):
        tune.main(weak(bert, data, searched, "--space", "num_epochs=1:4", "--resume"))
    tune.main(weak(bert, data, searched, "--space", *SPACE, "--resume", "--trials", "10"))
    after = report(searched)["trials"]
    assert after[:9] == before and len(after) == 10 and after[9]["knobs"] not in [trial["knobs"] for trial in before]


def test_killed_in_a_trial_only_that_one_is_lost_and_done_again(
    bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    flags = args(bert, data, tmp_path, "--trials", "4", "--space", *SPACE)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running, log = tmp_path / "tune" / "trials" / "2.log", {}
    with subprocess.Popen(
        [sys.executable, str(ROOT / "tune.py"), *flags], env=environment, stdout=subprocess.DEVNULL
    ) as it:
        deadline = time.monotonic() + 120
        while not running.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        it.kill()
    study = optuna.load_study(study_name="tune", storage=f"sqlite:///{(tmp_path / 'tune' / 'study.db').as_posix()}")
    log = {trial.number: (trial.state.name, trial.value, trial.params) for trial in study.trials}
    assert [state for state, *_ in log.values()] == ["COMPLETE", "COMPLETE", "RUNNING"]
    monkeypatch.setattr(tune_study, "DEAD", 1)
    time.sleep(2.5)  # a database tells the time in seconds
    tune.main([*flags, "--resume"])
    after = {trial.number: (trial.state.name, trial.value, trial.params) for trial in study.trials}
    assert [after[number] for number in (0, 1)] == [log[number] for number in (0, 1)]
    assert after[2][0] == "FAIL" and after[3][2] == log[2][2] and len(report(tmp_path)["trials"]) == 4


def test_a_trial_that_others_took_for_dead_is_theirs(
    bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    real, failed = tune_study.Reporter.evaluated, optuna.trial.TrialState.FAIL

    def evaluated(self, *told) -> None:
        if self.trial.number == 1:
            self.trial.storage.set_trial_state_values(self.trial._trial_id, state=failed)
        real(self, *told)

    monkeypatch.setattr(tune_study.Reporter, "evaluated", evaluated)
    tune.main(args(bert, data, tmp_path, "--trials", "2", "--num-epochs", "1", "--space", "learning_rate=1e-3:1e-2"))
    assert [trial["number"] for trial in report(tmp_path)["trials"]] == [0, 2]
    assert "another process does it again" in capsys.readouterr().out


def test_ctrl_c_keeps_what_was_found(bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    flags = args(bert, data, tmp_path, "--trials", "2", "--num-epochs", "1", "--space", "learning_rate=1e-3:1e-2")
    press_ctrl_c(monkeypatch, at=6)  # in trial 1
    with pytest.raises(UserError, match="stopped; the trials so far are kept: go on with the same flags and --resume"):
        tune.main(flags)
    monkeypatch.undo()
    tune.main([*flags, "--resume"])
    assert [trial["number"] for trial in report(tmp_path)["trials"]] == [0, 2]


@pytest.mark.parametrize(
    ("space", "fault"),
    [("learning_rate=1e30", "the loss is nan on training rows"), ("batch_size=7", "out of memory")],
)
def test_a_fault_of_a_trial_is_told_and_the_search_goes_on(
    space: str, fault: str, bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real_call = recipes.call

    def call(model, batch):
        if len(batch["row"]) == 7:
            raise MemoryError
        return real_call(model, batch)

    monkeypatch.setattr(recipes, "call", call)
    tune.main(args(bert, data, tmp_path, "--num-epochs", "1", "--trials", "3", "--space", space))
    found = report(tmp_path)["trials"]
    assert [trial["state"] for trial in found] == ["complete", "failed", "failed"]
    assert all(fault in trial["fault"] for trial in found[1:])


def test_no_trial_comes_to_its_end(bert: Path, data: Path, tmp_path: Path):
    flags = args(bert, data, tmp_path, "--learning-rate", "1e30", "--trials", "2", "--space", "learning_rate=1e29")
    with pytest.raises(UserError, match="none of 2 trials came to its end: .*the last fault: the loss is nan"):
        tune.main(flags)


class Told:
    """A trial as Optuna gives it, which notes what it is told and is never to be pruned."""

    number = 1

    def __init__(self) -> None:
        self.values: dict[int, float] = {}

    def report(self, value: float, step: int) -> None:
        assert step not in self.values
        self.values[step] = value

    def set_user_attr(self, name: str, value: object) -> None:
        pass

    def should_prune(self) -> bool:
        return False


def test_every_tenth_has_a_value_from_the_first_evaluation_on():
    """So that trials with other numbers of epochs are compared at the same tenths; one that ends early has one too."""
    told = Told()
    watch = tune_study.Reporter(told, may_stop=True, deadline=float("inf"), told=lambda _: None)
    for done, value in ((0.25, 0.5), (0.5, 0.4), (0.75, 0.6), (1.0, 0.7)):
        watch.evaluated(done, {"f1": value}, "f1")
    assert told.values == {2: 0.5, 3: 0.5, 4: 0.5, 5: 0.5, 6: 0.5, 7: 0.6, 8: 0.6, 9: 0.6, 10: 0.7}
    late = Told()
    watch = tune_study.Reporter(late, may_stop=True, deadline=0, told=lambda _: None)
    with pytest.raises(optuna.TrialPruned):
        watch.evaluated(0.05, {"f1": 0.3}, "f1")
    assert late.values == {0: 0.3}


def test_models_of_another_study_are_not_taken_for_its_own(tmp_path: Path):
    def study(name: str) -> "optuna.Study":
        return tune_study.open_study(f"sqlite:///{tmp_path / name}.db", name, True, "none", {}, {})

    one, other = study("one"), study("other")
    (tmp_path / "trials" / "0").mkdir(parents=True)
    for found, left in ((one, False), (one, True), (other, False), (one, False)):
        tune_study.own_folder(tmp_path / "trials", found)
        assert (tmp_path / "trials" / "0").is_dir() == left
        (tmp_path / "trials" / "0").mkdir(exist_ok=True)


def test_a_study_that_was_killed_as_it_began_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def begin() -> "optuna.Study":
        return tune_study.open_study(f"sqlite:///{tmp_path / 'study.db'}", "here", True, "none", {"a": 1}, {"b": 2})

    real, calls = optuna.Study.set_user_attr, []
    for allowed in range(2):
        calls.clear()

        def noted(self: "optuna.Study", name: str, value: object, allowed: int = allowed) -> None:
            calls.append(name)
            if len(calls) > allowed:
                raise KeyboardInterrupt
            real(self, name, value)

        monkeypatch.setattr(optuna.Study, "set_user_attr", noted)
        with pytest.raises(KeyboardInterrupt):
            begin()
    monkeypatch.undo()
    study = begin()
    assert study.user_attrs["identity"] == {"a": 1} and len(study.user_attrs["id"]) == 32
    assert [trial.user_attrs for trial in study.get_trials()] == [{"default": {"b": 2}}]


def test_what_a_killed_trial_left_is_removed(tmp_path: Path):
    study = optuna.create_study()
    for state in (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL):
        study.add_trial(optuna.trial.create_trial(state=state, value=1.0 if state.name == "COMPLETE" else None))
    study.ask()  # is running
    for number in range(3):
        (tmp_path / str(number)).mkdir()
    tune_study.clear(tmp_path, study, [0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "2"]


def test_a_trial_that_is_killed_while_its_fault_is_told_has_not_ended(tmp_path: Path):
    study = tune_study.open_study(f"sqlite:///{tmp_path / 'study.db'}", "here", True, "none", {}, {})
    trial = study.ask()
    trial.set_user_attr("fault", "out of memory")
    assert tune_study.read_trials(study, {}) == []
    optuna.storages.RetryHeartbeatStaleTrialCallback()(study, study.get_trials()[0])  # it waits, with what was noted
    assert tune_study.read_trials(study, {}) == []
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert [each["fault"] for each in tune_study.read_trials(study, {})] == ["out of memory"]


def test_processes_that_begin_a_study_at_once(bert: Path, data: Path, tmp_path: Path):
    begin = (
        "import sys, tune\n"
        "search = tune.Search(tune.parse(tune.TuneConfig, ['--resume', '--output', sys.argv[1]], ''), sys.argv[2:])\n"
        "print(search.study.user_attrs['id'], len(search.study.get_trials()))"
    )
    flags = ["--bert-path", str(bert), "--data-dir", str(data), "--batch-size", "16", "--device", "cpu"]
    some = [
        subprocess.Popen(
            [sys.executable, "-c", begin, str(tmp_path), *flags], cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8"
        )
        for _ in range(2)
    ]
    told = [process.communicate()[0].split("\n")[-2] for process in some]
    assert len(set(told)) == 1 and told[0].endswith(" 1"), told  # one study, with the default trial once


def test_gradient_accumulation_fits_smaller_batches(bert: Path, data: Path, tmp_path: Path):
    flags = args(bert, data, tmp_path, "--gradient-accumulation", "16", "--num-epochs", "1", "--trials", "2")
    tune.main([*flags, "--space", "batch_size=4,8"])
    found = report(tmp_path)["trials"]
    assert [trial["state"] for trial in found] == ["complete", "complete"]
    search = tune.Search(
        tune.parse(tune.TuneConfig, ["--output", str(tmp_path / "other"), "--space", "batch_size=4,8"], ""),
        [*args(bert, data, tmp_path)[:4], "--batch-size", "16", "--gradient-accumulation", "16"],
    )
    assert search.settings({"batch_size": 4})["gradient_accumulation"] == 4


def test_time_is_up(bert: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    tune.main(args(bert, data, tmp_path, "--minutes", "0.0001"))
    [only] = report(tmp_path)["trials"]  # without the default there would be nothing to say
    assert only["default"] and only["state"] == "complete"
    assert "no gain: the default is the best of 1 trial" in capsys.readouterr().out
    assert json.loads((tmp_path / "tune" / "best.json").read_text(encoding="utf-8")).keys() == {
        "bert_path",
        "data_dir",
        "batch_size",
    }


def test_students_and_other_tasks_are_searched_too(
    teacher: Path, data: Path, reader: Path, questions: Path, tmp_path: Path, small_student: None
):
    reviews, reviews_bert = write_reviews(tmp_path / "reviews", 12), write_bert(tmp_path / "bert", list(VOCAB))
    for stage, where, more in (
        ("soft", data, ("--model", str(teacher))),
        ("aspect_sentiment.train", reviews, ("--bert-path", str(reviews_bert), "--max-length", "24")),
        ("qa.distillation", questions, ("--model", str(reader))),
    ):
        folder = tmp_path / stage
        flags = ["--stage", stage, "--data-dir", str(where), "--output", str(folder), "--device", "cpu", *more]
        tune.main([*flags, "--trials", "2", "--num-epochs", "1", "--pruner", "hyperband"])
        found = report(folder)
        assert [trial["default"] for trial in found["trials"]] == [True, False]
        knobs = found["trials"][1]["knobs"]
        assert ("temperature" in knobs) == ("alpha" in knobs) == (stage != "aspect_sentiment.train")
        assert ("bert_layers" in knobs) == (stage == "qa.distillation")
        assert ("loss" in knobs) == (stage == "aspect_sentiment.train")


@pytest.mark.parametrize("name", tune.STAGES)
def test_every_stage_has_the_knobs_that_are_searched(name: str):
    stage = tune.STAGES[name]
    module = importlib.import_module(stage.module)
    knobs = {field.name for field in fields(getattr(module, stage.config))}
    assert stage.space.keys() <= knobs and callable(getattr(module, stage.function))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--trials", "0"], "--trials is 0: it must be 1 or more"),
        (["--minutes", "0"], "--minutes is 0.0: it must be above 0"),
        (["--space"], "--space is empty"),
        (["--space", "wheels=1:3"], "there is no knob wheels to search here: take of .*learning_rate"),
        (["--space", "dropout=0:1.5"], "--dropout is 1.5: it must be at least 0 and below 1"),
        (["--adapt-minutes", "1"], "--adapt-minutes would pretrain in each trial"),
        (["--stage", "qa.train", "--cloze", "4"], "--cloze would pretrain in each trial"),
        (["--storage", "nonsense"], "no study can be opened in --storage"),
    ],
)
def test_bad_input_is_told_before_anything_is_searched(
    flags: list[str], words: str, bert: Path, data: Path, tmp_path: Path
):
    with pytest.raises(UserError, match=words):
        tune.main(args(bert, data, tmp_path, *flags))
    assert not (tmp_path / "tune" / "tune.json").exists()


def test_bad_data_and_a_damaged_study(bert: Path, tmp_path: Path):
    data = write_data(tmp_path / "data")
    (tmp_path / "tune").mkdir()
    (tmp_path / "tune" / "study.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(UserError, match="no study can be opened in .*study.db"):
        tune.main(args(bert, data, tmp_path))
    (data / "dev.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(UserError, match="dev.txt has no labelled title"):
        tune.main(args(bert, data, tmp_path))


def test_without_optuna(bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"a search needs optuna: run `pip install -r requirements-tune.txt`"):
        tune.main(args(bert, data, tmp_path))
