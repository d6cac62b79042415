"""ablation.py from end to end: cells kept one by one, the choice on dev, test read for the finalists alone."""

import itertools
import json
import re
import shutil
import signal
from pathlib import Path

import pytest
from conftest import LABELS, write_data

import train
from core.compression import teacher_cache
from core.console import UserError
from core.measure.metrics import classification_metrics
from core.training.updater import Updater
from experiments import ablation
from experiments.ablation_report import merge, summarise, table
from experiments.readme_words import ENGLISH
from utils import read_titles


def arguments(folder: Path, data: list[Path], bert: Path, *more: str) -> list[str]:
    flags = ["--data-dir", *map(str, data), "--bert-path", str(bert), "--output", str(folder / "out")]
    return [*flags, "--save-dir", str(folder / "save"), "--batch-size", "16", "--device", "cpu", "--seeds", "2", *more]


def count_trainings(monkeypatch: pytest.MonkeyPatch, stop_at: int | None = None) -> list[tuple]:
    """The trainings that take place; the one with the number `stop_at` breaks off."""
    seen: list[tuple] = []

    def fine_tune(config, score_test):
        assert not score_test
        seen.append((config.data_dir.name, config.limit, config.recipe, config.seed, config.learning_rate))
        if len(seen) == stop_at:
            raise UserError("stopped")
        train.fine_tune(config, score_test)

    monkeypatch.setattr(ablation, "fine_tune", fine_tune)
    return seen


@pytest.mark.measurement
def test_the_whole_plan_stopped_and_gone_on_with(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    one, two = write_data(tmp_path / "one", 24), write_data(tmp_path / "two", 30, seed=1)
    recipes = ("--recipes", "fgm,class_weights@2", "plain@0.5")
    monkeypatch.setattr("core.measure.stats.F1_RESAMPLES", 100)
    args = arguments(tmp_path, [one, two], bert, "--limit", "12", "0", "--final-rows", "0", "0", *recipes)
    trainings = count_trainings(monkeypatch, stop_at=5)
    with pytest.raises(UserError, match="stopped"):
        ablation.main(args)
    assert [training[:4] for training in trainings[:2]] == [
        ("one", 12, "plain", 1),
        ("one", 12, "fgm,class_weights", 1),
    ]
    assert [training[4] for training in trainings[:4]] == [5e-3, 1e-2, 2.5e-3, 5e-3]
    trainings.clear()
    predicted = []
    real = ablation.predict_classes

    def predict_classes(model, titles, *args):
        predicted.append(titles.texts)
        return real(model, titles, *args)

    monkeypatch.setattr(ablation, "predict_classes", predict_classes)
    trainings = count_trainings(monkeypatch)
    ablation.main(args)
    report = json.loads((tmp_path / "out" / "ablation.json").read_text(encoding="utf-8"))
    tables: dict[tuple, list] = {}
    for row in report["rows"]:
        tables.setdefault((row["data"], row["split"], row["rows"]), []).append(row)
    assert tables.keys() == {("one", "dev", 12), ("one", "test", 24), ("two", "dev", 30), ("two", "test", 30)}
    for trials, finals in ((("one", "dev", 12), ("one", "test", 24)), (("two", "dev", 30), ("two", "test", 30))):
        assert {row["recipe"] for row in tables[trials]} == {"plain", "fgm,class_weights@2", "plain@0.5"}
        plain, come = ablation.choose(tables[trials])
        assert {row["recipe"] for row in tables[finals]} == set(come)
        for row in tables[finals]:
            assert (row["against"] is None) == (row["recipe"] == plain)
    limits = [training[1] for training in trainings]
    assert limits.count(12) == 2  # four of the six were there
    assert limits.count(24) == 2 * len(tables["one", "test", 24])
    assert limits.count(30) == 6  # where the rows are the same, the finals need no new trainings
    tests = [read_titles(folder / "test.txt", LABELS).texts for folder in (one, two)]
    splits = ["test" if texts in tests else "dev" for texts in predicted]
    assert splits == sorted(splits)  # test comes once all else is done
    assert splits.count("test") == 2 * (len(tables["one", "test", 24]) + len(tables["two", "test", 30]))
    assert not list((tmp_path / "save").rglob("*.pt"))
    told = (tmp_path / "out" / "ablation.md").read_text(encoding="utf-8")
    assert told in capsys.readouterr().out and "**one, 24 training rows, test**" in told
    assert (tmp_path / "out" / "ablation.png").read_bytes().startswith(b"\x89PNG")

    trainings.clear(), predicted.clear()
    ablation.main(args)
    assert not trainings and not predicted
    assert json.loads((tmp_path / "out" / "ablation.json").read_text(encoding="utf-8"))["rows"] == report["rows"]


@pytest.mark.measurement
def test_recipes_distilled_once_more(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = write_data(tmp_path / "one", 24)
    monkeypatch.setattr("core.measure.stats.F1_RESAMPLES", 100)
    trainings, students = count_trainings(monkeypatch), []

    def distil_soft(config, deploy):
        seeds = [Path(path).parent.name[-1] for path in config.model]
        assert all(Path(path).is_file() for path in config.model)
        assert config.unlabeled in (None, titles)
        more = "+" if config.unlabeled else ""
        students.append((config.limit, Path(config.model[0]).parent.name, config.seed, "".join(seeds) + more))
        real_distil(config, deploy)

    real_distil = ablation.distil_soft
    monkeypatch.setattr(ablation, "distil_soft", distil_soft)
    titles = tmp_path / "titles.txt"
    titles.write_text("球赛冠军\n银行利率\n", encoding="utf-8")
    recipes = (
        "--recipes",
        "fgm@2+again",
        "plain+ensemble",
        "plain+ensemble+transfer",
        "--unlabeled",
        str(titles),
        "--limit",
        "12",
        "--final-rows",
        "24",
    )
    monkeypatch.setattr(ablation, "choose", lambda rows: ("plain", ["plain", "plain+ensemble"]))
    ablation.main(arguments(tmp_path, [data], bert, *recipes))
    assert [training[1:4] for training in trainings] == [
        *((12, "plain", 1), (12, "fgm", 1), (12, "plain", 2), (12, "fgm", 2)),  # the ensemble needs seed 2 early
        *((24, "plain", 1), (24, "plain", 2)),
    ]
    assert students == [
        *((12, "12-fgm@2-1", 1, "1"), (12, "12-plain-1", 1, "12"), (12, "12-plain-1", 1, "12+")),
        *((12, "12-fgm@2-2", 2, "2"), (12, "12-plain-2", 2, "21"), (12, "12-plain-2", 2, "21+")),
        *((24, "24-plain-1", 1, "12"), (24, "24-plain-2", 2, "21")),
    ]
    rows = json.loads((tmp_path / "out" / "ablation.json").read_text(encoding="utf-8"))["rows"]
    dev = {row["recipe"]: row for row in rows if (row["split"], row["rows"]) == ("dev", 12)}
    assert dev.keys() == {"plain", "fgm@2+again", "plain+ensemble", "plain+ensemble+transfer"}
    assert dev["plain+ensemble"]["seconds"] >= 2 * dev["plain"]["seconds"]  # both teachers are counted
    assert {row["recipe"] for row in rows if row["split"] == "test"} == {"plain", "plain+ensemble"}
    left = {path.parent.name for path in (tmp_path / "save").rglob("*.pt*")} - {"teacher_logits"}
    assert {name[:-2] for name in left} == {"12-plain", "12-fgm@2", "24-plain"}  # the teachers


@pytest.mark.measurement
def test_an_ensemble_of_another_number_of_seeds_is_made_again(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data, seeds = write_data(tmp_path / "one", 12), []
    real_distil = ablation.distil_soft

    def distil_soft(config, deploy):
        seeds.append((config.seed, len(config.model)))
        real_distil(config, deploy)

    monkeypatch.setattr(ablation, "distil_soft", distil_soft)
    args = arguments(tmp_path, [data], bert, "--recipes", "plain+ensemble")
    for number in ("2", "2", "3"):
        ablation.main([*args, "--seeds", number])
    assert seeds == [(1, 2), (2, 2), (1, 3), (2, 3), (3, 3)]


@pytest.mark.measurement
def test_a_stopped_student_is_in_nobodys_way(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    args = arguments(tmp_path, [write_data(tmp_path / "one", 12)], bert, "--recipes")
    real_step, steps, judged, asked = Updater.step, itertools.count(1), [], []
    real_judge = teacher_cache.logits_of

    def step_and_press(*given):
        if next(steps) == 10:  # two teachers take four steps each
            signal.raise_signal(signal.SIGINT)
        return real_step(*given)

    def logits_of(teacher, devices):
        return lambda batch: judged.append(len(batch["row"])) or real_judge(teacher, devices)(batch)

    monkeypatch.setattr(Updater, "step", step_and_press)
    monkeypatch.setattr("teachers.logits_of", logits_of)
    with pytest.raises(UserError, match="stopped at step 2 of 4"):
        ablation.main([*args, "plain+ensemble"])

    def distil_soft(knobs, deploy):
        asked.append(knobs.bert_layers)
        real_distil(knobs, deploy)

    real_distil = ablation.distil_soft
    monkeypatch.setattr(ablation, "distil_soft", distil_soft)
    ablation.main([*args, "plain+again", "plain+ensemble", "plain+linear+half"])
    assert judged == [12, 4, 12, 4]  # each teacher judges train and dev once, for all students
    rows = json.loads((tmp_path / "out" / "ablation.json").read_text(encoding="utf-8"))["rows"]
    assert {row["recipe"] for row in rows} == {"plain", "plain+again", "plain+ensemble", "plain+linear+half"}
    assert asked == [2, 2, 1] * 2  # layers of the students
    assert not list((tmp_path / "save").rglob("resume"))


@pytest.mark.measurement
def test_recipes_that_are_gone_keep_their_figures(
    bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    args = arguments(tmp_path, [data], bert, "--limit", "6", "--recipes")
    ablation.main([*args, "fgm"])
    shutil.rmtree(tmp_path / "save")
    trainings = count_trainings(monkeypatch)
    ablation.main([*args, "class_weights"])
    assert {training[2] for training in trainings} == {"plain", "class_weights"}
    rows = json.loads((tmp_path / "out" / "ablation.json").read_text(encoding="utf-8"))["rows"]
    assert sorted(row["recipe"] for row in rows) == ["class_weights", "fgm", "plain"]
    with pytest.raises(UserError, match="made with another batch_size: delete it, or choose another --output"):
        ablation.main([*args, "class_weights", "--batch-size", "8"])
    (tmp_path / "out" / "ablation.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="is damaged"):
        ablation.main([*args, "class_weights"])


def test_the_figures_of_the_table():
    def cell(recipe: str, seed: int, seconds: float, dev: str) -> dict:
        facts = {"data": "news", "rows": 9, "recipe": recipe, "git_commit": "0123456789"}
        return {**facts, "seed": seed, "seconds": seconds, "dev": dev}

    true = [0, 0, 1, 2] * 50
    right, wrong = " ".join(map(str, true)), " ".join(["0"] * 200)
    cells = {
        "plain": [cell("plain", 1, 10, wrong), cell("plain", 2, 20, wrong)],
        "fgm": [cell("fgm", 1, 30, right), cell("fgm", 2, 30, wrong)],
    }
    plain, fgm = summarise(cells, "dev", true, 3, "plain", "plain")
    expected = classification_metrics(true, [0] * 200, ["a", "b", "c"])
    assert (plain["accuracy"], plain["macro_f1"]) == (0.5, pytest.approx(expected["macro_f1"]))
    assert fgm["accuracy"] == 0.75 and fgm["macro_f1_each"] == [1.0, pytest.approx(expected["macro_f1"])]
    assert fgm["time_ratio"] == 2.0 and fgm["against"]["accuracy"]["difference"] == pytest.approx(0.25)
    assert fgm["against"]["macro_f1"]["low"] > 0.2
    slow = {**fgm, "recipe": "plain@0.5", "macro_f1": 0.5}
    assert ablation.choose([plain, fgm, slow]) == ("plain@0.5", ["plain", "plain@0.5", "fgm"])
    assert ablation.choose([{**plain, "macro_f1": 1.0}, fgm, slow]) == ("plain", ["plain"])
    assert re.search(
        r"\| fgm \| 61.11 % \| 100.00 % · 22.22 % \| \+38.9 \(.*\) \| 75.00 % \| \+25.0 \(.*\) \| 2.00× \| 0123456 \|",
        table({"rows": [plain, fgm]}, ENGLISH),
    )
    again = {**fgm, "accuracy": 0.8}
    assert merge([plain, fgm], [again]) == [plain, again]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--seeds", "0"], "--seeds must be 1 or more"),
        (["--limit", "5", "6"], r"--limit has 2 number\(s\) for 1 --data-dir"),
        (["--final-rows", "5", "6"], r"--final-rows has 2 number\(s\)"),
        (["--limit", "-1"], "0 \\(all rows\\) or more"),
        (["--recipes", "fokal"], "there is no recipe fokal"),
        (["--recipes", "class_weights,class_balanced"], "contradict each other"),
        (["--recipes", "plain+ensemble+transfer"], "--unlabeled goes with recipes that have \\+transfer"),
        (["--recipes", "plain+again", "--unlabeled", "titles.txt"], "--unlabeled goes with"),
        (["--recipes", "plain@x"], "plain@x: what follows @ must be a number above 0"),
        (["--recipes", "plain@0"], "plain@0: what follows @"),
        (
            ["--recipes", "plain+more"],
            r"plain\+more: .* what follows \+ again, ensemble, linear, transfer or half",
        ),
        (["--data-dir", "here/news", "there/news"], "the same name"),
        (["--batch-size", "0"], "--batch-size is 0"),
    ],
)
def test_impossible_knobs(flags: list[str], told: str):
    with pytest.raises(UserError, match=told):
        ablation.main(flags)


def test_finals_need_a_test_file(bert: Path, tmp_path: Path):
    data = write_data(tmp_path / "data", 12)
    (data / "test.txt").unlink()
    with pytest.raises(UserError, match="has no test.txt, which --final-rows needs"):
        ablation.main(arguments(tmp_path, [data], bert, "--final-rows", "0"))
