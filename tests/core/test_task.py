"""A task's data: its files read, and refused where they name other classes than a model has."""

from pathlib import Path

import pytest
from conftest import LABELS, ROOT, write_data

import tasks
from core.console import UserError
from core.text.tokenizer import Tokenizer
from predict_fun import TASK, NewsClassifier

FACTS = {"stage": "soft", "labels": list(LABELS)}


def test_a_model_without_a_task_is_a_news_classifier():
    assert tasks.task_of(FACTS) is TASK is tasks.task_of({**FACTS, "task": "classification"})
    assert TASK.predictor is NewsClassifier and NewsClassifier.task in tasks.TASKS
    with pytest.raises(UserError, match="^there is no task poetry here: this model was made by another version"):
        tasks.task_of({**FACTS, "task": "poetry"})


@pytest.mark.parametrize("name", tasks.TASKS)
def test_each_task_has_data_and_models_of_its_own(name: str):
    task = tasks.task_of({**FACTS, "task": name})
    assert task.file(ROOT / tasks.own_folder(Path("data"), task), "dev").is_file()
    assert tasks.own_folder(Path("models_save"), task) == task.models["soft"].path.parent


def test_data_with_other_classes_is_refused_with_both_sides_shown(data: Path, tmp_path: Path):
    TASK.check_labels(FACTS, data)
    TASK.check_labels(FACTS, tmp_path)  # it names none
    for classes in ("体育\n财经\n娱乐\n", "科技\n财经\n体育\n", "体育\n财经\n"):
        (tmp_path / "class.txt").write_text(classes, encoding="utf-8")
        with pytest.raises(UserError) as refusal:
            TASK.check_labels(FACTS, tmp_path)
        first, *sides = str(refusal.value).splitlines()
        assert first.startswith(f"{tmp_path} names other classes than the model (soft): take the data that")
        assert sides == ["  model: 体育 财经 科技", f"  data:  {' '.join(classes.split())}"]


def test_the_files_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = write_data(tmp_path)
    with (data / "dev.txt").open("a", encoding="utf-8") as file:
        file.write("球队夺冠\t0\n球队夺冠\t0\n\u200b\t1\n")
    splits = TASK.read_splits(data, LABELS, limit=7)
    assert [(name, len(split)) for name, split in splits.items()] == [("train", 7), ("dev", 23), ("test", 20)]
    assert len(splits["dev"].items) == 22
    out = capsys.readouterr().out
    assert f"{data / 'train.txt'}: 7 rows" in out and "  warning: 1 repeated title(s), kept" in out
    (data / "test.txt").unlink()
    assert list(TASK.read_splits(data, LABELS)) == ["train", "dev"]
    (data / "dev.txt").unlink()
    with pytest.raises(UserError, match="dev.txt does not exist"):
        TASK.read_splits(data, LABELS)


def test_batches_of_a_split_have_what_the_model_reads_and_its_labels(data: Path):
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "球"]
    split = TASK.read(data / "dev.txt", LABELS, None)
    batches = TASK.batches(split, Tokenizer(vocab, 5), 8, None)
    assert len(batches) == 3 and max(batches.lengths) == 5
    for batch in batches.epoch():
        assert batch["labels"].tolist() == [split.labels[row] for row in batch["row"].tolist()]
        logits, labels = TASK.units("logits", batch)
        assert logits == "logits" and labels is batch["labels"] and TASK.count(batch) == len(labels)
