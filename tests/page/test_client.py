"""The page's client where a proxy stands between it and the API: the proxy is named, and what to do."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from page.client import Api, proxy_of

FAR = "http://api.example.invalid:8004"
STEP = "请设置环境变量 no_proxy=api.example.invalid"


class Proxy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body)

    do_POST = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with HTTPServer(("127.0.0.1", 0), Proxy) as found:
        found.status, found.body = 502, b"<html></html>"
        threading.Thread(target=found.serve_forever, daemon=True).start()
        monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{found.server_port}")
        yield found
        found.shutdown()


@pytest.mark.parametrize(
    ("status", "body"), [(502, b"<html>"), (403, b""), (407, b"{}"), (200, b"<html>"), (200, b"[]")]
)
def test_a_proxy_that_answers_in_place_of_the_api(proxy, status, body):
    proxy.status, proxy.body = status, body
    for answer in (Api(FAR).health(), Api(FAR).predict("新闻"), Api(FAR).predict_list(["新闻"])):
        assert f"代理 127.0.0.1:{proxy.server_port} 代为回答了（{status}）" in answer["error"]
        assert STEP in answer["error"] and "secret" not in answer["error"]


def test_a_proxy_that_is_gone(monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    answer = Api(FAR).predict("新闻")
    assert answer["status"] == 503 and "代理 127.0.0.1:9 连不上" in answer["error"] and STEP in answer["error"]
    monkeypatch.setenv("no_proxy", "api.example.invalid")
    assert Api(FAR).predict("新闻")["error"].startswith("连不上 API")


def test_what_the_api_says_comes_through_a_proxy(proxy):
    proxy.status, proxy.body = 503, '{"status": 503, "code": "busy", "error": "服务器正忙：请稍后再试"}'.encode()
    assert Api(FAR).predict("新闻")["error"] == "服务器正忙：请稍后再试"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8004", "http://localhost:1", "http://[::1]:8004", "http://[::1", "x"]
)
def test_where_no_proxy_is_asked(proxy, url):
    assert proxy_of(url) == ""
