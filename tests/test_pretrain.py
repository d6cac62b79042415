"""pretrain_mlm.py from end to end: a folder that Hugging Face opens, and what cannot be pretrained."""

import itertools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import painting, press_ctrl_c, train_args, write_bert
from safetensors.torch import load_file, save_file

import core.pretraining.masked_lm
import core.pretraining.pretrain
import core.training.loop
import pretrain_mlm
import train
from core.console import UserError
from core.model_files import checkpoint
from core.pretraining import masked_lm
from core.text.tokenizer import SPECIAL_TOKENS, Tokenizer, read_vocab
from core.training.resume import RunState


def args(corpus: Path, folder: Path, *more: str) -> list[str]:
    sizes = ["--vocab-size", "150", "--num-layers", "2", "--hidden-size", "64", "--batch-tokens", "256"]
    paths = ["--corpus", str(corpus), "--save-dir", str(folder / "bert"), "--output", str(folder / "reports")]
    return [*paths, *sizes, "--device", "cpu", "--evals-per-epoch", "2", "--learning-rate", "5e-3", *more]


@pytest.fixture(scope="module")
def made(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run left; do not write to it."""
    folder = tmp_path_factory.mktemp("made")
    with painting():
        pretrain_mlm.main(args(corpus, folder, "--num-epochs", "4"))
    return folder


@pytest.fixture(scope="module")
def bert(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT that knows the characters of the news; do not write to it."""
    folder = tmp_path_factory.mktemp("bert")
    pretrain_mlm.main(args(data / "train.txt", folder, "--max-steps", "2"))
    return folder / "bert"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "bert" / "model.safetensors")


def test_it_learns_and_says_how_it_was_made(made: Path):
    log = [json.loads(line) for line in (made / "reports/pretrain/log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert log[-1]["dev_loss"] < log[0]["dev_loss"] - 0.5
    assert log[-1]["dev_accuracy"] > 0.4
    assert all(entry["tokens_per_s"] > 0 for entry in log)
    assert (made / "reports/pretrain/learning_curve.png").read_bytes().startswith(b"\x89PNG")
    card = (made / "bert/README.md").read_text(encoding="utf-8")
    for fact in ("2 layers, width 64, 1 heads", "400 texts", "python pretrain_mlm.py --corpus", "masked tokens right"):
        assert fact in card
    assert not (made / "bert/resume").exists()


def test_a_new_bert_has_no_position_that_no_text_reaches(made: Path, corpus: Path, tmp_path: Path):
    """It would be as random as it began, and noise to all that reads longer texts."""
    name = "bert.embeddings.position_embeddings.weight"
    assert len(weights(made)[name]) == pretrain_mlm.MIN_POSITIONS  # titles
    long = tmp_path / "long.txt"
    lines = corpus.read_text(encoding="utf-8").splitlines()
    joined = ["".join(lines[start : start + 20]) for start in range(len(lines))]
    few = ["".join(lines[:60])] * 40
    long.write_text("\n".join([*lines, *joined, *few]), encoding="utf-8")
    pretrain_mlm.main(args(long, tmp_path, "--max-steps", "1"))
    assert pretrain_mlm.MIN_POSITIONS < len(weights(tmp_path)[name]) < pretrain_mlm.MAX_LENGTH


def test_hugging_face_opens_the_folder_and_encodes_the_same(made: Path):
    from transformers import AutoTokenizer, BertModel

    _, report = BertModel.from_pretrained(made / "bert", add_pooling_layer=False, output_loading_info=True)
    assert not report["missing_keys"] and not report["mismatched_keys"]
    theirs = AutoTokenizer.from_pretrained(made / "bert")
    tokenizer = Tokenizer(read_vocab(made / "bert/vocab.txt"), 64)
    texts = ["央行降息 股市大涨", "ABc芯片：球队夺冠", "鑫", "", "长" * 50 + "手机芯片"]
    assert theirs(texts)["input_ids"] == tokenizer.encode(texts).input_ids
    assert theirs.mask_token_id == tokenizer.vocab.index("[MASK]")


def test_train_takes_the_folder(bert: Path, data: Path, tmp_path: Path):
    train.main(train_args(bert, data, tmp_path, "--num-epochs", "4"))
    _, facts = checkpoint.load(tmp_path / "save/test_bertclassifer_model.pt")
    assert facts["vocab"] == read_vocab(bert / "vocab.txt")
    assert facts["metrics"]["test"]["accuracy"] > 0.5


def test_ctrl_c_and_resume_end_with_the_same_weights(
    made: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    press_ctrl_c(monkeypatch, at=20)
    with pytest.raises(UserError, match="stopped at step 20 of .*--resume"):
        pretrain_mlm.main(args(corpus, tmp_path, "--num-epochs", "4"))
    monkeypatch.undo()
    assert not (tmp_path / "bert/model.safetensors").exists()
    pretrain_mlm.main(args(corpus, tmp_path, "--num-epochs", "4", "--resume"))
    one, other = weights(made), weights(tmp_path)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_minutes_end_a_run_and_take_the_rate_to_zero(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ticks = itertools.count(step=0.05)  # a step takes one, however busy the machine is
    monkeypatch.setattr(core.training.loop, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    pretrain_mlm.main(args(corpus, tmp_path, "--minutes", "0.03"))
    log = [json.loads(line) for line in (tmp_path / "reports/pretrain/log.jsonl").read_text("utf-8").splitlines()]
    assert 1.8 <= log[-1]["seconds"] < 1.9
    assert log[-1]["learning_rate"] < 1e-3 < max(entry["learning_rate"] for entry in log)


def test_a_budget_of_minutes_may_be_changed_on_resume(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    press_ctrl_c(monkeypatch, at=2)
    with pytest.raises(UserError, match="stopped at step 2: go on"):
        pretrain_mlm.main(args(corpus, tmp_path, "--minutes", "60"))
    monkeypatch.undo()
    with pytest.raises(UserError, match="has trained .* minutes and was not scored yet: give more --minutes"):
        pretrain_mlm.main(args(corpus, tmp_path, "--minutes", "0.0000001", "--resume"))
    pretrain_mlm.main(args(corpus, tmp_path, "--minutes", "0.02", "--resume"))
    assert (tmp_path / "bert/model.safetensors").is_file()


def test_going_on_with_a_bert(made: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pretrain_mlm.main(args(corpus, tmp_path, "--init", str(made / "bert"), "--max-steps", "3"))
    log = [json.loads(line) for line in (tmp_path / "reports/pretrain/log.jsonl").read_text("utf-8").splitlines()]
    first = json.loads((made / "reports/pretrain/log.jsonl").read_text("utf-8").splitlines()[0])
    assert log[0]["dev_loss"] < first["dev_loss"] - 0.3  # the encoder and its head were taken over
    assert (tmp_path / "bert/vocab.txt").read_bytes() == (made / "bert/vocab.txt").read_bytes()
    assert (tmp_path / "bert/finetune.json").is_file()
    capsys.readouterr()
    pretrain_mlm.main(args(corpus, tmp_path, "--init", str(made / "bert"), "--max-steps", "3", "--resume"))
    assert "nothing to resume" in capsys.readouterr().out


def test_train_adapts_the_bert_first(
    bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    dev = (data / "dev.txt").read_text(encoding="utf-8").splitlines()
    more = tmp_path / "more.txt"
    held_out = [line.rpartition("\t")[0] for line in dev]
    copies = [f"{text[0]} {text[1:]}！" for text in held_out]
    more.write_text("\n".join(["央行再降息", *held_out, *copies]), encoding="utf-8")
    read: list[str] = []
    encode = core.pretraining.pretrain.encode_corpus
    monkeypatch.setattr(
        core.pretraining.pretrain,
        "encode_corpus",
        lambda files, *rest: (read.extend(files[0].read_text(encoding="utf-8").splitlines()), encode(files, *rest))[1],
    )
    monkeypatch.setattr(train, "read_licence", lambda folder: f"of {folder.name}")
    adapting = train_args(bert, data, tmp_path, "--num-epochs", "1", "--adapt-minutes", "0.02")
    train.main([*adapting, "--unlabeled", str(more)])
    lines = (data / "train.txt").read_text(encoding="utf-8").splitlines()
    titles = [" ".join(line.rpartition("\t")[0].split()) for line in lines]
    assert set(read) == {*titles, "央行再降息"}  # nothing of dev.txt, and each text once
    assert len(read) == len(set(read))
    _, facts = checkpoint.load(tmp_path / "save/test_bertclassifer_model.pt")
    adapted = tmp_path / "save/adapted_bert"
    assert facts["config"]["bert_path"] == adapted.as_posix() and facts["config"]["adapt_minutes"] == 0.02
    assert facts["licence"] == "of bert", "which was adapted"
    before, after = load_file(bert / "model.safetensors"), load_file(adapted / "model.safetensors")
    assert before.keys() == after.keys() and any(not torch.equal(before[name], after[name]) for name in before)
    assert sorted(path.name for path in adapted.iterdir() if path.is_dir() or path.suffix == ".txt") == ["vocab.txt"]
    assert "held-out loss" in capsys.readouterr().out

    written = (adapted / "model.safetensors").stat().st_mtime_ns  # fine-tuning went down, adapting had ended
    (tmp_path / "save/test_bertclassifer_model.pt").unlink()
    train.main([*adapting, "--resume"])
    assert (adapted / "model.safetensors").stat().st_mtime_ns == written


def test_a_bert_of_many_positions_is_adapted_too(bert: Path, data: Path, tmp_path: Path):
    tokenizer = Tokenizer(read_vocab(bert / "vocab.txt"), 600)
    bert_for_mlm = masked_lm.new_bert(1, 64, 600, np.ones((len(tokenizer.vocab), 64)))
    masked_lm.write_bert(tmp_path / "long", bert_for_mlm, tokenizer, None, "")
    adapting = ["--adapt-minutes", "0.001", "--max-length", "600", "--num-epochs", "1", "--max-steps", "1"]
    train.main(train_args(tmp_path / "long", data, tmp_path, *adapting))
    assert (tmp_path / "save/adapted_bert/model.safetensors").is_file()


def test_what_cannot_be_adapted(bert: Path, data: Path, tmp_path: Path):
    for more, says in (
        (["--adapt-minutes", "0"], "--adapt-minutes is 0"),
        (["--unlabeled", str(data / "train.txt")], "--unlabeled is for --adapt-minutes"),
    ):
        with pytest.raises(UserError, match=says):
            train.main(train_args(bert, data, tmp_path, *more))
    headless = shutil.copytree(bert, tmp_path / "headless")
    weights = load_file(headless / "model.safetensors")
    save_file({name: t for name, t in weights.items() if not name.startswith("cls.")}, headless / "model.safetensors")
    with pytest.raises(UserError, match="headless has no masked-language-model head"):
        train.main(train_args(headless, data, tmp_path, "--adapt-minutes", "1"))
    with pytest.raises(UserError, match="at least 20"):
        train.main(train_args(bert, data, tmp_path, "--adapt-minutes", "1", "--limit", "9"))
    assert not (tmp_path / "save/test_bertclassifer_model.pt").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no text of 3 tokens"),
        (b"\n \n", "no text of 3"),
        (b"\0\1\2", "NUL|not a text"),
        ("好人\n".encode() * 9, "no t"),
    ],
)
def test_a_corpus_without_text(content: bytes, says: str, tmp_path: Path):
    (tmp_path / "corpus.txt").write_bytes(content)
    with pytest.raises(UserError, match=says):
        pretrain_mlm.main(args(tmp_path / "corpus.txt", tmp_path))
    assert not (tmp_path / "bert/model.safetensors").exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--mask-share", "1"], "--mask-share is 1.0"),
        (["--character-share", "2"], "--character-share is 2.0"),
        (["--hidden-size", "100"], "multiple of 64"),
        (["--max-length", "4"], "5 or more"),
        (["--minutes", "0"], "--minutes is 0"),
        (["--vocab-size", "9"], "100 or more"),
    ],
)
def test_bad_knobs(more: list[str], says: str, corpus: Path, tmp_path: Path):
    with pytest.raises(UserError, match=says):
        pretrain_mlm.main(args(corpus, tmp_path, *more))


def test_bad_places(corpus: Path, made: Path, tmp_path: Path):
    with pytest.raises(UserError, match="--corpus is missing"):
        pretrain_mlm.main(["--save-dir", str(tmp_path)])
    with pytest.raises(UserError, match="holds no .txt file"):
        pretrain_mlm.main(args(made, tmp_path))
    few = tmp_path / "few.txt"
    few.write_text("央行降息股市大涨\n" * 5, encoding="utf-8")
    with pytest.raises(UserError, match="has 5 usable texts: give at least 20"):
        pretrain_mlm.main(args(few, tmp_path, "--init", str(made / "bert")))
    with pytest.raises(
        UserError, match="empty lacks model.safetensors or pytorch_model.bin: .*python download.py bert"
    ):
        pretrain_mlm.main(args(corpus, tmp_path, "--init", str(tmp_path / "empty")))


def test_a_vocabulary_that_does_not_fit(corpus: Path, made: Path, tmp_path: Path):
    latin = write_bert(tmp_path / "latin", vocab=[*SPECIAL_TOKENS, "[MASK]", "a", "b"], max_position_embeddings=128)
    with pytest.raises(UserError, match="does not know .* of the characters"):
        pretrain_mlm.main(args(corpus, tmp_path, "--init", str(latin)))
    vocab = read_vocab(made / "bert/vocab.txt")
    unmasked = write_bert(
        tmp_path / "unmasked", vocab=[token for token in vocab if token != "[MASK]"], max_position_embeddings=128
    )
    with pytest.raises(UserError, match=r"has no \[MASK\]"):
        pretrain_mlm.main(args(corpus, tmp_path, "--init", str(unmasked)))


def test_weights_to_go_on_with_that_are_damaged_or_foreign(corpus: Path, made: Path, tmp_path: Path):
    folder = shutil.copytree(made / "bert", tmp_path / "init", ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "pytorch_model.bin").write_bytes(b"<html>404</html>")
    with pytest.raises(UserError, match="cannot be read .*fetch them again"):
        pretrain_mlm.main(args(corpus, tmp_path, "--init", str(folder)))
    for weights, reason in (({"other.weight": torch.ones(2)}, "no bert.embeddings"), (None, "other shapes")):
        if weights is None:
            weights = load_file(made / "bert/model.safetensors")
            weights["bert.encoder.layer.0.output.dense.weight"] = torch.ones(2, 2)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(UserError, match=f"do not fit its config.json .{reason}.*from the same model"):
            pretrain_mlm.main(args(corpus, tmp_path, "--init", str(folder)))


def test_a_kill_between_vocabulary_and_weights_leaves_no_weights_of_another_vocabulary(
    made: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = shutil.copytree(made / "bert", tmp_path / "bert")

    def kill(*_args) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(core.pretraining.masked_lm, "write_json", kill)
    with pytest.raises(KeyboardInterrupt):
        pretrain_mlm.main(args(corpus, tmp_path, "--max-steps", "1"))
    assert (folder / "vocab.txt").is_file() and not (folder / "model.safetensors").exists()


def test_resume_with_nothing_to_resume_builds_the_vocabulary_anew(made: Path, corpus: Path, tmp_path: Path):
    stale = tmp_path / "bert/corpus/vocab.txt"
    stale.parent.mkdir(parents=True)
    stale.write_text("\n".join([*SPECIAL_TOKENS, "[MASK]", "央", "行", "手", "机"]), encoding="utf-8")
    pretrain_mlm.main(args(corpus, tmp_path, "--max-steps", "1", "--resume"))
    assert read_vocab(tmp_path / "bert/vocab.txt") == read_vocab(made / "bert/vocab.txt")


def test_another_run_cannot_be_resumed(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    press_ctrl_c(monkeypatch, at=2)
    with pytest.raises(UserError, match="stopped at step 2"):
        pretrain_mlm.main(args(corpus, tmp_path))
    monkeypatch.undo()
    assert RunState(tmp_path / "bert/model.safetensors", {}).exists()
    with pytest.raises(UserError, match="the stopped run had mask_share = 0.3, this one has 0.2"):
        pretrain_mlm.main(args(corpus, tmp_path, "--mask-share", "0.2", "--resume"))
