"""What the tests share: a tiny random BERT, a small data set that it can learn, and a teacher trained on it."""

import itertools
import json
import random
import signal
from pathlib import Path

import pytest
import torch

import train
from core.training.updater import Updater

ROOT = Path(__file__).parent.parent
LABELS = ("体育", "财经", "科技")
WORDS = {"体育": "球赛队冠军夺胜负场", "财经": "银行基金股债利率央", "科技": "芯片手机软件网算云"}
COMMON = "今日新的在有大中国年 ABc12，"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

torch.set_num_threads(1)  # faster than more for models this small


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--screenshots", type=Path, metavar="FOLDER", help="where test_browser.py saves pictures of the page"
    )


def write_data(folder: Path, rows: int = 60, seed: int = 0) -> Path:
    """class.txt, train.txt, dev.txt and test.txt whose classes differ in their characters."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("class.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    rng = random.Random(seed)
    for split, count in (("train", rows), ("dev", rows // 3), ("test", rows // 3)):
        lines = []
        for row in range(count):
            label = row % len(LABELS)
            characters = rng.choices(WORDS[LABELS[label]], k=rng.randint(2, 9)) + rng.choices(COMMON, k=3)
            rng.shuffle(characters)
            lines.append(f"球{''.join(characters)}云\t{label}\n")
        folder.joinpath(f"{split}.txt").write_text("".join(lines), encoding="utf-8")
    return folder


def write_bert(folder: Path, vocab: list[str] | None = None, **sizes: int) -> Path:
    """A random BERT without pooler as a Hugging Face folder, with a finetune.json."""
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    if vocab is None:
        vocab = [*SPECIAL, *sorted(set("".join(WORDS.values()) + COMMON.lower().replace(" ", "")))]
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(**{**shape, "vocab_size": len(vocab), "max_position_embeddings": 64, **sizes})
    torch.manual_seed(0)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    folder.joinpath("vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    recipe = {"learning_rate": 5e-3, "num_epochs": [[10, 1], [None, 4]]}
    folder.joinpath("finetune.json").write_text(json.dumps(recipe), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory, bert: Path, data: Path) -> Path:
    """The file of a teacher trained by train.py; do not write to it."""
    folder = tmp_path_factory.mktemp("teacher")
    train.main(train_args(bert, data, folder))
    return folder / "save" / "test_bertclassifer_model.pt"


def train_args(bert: Path, data: Path, folder: Path, *more: str) -> list[str]:
    """The arguments of a short training run that writes into `folder`."""
    paths = {"--bert-path": bert, "--data-dir": data, "--save-dir": folder / "save", "--output": folder / "reports"}
    flags = [part for name, path in paths.items() for part in (name, str(path))]
    return [*flags, "--batch-size", "16", "--device", "cpu", *more]


def press_ctrl_c(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Have Ctrl-C pressed during the step with this number, from 1."""
    real_step = Updater.step
    steps = itertools.count(1)

    def step_and_press(*args):
        if next(steps) == at:
            signal.raise_signal(signal.SIGINT)
        return real_step(*args)

    monkeypatch.setattr(Updater, "step", step_and_press)
