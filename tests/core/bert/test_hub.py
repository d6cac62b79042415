"""Encoders by name: where they lie, and what their folders say of the licence."""

import json
import shutil
from pathlib import Path

import pytest

from core.bert import hub
from core.bert.folder import find_bert
from core.bert.hub import ENCODERS, folder_of, located, name_of, read_licence, repo_of


@pytest.mark.parametrize(
    ("text", "name", "folder"),
    [
        ("rbt3", "rbt3", "encoders/rbt3"),
        ("RBT3", "rbt3", "encoders/rbt3"),
        ("hfl/rbt3", "rbt3", "encoders/rbt3"),
        ("huawei-noah/TinyBERT_4L_zh", "tinybert-4l-zh", "encoders/tinybert-4l-zh"),
        ("google-bert/bert-base-chinese", "bert-base-chinese", "bert-base-chinese"),
        ("some-org/some_bert.v2", "some-org/some_bert.v2", "encoders/some-org/some_bert.v2"),
    ],
)
def test_names_mean_repositories_and_folders(text: str, name: str, folder: str):
    assert name_of(text) == name and folder_of(name) == Path(folder)
    assert repo_of(name).lower() in (text.lower(), "hfl/rbt3")


@pytest.mark.parametrize("text", ["rbt9", "", "a/b/c", "../x", "/etc/x", "a/..", "https://host/x", "C:\\x"])
def test_what_cannot_be_a_name(text: str):
    assert name_of(text) is None


def test_ten_encoders_are_known_with_their_licences():
    assert len({encoder.repo for encoder in ENCODERS.values()}) == len(ENCODERS) == 10
    assert all(name in hub.table() and encoder.licence in hub.table() for name, encoder in ENCODERS.items())


def test_a_path_means_its_folder_or_the_encoder_of_this_name(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert located(Path("rbt3")) == Path("rbt3")
    shutil.copytree(bert, tmp_path / "encoders" / "rbt3")
    for name in ("rbt3", "hfl/rbt3"):
        assert find_bert(Path(name), Path("default"), Path("bundled")) == Path("encoders/rbt3")
    assert "encoder: encoders/rbt3, licence: cc0-1.0" in capsys.readouterr().out.replace("\\", "/")
    (tmp_path / "rbt3").mkdir()
    assert located(Path("rbt3")) == Path("rbt3")


CARDS = {
    "---\nlanguage: zh\nlicense: apache-2.0\ntags:\n- x\n---\n# rbt3": "apache-2.0",
    "\ufeff---\r\nlicense: 'mit'\r\n---\r\n": "mit",
    '---\nlicense: "cc-by-4.0" # by hand\n---\n': "cc-by-4.0",
    "---\nlicense:\n  - apache-2.0\n---\n": "apache-2.0",
    "---\nlicense: other\nlicense_name: research only\n---\n": "research only",
    "---\nlicense: other\n---\n": "unknown",
    "---\nlanguage: zh\n---\nlicense: mit\n": "unknown",
    "license: mit\n": "unknown",
    "---\nlicense: mit\n": "unknown",
    f"---\nlicense: {'x' * 300}\n---\n": "unknown",
    "---\nlicense: a\x1bb\n---\n": "unknown",
    "": "unknown",
}


@pytest.mark.parametrize("card", CARDS)
def test_the_licence_of_a_model_card(tmp_path: Path, card: str):
    assert read_licence(tmp_path) == "unknown"
    (tmp_path / "README.md").write_bytes(card.encode())
    assert read_licence(tmp_path) == CARDS[card]


@pytest.mark.parametrize(
    ("config", "licence"),
    [({"license": "cc0-1.0"}, "cc0-1.0"), ({}, "mit"), ({"license": 3}, "unknown"), ([], "mit"), (None, "mit")],
)
def test_config_json_counts_before_the_card(tmp_path: Path, config: object, licence: str):
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    assert read_licence(tmp_path) == licence
