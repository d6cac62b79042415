"""download.py and encoders of the hub by name, in the shapes that their repositories have."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import train_args, write_bert
from safetensors.torch import load_file, save_file
from test_download import Server, fails, server  # noqa: F401  (a fixture)

import download
import train
from core.bert.hub import read_licence
from core.bert.sums import SUMS, check_sums

CARD = b'---\nlanguage:\n- zh\nlicense: "apache-2.0"\n---\n# RBT3\n'


def publish(server: Server, repo: str, files: dict[str, bytes]) -> None:  # noqa: F811
    server.files |= {f"/{repo}/resolve/main/{name}": content for name, content in files.items()}


@pytest.fixture
def shapes(bert: Path, tmp_path: Path) -> dict[str, dict[str, bytes]]:
    """The files of repositories: as hfl/rbt3, huawei-noah/TinyBERT_4L_zh, a DistilBERT, one in shards with a card."""
    weights = load_file(bert / "model.safetensors")
    folder = tmp_path / "published"
    folder.mkdir()
    torch.save(weights, folder / "pytorch_model.bin")
    config, vocab = ((bert / name).read_bytes() for name in ("config.json", "vocab.txt"))
    pytorch = {
        "config.json": config,
        "vocab.txt": vocab,
        "pytorch_model.bin": (folder / "pytorch_model.bin").read_bytes(),
    }
    bare = json.loads(config)
    bare.pop("model_type")
    shards = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(sorted(weights))}
    for shard in set(shards.values()):
        save_file({name: weights[name] for name in weights if shards[name] == shard}, folder / shard)
    index = json.dumps({"metadata": {}, "weight_map": shards}).encode()
    in_shards = {shard: (folder / shard).read_bytes() for shard in set(shards.values())}
    return {
        "hfl/rbt3": {**pytorch, "tokenizer_config.json": b"{}", "README.md": CARD, "tf_model.h5": b"?"},
        "huawei-noah/TinyBERT_4L_zh": {**pytorch, "config.json": json.dumps(bare).encode()},
        "distilbert/distilbert-base-cased": distilbert(tmp_path / "distilbert"),
        "some-org/some_bert.v2": {
            "config.json": config,
            "vocab.txt": vocab,
            "model.safetensors.index.json": index,
            "README.md": CARD.replace(b"apache-2.0", b"cc-by-4.0"),
            **in_shards,
        },
    }


def distilbert(folder: Path) -> dict[str, bytes]:
    import transformers

    write_bert(folder, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *map(chr, range(97, 143))])
    config = transformers.DistilBertConfig(vocab_size=50, dim=24, n_layers=2, n_heads=3, hidden_dim=40)
    transformers.DistilBertForMaskedLM(config).save_pretrained(folder)
    names = ("config.json", "vocab.txt", "model.safetensors")
    return {name: (folder / name).read_bytes() for name in names} | {"README.md": CARD}


@pytest.mark.parametrize(
    ("argument", "repo", "licence"),
    [
        ("rbt3", "hfl/rbt3", "apache-2.0"),
        ("huawei-noah/TinyBERT_4L_zh", "huawei-noah/TinyBERT_4L_zh", "unknown"),
        ("distilbert-base-cased", "distilbert/distilbert-base-cased", "apache-2.0"),
        ("some-org/some_bert.v2", "some-org/some_bert.v2", "cc-by-4.0"),
    ],
)
def test_an_encoder_is_fetched_checked_and_taken_by_its_name(
    server: Server,  # noqa: F811
    shapes: dict[str, dict[str, bytes]],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    argument: str,
    repo: str,
    licence: str,
):
    publish(server, repo, shapes[repo])
    download.main([argument])
    folder = download.target_of(argument).folder
    wanted = {name: content for name, content in shapes[repo].items() if name != "tf_model.h5"}
    sums = (folder / SUMS).read_bytes()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {**wanted, SUMS: sums}
    said = capsys.readouterr().out
    assert f"licence: {licence}\n" in said and said.splitlines()[-1].startswith("next: python train.py --bert-path ")
    assert read_licence(folder) == licence

    server.log.clear()
    download.main(["--check", argument])
    assert not server.log and f"the hashes are those of {SUMS}" in capsys.readouterr().out
    (folder / SUMS).unlink()
    download.main([argument])  # whole already, and its hashes are written down again
    assert not server.fetched() or "index" in server.fetched()[0]
    assert (folder / SUMS).read_bytes() == sums
    with pytest.raises(SystemExit):
        train.main(train_args(Path(argument), data, tmp_path, "--help"))
    name = said.split()[-1]
    weights = max(folder.iterdir(), key=lambda path: path.stat().st_size)
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert "is not the file that" in fails("--check", argument)
    with pytest.raises(download.UserError, match="is not the file that"):
        train.main(train_args(Path(name), data, tmp_path))
    download.main([argument])
    assert check_sums(folder)


def test_an_encoder_fetched_by_hand_is_taken_with_its_shards(server: Server, shapes, tmp_path: Path, monkeypatch):  # noqa: F811
    repo = "some-org/some_bert.v2"
    source = tmp_path / "saved"
    source.mkdir()
    for name, content in shapes[repo].items():
        (source / name).write_bytes(content)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    download.main(["--from", str(source), repo])
    folder = download.target_of(repo).folder
    assert {path.name for path in folder.iterdir()} == {*shapes[repo], SUMS}
    assert check_sums(folder)
    shutil.rmtree(folder)
    (source / "model-00002-of-00002.safetensors").unlink()
    assert "lacks model-00002-of-00002.safetensors, which" in fails("--from", source, repo)


def test_what_is_not_on_the_hub_is_told(server: Server, shapes):  # noqa: F811
    assert "hfl/rbt4-h312/resolve/main/config.json (the server answers 404)" in fails("rbt4-h312")
    publish(server, "hfl/rbt3", dict.fromkeys(("config.json", "vocab.txt", "tf_model.h5"), b"?"))
    assert "model.safetensors (the server answers 404)" in fails("rbt3")
    server.health["config.json"] = "401"
    assert "there is no hfl/rbt3, or it asks for a login" in fails("rbt3")


def test_the_help_names_encoders_with_their_licences(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        download.main(["--help"])
    said = capsys.readouterr().out
    for name, encoder in download.hub.ENCODERS.items():
        assert any({name, encoder.repo, encoder.licence} <= set(line.split()) for line in said.splitlines()), name
