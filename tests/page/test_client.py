"""The page's client where whoever answers means no good: its time, its bytes and what is told to whom are bounded."""

import contextlib
import socket
import threading
import time

import pytest
import streamlit as st
from conftest import ROOT
from streamlit.testing.v1 import AppTest

from page.client import Api, fetch, plain

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextlib.contextmanager
def answering(*parts, pause=0.0, endless=False):
    """A server that sends these parts to whoever asks, with pauses; its address and what it was asked."""
    asked, over = [], threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while not over.is_set():
                    client, _ = listener.accept()
                    with client, contextlib.suppress(OSError):
                        asked.append(client.recv(65_536))
                        for part in parts:
                            client.sendall(part)
                            over.wait(pause)
                        while endless and not over.is_set():
                            client.sendall(parts[-1])
                            over.wait(pause)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        over.set()
        listener.close()


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nX: ", OK + b"Content-Length: 99\r\n\r\n"])
def test_an_answer_that_comes_byte_by_byte_takes_no_longer_than_allowed(first):
    with answering(first, b"1", pause=0.05, endless=True) as (url, _):
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            fetch(url, {}, None, 0.5, 1000)
        assert time.monotonic() - started < 10  # it never ends


def test_an_endless_answer_is_read_no_further_than_allowed():
    with answering(OK + b"\r\n", b"9" * 100_000, endless=True) as (url, _):
        assert len(fetch(url, {}, None, 5, 250_000)[2]) == 250_001
        assert "不是本项目的 API" in Api(url).health()["error"]


def test_nothing_of_the_environment_is_sent_and_no_redirect_followed(monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("default login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
    with answering(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n") as (url, asked):
        answer = Api(url, "key").predict("新闻")
        assert answer["status"] == 302 and "不是本项目的 API" in answer["error"]
    assert len(asked) == 1 and b"Authorization: Bearer key" in asked[0] and b"Basic" not in asked[0]


@pytest.mark.parametrize(
    "url", ["", "x", "file:///etc/passwd", "ftp://127.0.0.1", "http://", "http://a b", "http://[::1"]
)
def test_what_is_no_address(url):
    assert "API 地址不对" in Api(url).health()["error"]


@pytest.mark.parametrize(
    "name", ["https://evil.example/x", "www.evil.example", "a@evil.example", "HTTP://evil.example"]
)
def test_an_address_in_a_class_name_is_no_link(name):
    """GFM makes a link of these marks, escaped or not."""
    shown = plain(name).replace("\\", "")
    assert not any(mark in shown.lower() for mark in ("://evil", "www.", "a@")) or "\u2060" in shown
    assert shown.replace("\u2060", "") == name


def test_a_page_that_others_can_open_asks_its_own_server_alone(monkeypatch):
    real = st.get_option
    monkeypatch.setattr(st, "get_option", lambda name: "0.0.0.0" if name == "server.address" else real(name))
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert not page.exception and [each.key for each in page.text_input if each.key in ("url", "key")] == ["key"]
    monkeypatch.setattr(st, "secrets", {"choose_address": True})
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert "url" in [each.key for each in page.text_input]
