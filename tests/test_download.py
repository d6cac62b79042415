"""download.py against a server of the test's own that plays the hub and GitHub, in good and in bad health."""

import contextlib
import errno
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import write_bert

import download
import public_data
from config import BUNDLED_BERT, Config
from core import fetch
from core.bert import ask
from core.bert.folder import find_bert, read_tokenizer
from core.console import run
from core.fetch import git_sha1
from ner import data as ner_data

SCRIPT = Path(download.__file__)
BERT_PATH = "/google-bert/bert-base-chinese/resolve/main/"
THUCNEWS_PATH = "/649453932/Chinese-Text-Classification-Pytorch/master/THUCNews/data/"
CLUENER_PATH = "/hemingkx/CLUENER2020/main/BERT-CRF/data/clue/"
ENGLISH = b"finance\nrealty\nstocks\neducation\nscience\nsociety\npolitics\nsports\ngame\nentertainment"
FOLDERS = {"bert": Path("bert-base-chinese"), "thucnews": Path("data/thucnews")}


class Server(ThreadingHTTPServer):
    """Serves `files` (path -> content); `health` says what befalls the file of a name, and `log` what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.health: dict[str, str] = {}
        self.log: list[tuple[str, str, str]] = []  # method, name, range
        self.tokens: set[str] = set()
        self.closing = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def fetched(self) -> list[str]:
        return [name for method, name, _ in self.log if method == "GET"]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name, content = self.path.rpartition("/")[2], self.server.files.get(self.path.removeprefix("/moved"))
        asked = self.headers.get("Range", "")
        self.server.log.append((self.command, name, asked))
        self.server.tokens.add(self.headers.get("Authorization", ""))
        health = self.server.health.get(name, "well")
        if content is None or health in ("401", "404", "503"):
            return self.answer(int(health) if health.isdigit() else 404)
        if health == "silent":
            self.server.closing.wait(20)
            return
        if self.command == "HEAD":
            return self.tell(name, content, health)
        if health == "circle" or (health == "moved" and not self.path.startswith("/moved")):
            return self.answer(302, Location=self.path if health == "circle" else f"/moved{self.path}")
        if health == "wrong":
            content = content[:-1] + b"?"
        if health == "login":
            content = b"<html>Log in to the hotel</html>"
        start = int(asked[6:-1]) if asked and health != "deaf" else 0
        if start >= len(content):
            return self.answer(416)
        body, headers = content[start:], {}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if health != "endless":
            headers["Content-Length"] = str(len(body))
        self.answer(206 if start else 200, **headers)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send(body, health, name)

    def answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def tell(self, name: str, content: bytes, health: str) -> None:
        """As the hub does: git's hash of a small file; for weights SHA-256, and a redirection to another host."""
        if health == "no hash":
            return self.answer(200)
        if name.startswith(("model.", "pytorch_")):
            sha256 = f'"{hashlib.sha256(content).hexdigest()}"'
            elsewhere = f"http://localhost:{self.server.server_port}/moved{self.path}"
            linked = {"X-Linked-Etag": sha256, "X-Linked-Size": str(len(content))}
            return self.answer(302, Location=elsewhere, **linked)
        self.answer(200, ETag=f'"{git_sha1(content)}"', **{"Content-Length": str(len(content))})

    def send(self, body: bytes, health: str, name: str) -> None:
        half = len(body) // 2
        if health.startswith("cut"):
            self.wfile.write(body[:half])
            if health == "cut once":
                del self.server.health[name]
        elif health == "stalls":
            self.wfile.write(body[:half])
            self.server.closing.wait(20)
        elif health in ("drips", "slow"):
            width = 1 if health == "drips" else 100
            for start in range(0, len(body), width):
                self.wfile.write(body[start : start + width])
                if self.server.closing.wait(0.03):
                    return
        else:
            self.wfile.write(body)
            while health == "endless" and not self.server.closing.is_set():
                self.wfile.write(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bert: Path) -> Iterator[Server]:
    """The server with a tiny BERT and a few titles; an empty project folder; a client that soon loses patience."""
    with Server() as server:
        files = {name: (bert / name).read_bytes() for name in ("config.json", "vocab.txt", "model.safetensors")}
        files |= {"tokenizer.json": b"{}", "tokenizer_config.json": b'{"a": 1}\n'}
        server.files |= {BERT_PATH + name: content for name, content in files.items()}
        titles = {"train.txt": range(300), "dev.txt": range(298, 320), "test.txt": range(319, 340)}
        texts = {name: "".join(f"第{row}条\t{row % 10}\n" for row in rows) for name, rows in titles.items()}
        news = {"class.txt": ENGLISH, **{name: text.encode() for name, text in texts.items()}}
        server.files |= {THUCNEWS_PATH + name: content for name, content in news.items()}
        lines = [f'{{"text": "李明第{row}", "label": {{"name": {{"李明": [[0, 1]]}}}}}}\n' for row in range(30)]
        entities = {"train.json": "".join(lines[:20]).encode(), "test.json": "".join(lines[20:]).encode()}
        server.files |= {CLUENER_PATH + name: content for name, content in entities.items()}
        hashes = {name: (git_sha1(content),) for name, content in (news | entities).items()}
        hashes["class.txt"] += (git_sha1(public_data.THUCNEWS_CLASSES),)
        for name, data in public_data.SETS.items():
            own = {file: hashes[file.removeprefix("official_")] for file in data.hashes}
            monkeypatch.setitem(public_data.SETS, name, replace(data, hashes=own))
        monkeypatch.setattr(public_data, "RAW", server.url)
        monkeypatch.setattr(fetch, "PATIENCE", 0.3)
        monkeypatch.setattr(fetch, "PAUSE", 0.0)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.chdir(tmp_path)
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield server
        server.closing.set()
        server.shutdown()


def fails(*argv: object) -> str:
    """Run the script, which must end in one sentence with status 1; the sentence."""
    with pytest.raises(SystemExit) as stop:
        run(lambda: download.main([str(word) for word in argv]))
    sentence = str(stop.value.code)
    assert sentence.startswith("error: ") and "\n" not in sentence
    return sentence


def installed(target: str) -> list[str]:
    """The names in the target's folder, those of unfinished files excepted."""
    return sorted(path.name for path in FOLDERS[target].glob("*.*") if path.is_file())


def save(server: Server, target: str, folder: Path) -> Path:
    """The files of a target as a person's browser saves them."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in server.files.items():
        if path.startswith(BERT_PATH if target == "bert" else THUCNEWS_PATH):
            folder.joinpath(path.rpartition("/")[2]).write_bytes(content)
    return folder


def zipped(folder: Path, prefix: str = "") -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, prefix + file.name)
    return path


def assert_whole(server: Server, target: str) -> None:
    folder, prefix = FOLDERS[target], BERT_PATH if target == "bert" else THUCNEWS_PATH
    expected = {path.removeprefix(prefix): content for path, content in server.files.items() if prefix in path}
    if target == "thucnews":
        expected["class.txt"] = "财经\n房产\n股票\n教育\n科技\n社会\n时政\n体育\n游戏\n娱乐\n".encode()
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    if target == "bert":
        sums = "".join(f"{hashlib.sha256(expected[name]).hexdigest()}  {name}\n" for name in sorted(expected))
        assert found.pop("SHA256SUMS").decode() == sums
    assert found == expected, "whole files and nothing else"
    assert not any(path.is_symlink() for path in folder.iterdir())


# --- all is well


def test_thucnews_is_fetched_named_in_chinese_and_compared(server, capsys):
    download.main(["thucnews"])
    assert_whole(server, "thucnews")
    said = capsys.readouterr().out
    assert "train.txt: 300 titles\n" in said
    assert "train.txt and dev.txt share 2 title(s)\ntrain.txt and test.txt share 0 title(s)\n" in said
    assert "dev.txt and test.txt share 1 title(s)\n" in said and ".part" not in said
    assert said.endswith(f"{FOLDERS['thucnews']} is whole\nnext: python train.py --data-dir data/thucnews\n")


@pytest.mark.parametrize("flags", [(), ("--mirror", "URL"), ("--mirror",)])
def test_bert_is_fetched_from_hub_or_mirror(server, monkeypatch, capsys, flags):
    if flags:
        monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setattr(ask, "HUB_MIRROR", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    download.main(["bert", *(server.url + "/" if word == "URL" else word for word in flags)])
    assert_whole(server, "bert")
    assert server.tokens == {""}, "a person's token goes to no mirror"
    assert find_bert(Config.bert_path, Config.bert_path, BUNDLED_BERT) == FOLDERS["bert"]
    assert "the weights open" in capsys.readouterr().out


@pytest.mark.parametrize("target", FOLDERS)
def test_what_is_whole_is_not_fetched_again(server, target, capsys):
    download.main([target])
    server.log.clear()
    download.main([target])
    assert not server.fetched()
    assert "whole already" in capsys.readouterr().out
    damaged = {"bert": "vocab.txt", "thucnews": "dev.txt"}[target]
    (FOLDERS[target] / damaged).write_bytes(b"damaged")
    download.main([target])
    assert damaged in server.fetched()
    assert not {"model.safetensors", "train.txt"} & set(server.fetched())
    assert_whole(server, target)


def test_the_readme_in_the_folder_stays(server):
    FOLDERS["bert"].mkdir()
    (FOLDERS["bert"] / "README.md").write_text("read me")
    download.main(["bert"])
    assert (FOLDERS["bert"] / "README.md").read_text() == "read me"


def test_redirections_are_followed(server):
    server.health = {"train.txt": "moved", "vocab.txt": "moved", "model.safetensors": "moved"}
    for target in FOLDERS:
        download.main([target])
        assert_whole(server, target)


def test_a_slow_transfer_is_waited_for(server):
    """It takes longer than the client's patience lasts, but something comes all the time."""
    server.health["train.txt"] = "slow"
    start = time.monotonic()
    download.main(["thucnews"])
    assert time.monotonic() - start > 2 * fetch.PATIENCE
    assert server.fetched().count("train.txt") == 1
    assert_whole(server, "thucnews")


def test_cluener_is_fetched_and_its_train_is_cut(server, capsys):
    folder = Path("data/cluener")
    download.main(["cluener"])
    assert "next: python -m ner.train --data-dir data/cluener" in capsys.readouterr().out
    splits = ner_data.read_data(folder)[1]
    found = {name: [int(text[3:]) for text in split.items] for name, split in splits.items()}
    assert found["dev"] == [7, 15] and found["test"] == list(range(20, 30))
    assert found["train"] == [row for row in range(20) if row not in found["dev"]]
    download.main(["--check", "cluener"])

    (folder / "dev.json").unlink()
    (folder / "train.json").write_bytes(b"edited")
    before = len(server.log)
    download.main(["cluener"])
    assert len(server.log) == before, "what is made of the official file needs no network"
    assert list(ner_data.read_data(folder)[1]["dev"].items) == splits["dev"].items
    assert ner_data.read_data(folder)[1]["train"].items == splits["train"].items

    (folder / "official_train.json").write_bytes(b"edited")
    assert "official_train.json has another content" in fails("--check", "cluener")


# --- the network is not well

FILES = {"bert": "model.safetensors", "thucnews": "train.txt"}


@pytest.mark.parametrize("target", FOLDERS)
@pytest.mark.parametrize(
    ("health", "expected"),
    [
        ("404", "the server answers 404"),
        ("503", "the server answers 503"),
        ("circle", "it redirects in a circle"),
        ("wrong", "what came has another content"),
        ("login", "what came has "),
        ("silent", "no answer in time"),
        ("cut", "the connection broke off"),
        ("stalls", "no answer in time"),
        ("drips", "fewer than 500 bytes a second come"),
        ("endless", "more bytes come than the file has"),
    ],
)
def test_a_fault_of_the_server_is_told_and_leaves_nothing_that_looks_whole(
    server, monkeypatch, target, health, expected
):
    monkeypatch.setattr(fetch, "TRIES", 2)
    monkeypatch.setattr(fetch, "MAX_BYTES", 1_000_000)
    server.health[FILES[target]] = health
    sentence = fails(target)
    assert f"{FILES[target]} ({expected}" in sentence
    assert "try --mirror" in sentence and f"`python download.py --from FOLDER {target}`" in sentence
    for name in (*download.target_of(target).missing(()).split(", "), download.target_of(target).page):
        assert name in sentence
    assert not installed(target)
    assert health != "404" or server.fetched().count("train.txt") == (target == "thucnews"), "no use in trying again"
    del server.health[FILES[target]]
    download.main([target])
    assert_whole(server, target)


@pytest.mark.parametrize("target", FOLDERS)
def test_a_refused_connection_is_told(server, monkeypatch, target):
    monkeypatch.setattr(fetch, "PATIENCE", 10)  # Windows asks again for two seconds
    monkeypatch.setattr(fetch, "TRIES", 1)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert "(the connection is refused)" in fails(target, "--mirror", f"http://127.0.0.1:{port}")
    assert not installed(target)


@pytest.mark.parametrize("target", FOLDERS)
def test_no_network_is_told(server, monkeypatch, target):
    def no_network(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    assert "(the host is not found: is there a network?)" in fails(target, "--mirror", "hub.invalid")
    assert not installed(target)


def test_offline_mode_and_what_is_no_hub_are_told(server, monkeypatch):
    server.health["config.json"] = "no hash"
    assert "this is no mirror of the hub" in fails("bert")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "unset it" in fails("bert")


@pytest.mark.parametrize("address", ["http://", "ftp://127.0.0.1", "http://[", "http://127.0.0.1:99999", "a b"])
@pytest.mark.parametrize("target", FOLDERS)
def test_an_unusable_address_is_told(server, target, address):
    assert "cannot fetch" in fails(target, "--mirror", address)


# --- going on


@pytest.mark.parametrize("target", FOLDERS)
def test_a_transfer_goes_on_where_it_broke_off(server, monkeypatch, target):
    monkeypatch.setattr(fetch, "TRIES", 1)
    server.health[FILES[target]] = "cut"
    fails(target)
    fails(target)
    server.health.clear()
    server.log.clear()
    download.main([target])
    prefix = BERT_PATH if target == "bert" else THUCNEWS_PATH
    asked = [where for method, name, where in server.log if (method, name) == ("GET", FILES[target])]
    assert int(asked[0][6:-1]) >= len(server.files[prefix + FILES[target]]) * 3 // 4 - 1
    assert "config.json" not in server.fetched(), "what was whole the first time"
    assert_whole(server, target)


def test_a_transfer_that_breaks_off_once_goes_on_by_itself(server):
    server.health["train.txt"] = "cut once"
    download.main(["thucnews"])
    assert server.fetched().count("train.txt") == 2
    assert_whole(server, "thucnews")


def test_a_server_that_knows_no_ranges_is_asked_for_everything(server, monkeypatch):
    part = FOLDERS["thucnews"] / ".part"
    part.mkdir(parents=True)
    (part / "train.txt").write_bytes(server.files[THUCNEWS_PATH + "train.txt"][:1000])
    server.health["train.txt"] = "deaf"
    download.main(["thucnews"])
    assert_whole(server, "thucnews")


@pytest.mark.parametrize("target", FOLDERS)
def test_a_beginning_longer_than_the_file_is_dropped(server, target):
    part = FOLDERS[target] / ".part"
    part.mkdir(parents=True)
    (part / FILES[target]).write_bytes(bytes(1_000_000))
    download.main([target])
    assert_whole(server, target)


def test_a_foreign_beginning_is_found_out_and_dropped(server):
    part = FOLDERS["thucnews"] / ".part"
    part.mkdir(parents=True)
    (part / "train.txt").write_bytes(b"foreign")
    assert "another content" in fails("thucnews")
    download.main(["thucnews"])
    assert_whole(server, "thucnews")


def test_a_killed_download_goes_on(server):
    server.health["model.safetensors"] = "stalls"
    child = subprocess.Popen([sys.executable, SCRIPT, "bert"], stderr=subprocess.DEVNULL)
    part = FOLDERS["bert"] / ".part" / "model.safetensors"
    deadline = time.monotonic() + 15
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    child.kill()
    child.wait()
    beginning = part.stat().st_size
    assert not installed("bert")
    server.health.clear()
    download.main(["bert"])
    assert ("GET", "model.safetensors", f"bytes={beginning}-") in server.log
    assert_whole(server, "bert")


# --- by hand


@pytest.mark.parametrize("target", FOLDERS)
@pytest.mark.parametrize("as_zip", [False, True])
def test_files_fetched_by_hand_are_taken(server, tmp_path, target, as_zip):
    source = save(server, target, tmp_path / "我的 下载")
    (source / "README.md").write_text("not wanted")
    download.main(["--from", str(zipped(source, "repo-main/THUCNews/data/") if as_zip else source), target])
    assert_whole(server, target)
    assert not server.fetched()


def test_the_mirror_may_stand_before_the_target(server, monkeypatch):
    monkeypatch.setattr(ask, "HUB_MIRROR", server.url)
    download.main(["--mirror", "bert"])
    assert_whole(server, "bert")


def test_line_ends_changed_by_git_are_put_right(server, tmp_path):
    source = save(server, "thucnews", tmp_path / "clone")
    for path in source.iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    download.main(["--from", str(source), "thucnews"])
    assert_whole(server, "thucnews")


@pytest.mark.parametrize("target", FOLDERS)
def test_changed_or_missing_files_are_refused(server, tmp_path, target):
    source = save(server, target, tmp_path / "saved")
    content = (source / FILES[target]).read_bytes()
    (source / FILES[target]).write_bytes(content[:-2] + b"?\n")
    assert f"{FILES[target]} of {source} has another content" in fails("--from", source, target)
    (source / FILES[target]).write_bytes(content[:-2])
    assert f"{FILES[target]} of {source} has " in fails("--from", source, target)
    (source / FILES[target]).unlink()
    assert f"lacks {FILES[target]}" in fails("--from", source, target)
    assert not installed(target)


def test_the_bert_of_somebody_without_network_is_opened(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    source = save(server, "bert", tmp_path / "saved")
    (source / "tokenizer.json").unlink()
    download.main(["--from", str(source), "bert"])
    assert "sizes and hashes are not compared" in capsys.readouterr().out
    assert installed("bert") == ["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"]
    shutil.rmtree(FOLDERS["bert"])

    weights = (source / "model.safetensors").read_bytes()
    (source / "model.safetensors").write_bytes(weights[:-1000])
    sentence = fails("--from", source, "bert")
    assert f"the weights in {source} cannot be read" in sentence
    (source / "model.safetensors").write_bytes(weights)
    (source / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n" + "".join(f"{row}\n" for row in range(300)))
    assert f"{source}: vocab.txt has 304 tokens, the embedding" in fails("--from", zipped(source), "bert").replace(
        "saved.zip", "saved"
    )
    write_bert(tmp_path / "other", hidden_size=64)
    shutil.copyfile(tmp_path / "other" / "config.json", source / "config.json")
    shutil.copyfile(tmp_path / "other" / "vocab.txt", source / "vocab.txt")
    assert f"the weights in {source} " in fails("--from", source, "bert")
    assert not installed("bert")


def test_pytorch_weights_are_taken_too(server, tmp_path, bert):
    import torch
    from safetensors.torch import load_file

    source = save(server, "bert", tmp_path / "saved")
    torch.save(load_file(bert / "model.safetensors"), source / "pytorch_model.bin")
    (source / "model.safetensors").unlink()
    server.files[BERT_PATH + "pytorch_model.bin"] = (source / "pytorch_model.bin").read_bytes()
    FOLDERS["bert"].mkdir()
    (FOLDERS["bert"] / "model.safetensors").write_bytes(b"older")
    assert "would be read in place of" in fails("--from", source, "bert")
    (FOLDERS["bert"] / "model.safetensors").unlink()
    download.main(["--from", str(source), "bert"])
    assert "pytorch_model.bin" in installed("bert") and "model.safetensors" not in installed("bert")
    download.main(["--check", "bert"])


def test_the_vocabulary_in_a_tokenizer_json_is_enough(server, tmp_path, monkeypatch, bert):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    source = save(server, "bert", tmp_path / "saved")
    (source / "tokenizer.json").write_text(read_tokenizer(bert, 64).to_json(), encoding="utf-8")
    (source / "vocab.txt").unlink()
    download.main(["--from", str(source), "bert"])
    assert "vocab.txt" not in installed("bert")
    download.main(["--check", "bert"])
    (source / "tokenizer.json").unlink()
    assert "lacks vocab.txt or tokenizer.json" in fails("--from", source, "bert")


def test_unusable_sources_are_told(server, tmp_path, monkeypatch):
    source = save(server, "thucnews", tmp_path / "saved")
    whole = zipped(source).read_bytes()
    path = tmp_path / "a.zip"
    assert "does not exist" in fails("--from", path, "thucnews")
    path.write_bytes(b"plain text")
    assert "not a zip file" in fails("--from", path, "thucnews")
    path.write_bytes(whole[: len(whole) // 2])
    assert "not a zip file, or a damaged one" in fails("--from", path, "thucnews")
    damaged = bytearray(whole)
    at = whole.index(b"train.txt") + 60
    damaged[at : at + 100] = bytes(100)
    path.write_bytes(damaged)
    assert "damaged" in fails("--from", path, "thucnews")
    locked = bytearray(whole)
    for at in [start for start in range(len(whole)) if whole[start : start + 4] == b"PK\1\2"]:
        locked[at + 8] |= 1
    path.write_bytes(locked)
    assert "cannot be unpacked here" in fails("--from", path, "thucnews")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/train.txt", "1")
        archive.writestr("b/train.txt", "2")
    assert "two files of one name" in fails("--from", path, "thucnews")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.txt", bytes(5_000_000))
    monkeypatch.setattr(fetch, "MAX_BYTES", 1 << 20)
    assert "larger than 1 MB" in fails("--from", path, "thucnews")
    assert not installed("thucnews")


def test_a_zip_writes_nowhere_else(server, tmp_path):
    source = save(server, "thucnews", tmp_path / "saved")
    outside = tmp_path / "outside.txt"
    path = zipped(source, "../../../")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../../outside.txt", "x")
        archive.writestr(str(outside), "x")
    before = sorted(tmp_path.iterdir())
    download.main(["--from", str(path), "thucnews"])
    assert_whole(server, "thucnews")
    assert sorted({*tmp_path.iterdir()} - {tmp_path / "data"}) == before


# --- --check, flags, disk


@pytest.mark.parametrize("target", FOLDERS)
def test_check_looks_at_what_is_there_without_network(server, target, monkeypatch, capsys):
    assert f"lacks {download.target_of(target).names()[0]}" in fails("--check", target)
    download.main([target])
    server.log.clear()
    monkeypatch.setattr(socket, "socket", None)
    download.main(["--check", target])
    assert f"{FOLDERS[target]} is in order" in capsys.readouterr().out
    path = FOLDERS[target] / FILES[target]
    path.write_bytes(path.read_bytes()[:-10])
    assert str(FOLDERS[target]) in fails(target, "--check")
    assert not server.log


def test_a_wrong_command_line_is_told(server, capsys):
    for argv in ([], ["--mirror"], ["tnews"], ["--check"], ["--check", "--mirror", "x", "bert"]):
        with pytest.raises(SystemExit) as stop:
            download.main(argv)
        assert stop.value.code == 2
        assert capsys.readouterr().err.count("error:") == 1
    assert "--mirror https://HOST" in fails("thucnews", "--mirror")


def test_a_full_disk_is_told(server, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "train.txt")

    monkeypatch.setattr(fetch, "_receive", full)
    assert "free some disk space" in fails("thucnews")
    assert not installed("thucnews")


def test_the_script_as_it_is_run(server):
    """One line on stderr, exit status 1; tests/test_imports.py holds the time until the help is there."""
    server.health["config.json"] = "404"
    command = [sys.executable, str(SCRIPT), "bert"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    code = "import sys, download; print({'torch', 'huggingface_hub', 'requests', 'tqdm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPT.parent, capture_output=True, text=True)
    assert done.stdout == "set()\n"
    done = subprocess.run([*command[:2], "--help"], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0 and "--mirror" in done.stdout
