"""What the tests share: a tiny random BERT, a small data set that it can learn, and a teacher trained on it."""

import contextlib
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from ner_sentences import sentences, tagger, words_bert  # noqa: F401 (fixtures)
from qa_questions import qa_bert, questions, reader  # noqa: F401 (fixtures)

import tasks
import train
from bert_classifer_model import BertClassifier
from bilstm_classifier import BiLSTMClassifier
from config import MODELS
from core.compression import export
from core.files import write_picture
from core.model_files import checkpoint
from core.training import log, recipes
from core.training.updater import Updater

ROOT = Path(__file__).parent.parent
ARTEFACT = "test_bertclassifer_model.pt"
LABELS = ("体育", "财经", "科技")
WORDS = {"体育": "球赛队冠军夺胜负场", "财经": "银行基金股债利率央", "科技": "芯片手机软件网算云"}
COMMON = "今日新的在有大中国年 ABc12，"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LICENCE = "cc0-1.0"  # that of a tiny BERT
TOPICS = ("央行 降息 股市 大涨", "手机 芯片 软件 更新", "球队 夺冠 加时 绝杀", "基金 净值 银行 利率")
TINY = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 40}
TINY |= {"vocab_size": 50, "max_position_embeddings": 32}
TO_ONNX = export.to_onnx
LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29611"],
    "accelerate": ["accelerate.commands.launch", "--cpu", "--num_processes", "2", "--main_process_port", "29612"],
}

torch.set_num_threads(1)  # faster than more for models this small


@pytest.fixture(scope="session", autouse=True)
def no_models_of_the_project(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Models that lie in the project's own folder, of whoever runs the tests, are not found."""
    MODELS.root = tmp_path_factory.mktemp("project")


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """No machine loses its power in a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def curves_are_not_painted() -> Iterator[None]:
    """A learning curve is composed, and an empty file written: painting one takes as long as a tiny training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "write_picture", lambda path, figure: path.write_bytes(b""))
        yield


@pytest.fixture(scope="session", autouse=True)
def a_bert_is_exported_once() -> Iterator[None]:
    """An export to ONNX takes seconds: a BERT with the same weights gets the graph that it had."""
    graphs: dict[str, bytes] = {}

    def to_onnx(model: torch.nn.Module, facts: dict) -> bytes:
        if not any(hasattr(part, "set_attn_implementation") for part in model.modules()):
            return TO_ONNX(model, facts)
        told = [type(model).__name__, getattr(model, "architecture", None), len(facts["vocab"]), facts["max_length"]]
        digest = hashlib.sha256(json.dumps(told).encode())
        for name, tensor in model.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode() + tensor.cpu().numpy().tobytes())
        key = digest.hexdigest()
        if key not in graphs:
            graphs[key] = TO_ONNX(model, facts)
        return graphs[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "to_onnx", to_onnx)
        yield


@contextlib.contextmanager
def painting() -> Iterator[None]:
    """Learning curves are painted all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "write_picture", write_picture)
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--screenshots", type=Path, metavar="FOLDER", help="where test_browser.py saves pictures of the page"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests in a browser, the longest, begin: at the end one process would be busy with them alone."""
    items.sort(key=lambda item: item.path.name != "test_browser.py")


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
    """A random BERT without pooler as a Hugging Face folder, with a finetune.json and a licence."""
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
    folder.joinpath("README.md").write_text(f"---\nlicense: {LICENCE}\n---\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT without dropout, whose training does not depend on random numbers of each process or piece."""
    folder = tmp_path_factory.mktemp("calm")
    return write_bert(folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


@pytest.fixture(scope="session")
def google_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the shape of google-bert/bert-base-chinese: 21,128 tokens, old names, heads, a .bin file."""
    from transformers import BertConfig, BertForPreTraining

    folder = tmp_path_factory.mktemp("google")
    config = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config |= {"vocab_size": 21128, "max_position_embeddings": 64, "model_type": "bert", "directionality": "bidi"}
    torch.manual_seed(3)
    weights = {}
    for name, tensor in BertForPreTraining(BertConfig(**config)).state_dict().items():
        weights[legacy(name)] = torch.randn_like(tensor) if tensor.is_floating_point() else tensor
    torch.save(weights, folder / "pytorch_model.bin")
    folder.joinpath("config.json").write_text(json.dumps(config), encoding="utf-8")
    vocab = [*SPECIAL, *(chr(0x4E00 + index) for index in range(21128 - len(SPECIAL)))]
    folder.joinpath("vocab.txt").write_text("\n".join(vocab), encoding="utf-8")
    return folder


def legacy(name: str) -> str:
    """What a weight is called in a file as old as Google's."""
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 400 short texts, in which any word tells the others."""
    rng = np.random.default_rng(0)
    lines = [f"{rng.choice(TOPICS)} {rng.choice(TOPICS)} ABc" for _ in range(400)]
    path = tmp_path_factory.mktemp("corpus") / "titles.txt"
    path.write_text("\n".join([*lines, "", "  "]), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory, bert: Path, data: Path) -> Path:
    """The file of a teacher trained by train.py; do not write to it."""
    folder = tmp_path_factory.mktemp("teacher")
    with painting():
        train.main(train_args(bert, data, folder))
    return folder / "save" / "test_bertclassifer_model.pt"


@pytest.fixture
def small_student(monkeypatch: pytest.MonkeyPatch) -> None:
    """A BiLSTM that takes milliseconds a step."""
    monkeypatch.setattr(BiLSTMClassifier.__init__, "__defaults__", (16, 16, 0.1))


@pytest.fixture(scope="session")
def graph(teacher: Path) -> bytes:
    """The teacher as an FP32 ONNX graph."""
    from core.model_files.module import load_module
    from predict_fun import NewsClassifier

    return export.to_onnx(*load_module(teacher, NewsClassifier.builds))


@pytest.fixture(scope="session")
def light(teacher: Path, graph: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The teacher as an ONNX file, which a process answers from without torch; do not write to it."""

    path = tmp_path_factory.mktemp("light") / "light.onnx"
    export.write(path, graph, checkpoint.load(teacher)[1])
    return path


def train_args(bert: Path, data: Path, folder: Path, *more: str) -> list[str]:
    """The arguments of a short training run that writes into `folder`."""
    paths = {"--bert-path": bert, "--data-dir": data, "--save-dir": folder / "save", "--output": folder / "reports"}
    flags = [part for name, path in paths.items() for part in (name, str(path))]
    return [*flags, "--batch-size", "16", "--device", "cpu", *more]


def assert_calibrated(model: Path, data: Path) -> None:
    """A file of any kind carries the temperature that suits its own answers on the dev data, and answers at it."""
    task, predictor = tasks.load(model, "cpu")
    fitted = task.temperature(predictor, task.read(task.file(data, "dev"), predictor.labels, None))
    assert predictor.facts["temperature"] == pytest.approx(fitted, rel=0.02) and predictor.temperature != 1


def press_ctrl_c(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Have Ctrl-C pressed during the step with this number, from 1."""
    real_step = Updater.step
    steps = itertools.count(1)

    def step_and_press(*args):
        if next(steps) == at:
            signal.raise_signal(signal.SIGINT)
        return real_step(*args)

    monkeypatch.setattr(Updater, "step", step_and_press)


def stage_args(model: Path, data: Path, folder: Path, *more: str) -> list[str]:
    """The arguments of a stage that starts from a trained model and writes into `folder`."""
    paths = {"--model": model, "--data-dir": data, "--save-dir": folder / "save", "--output": folder / "reports"}
    flags = [part for name, path in paths.items() for part in (name, str(path))]
    return [*flags, "--batch-size", "16", "--device", "cpu", *more]


def memory_for(titles: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the memory hold so many titles at once."""
    real_call = recipes.call

    def call(model, batch):
        if len(batch["row"]) > titles:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real_call(model, batch)

    monkeypatch.setattr(recipes, "call", call)


def launch(launcher: str, args: list[str]) -> subprocess.CompletedProcess[str]:
    """Run train.py in two processes."""
    return subprocess.run(
        [sys.executable, "-m", *LAUNCHERS[launcher], str(ROOT / "train.py"), *args],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
    )


def tiny_bert(**architecture) -> BertClassifier:
    """A BERT of three layers in which every part matters."""
    torch.manual_seed(0)
    model = BertClassifier.from_architecture(
        {"bert_config": TINY, "num_labels": 3, "pooling": "mean", **architecture}
    ).eval()
    for parameter in model.parameters():  # as small as they start, no part would matter
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def some_ids(rows: int = 4, seq_len: int = 9) -> torch.Tensor:
    """Token ids for `tiny_bert`, none of them special."""
    return torch.randint(5, 50, (rows, seq_len), generator=torch.Generator().manual_seed(1))


def same(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the very same weights."""
    ours, theirs = (checkpoint.load(path)[0] for path in (one, other))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def assert_close(one: Path, other: Path, tolerance: float = 1e-4) -> None:
    """Two checkpoints hold the same weights, but for rounding."""
    ours, theirs = (checkpoint.load(path)[0] for path in (one, other))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.allclose(tensor, theirs[name], atol=tolerance), name


def float_products(path: Path) -> list[str]:
    """The operators of an ONNX file that multiply by matrices in floating point."""
    import onnx

    return [node.op_type for node in onnx.load(path).graph.node if node.op_type in ("MatMul", "Gemm", "Conv")]
