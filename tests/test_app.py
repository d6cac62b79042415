"""The page against a small HTTP server that answers as the API does, well and badly."""

import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow
import pytest
from streamlit.testing.v1 import AppTest

import app

APP = Path(__file__).parents[1] / "app.py"
HOSTILE = (
    "<script>alert(1)</script> **粗** [链接](http://evil.example) $x^2$ :red[红] `码` <img src=x onerror=alert(1)>"
)
FAILURES = {
    "空": (422, json.dumps({"status": 422, "code": "text_empty", "error": "标题是空的：请填写新闻标题"})),
    "长": (413, json.dumps({"status": 413, "code": "text_too_long", "error": "标题太长：请缩短后再试"})),
    "错": (500, json.dumps({"status": 500, "code": "internal_error", "error": "服务器内部出错：**编号** <b>7</b>"})),
    "网关": (502, "<html>Bad Gateway</html>"),
    "别的服务": (200, '{"hello": "world"}'),
    "网页": (200, "<html></html>"),
    "列表": (200, "[1]"),
    "慢": (200, None),
}


class FakeApi(BaseHTTPRequestHandler):
    def do_GET(self):
        health = {"status": 200, "model": "fake*", "labels": ["财经", "科技", "体育"]}
        self.reply(200, json.dumps(health) if self.path == "/health" else "{}")

    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.questions.append((self.path, question))
        self.server.keys.append(self.headers["Authorization"])
        title = question["text"]
        if title in FAILURES:
            return self.reply(*FAILURES[title])
        shares = [("科技", 0.9), ("财经", 0.08), ("体育", 0.02)]
        answer = {
            "text": title,
            "pred_class": "科技",
            "status": 200,
            "confidence": 0.9,
            "top_k": [{"pred_class": label, "confidence": share} for label, share in shares],
            "model": "fake*",
            "truncated": len(title) > 300,
            "elapsed_ms": 12.34,
            "request_id": "0123456789ab",
        }
        return self.reply(200, json.dumps(answer))

    def reply(self, status, body):
        if body is None:  # no answer until the test is over
            self.server.over.wait(20)
            return
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), FakeApi)
    httpd.questions, httpd.keys, httpd.over = [], [], threading.Event()
    threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("NEWS_API_URL", f"http://127.0.0.1:{httpd.server_address[1]}")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    yield httpd
    httpd.over.set()
    httpd.shutdown()
    httpd.server_close()


def open_page():
    return AppTest.from_file(APP, default_timeout=20).run()


def ask(title):
    page = open_page()
    page.text_input(key="title").input(title)
    submit_button(page).click()
    page.run()
    assert not page.exception
    return page


def submit_button(page):
    return next(button for button in page.button if button.label == "预测")


def shown_error(page):
    """The one error in the body of the page, which then shows no result."""
    [error] = page.main.error
    assert not page.metric
    return error.value


def chart_rows(page):
    [chart] = page.get("vega_lite_chart")
    return pyarrow.ipc.open_stream(chart.proto.data.data).read_all().to_pylist()


def test_page_opens_connected_and_without_a_result(server):
    page = open_page()
    assert not page.exception
    assert page.sidebar.success[0].value == r"已连接：模型 fake\*，3 个类别"
    assert not page.metric and not page.error
    assert server.questions == []


def test_prediction_shows_class_confidence_time_model_and_all_classes(server):
    page = ask("科技新闻")
    assert server.questions == [("/predict", {"text": "科技新闻", "top_k": 1000})]
    assert page.text[0].value == "科技新闻"
    assert {metric.label: metric.value for metric in page.metric} == {"类别": "科技", "置信度": "90.0%"}
    assert r"耗时 12.3 ms，模型 fake\*" in [caption.value for caption in page.caption]
    assert chart_rows(page) == [
        {"label": "科技  90.0%", "confidence": 0.9},
        {"label": "财经  8.0%", "confidence": 0.08},
        {"label": "体育  2.0%", "confidence": 0.02},
    ]
    assert not page.main.error and not page.info


def test_the_key_goes_with_the_question(server, monkeypatch):
    monkeypatch.delenv("NEWS_API_KEY", raising=False)
    ask("科技新闻")
    monkeypatch.setenv("NEWS_API_KEY", "密key")
    ask("科技新闻")
    assert server.keys == [None, "Bearer 密key".encode().decode("latin-1")]


def test_example_fills_the_field_and_is_predicted(server):
    page = open_page()
    next(button for button in page.button if button.label == app.EXAMPLES[1]).click()
    page.run()
    assert page.text_input(key="title").value == app.EXAMPLES[1]
    assert [question["text"] for _, question in server.questions] == [app.EXAMPLES[1]]
    assert page.text[0].value == app.EXAMPLES[1]


def test_result_stays_when_the_page_runs_again(server):
    page = ask("科技新闻").run()
    assert page.metric[0].value == "科技"
    assert len(server.questions) == 1


def test_long_title_is_shortened_and_the_truncation_told(server):
    page = ask("长" * 301)
    assert page.text[0].value == "长" * 200 + "…"
    assert "开头" in page.info[0].value


def test_hostile_title_is_shown_as_plain_text(server):
    page = ask(HOSTILE)
    assert page.text[0].value == HOSTILE
    markdown = [page.markdown, page.caption, page.error, page.success, page.info, page.metric]
    assert not any("evil" in element.value for kind in markdown for element in kind)
    assert not page.get("html")


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("空", "标题是空的：请填写新闻标题"),
        ("长", "标题太长：请缩短后再试"),
        ("错", r"服务器内部出错：\*\*编号\*\* \<b\>7\<\/b\>"),
        ("网关", "服务器出错（502）：请查看 `python api.py` 的终端"),
        ("别的服务", "不是新闻标题分类的 API"),
        ("网页", "不是新闻标题分类的 API"),
        ("列表", "不是新闻标题分类的 API"),
    ],
)
def test_refusals_are_told_in_chinese(server, title, expected):
    assert expected in shown_error(ask(title))


def test_error_replaces_the_last_result(server):
    page = ask("科技新闻")
    page.text_input(key="title").input("错")
    submit_button(page).click()
    assert "服务器内部出错" in shown_error(page.run())


def test_slow_server(server):
    answer = app.call(f"http://127.0.0.1:{server.server_address[1]}", "/predict", set(), 0.2, {"text": "慢"})
    assert "0.2 秒内没有回答" in answer["error"]


def test_no_server(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        monkeypatch.setenv("NEWS_API_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
    page = ask("科技新闻")
    assert "请先在另一个终端运行 `python api.py`" in shown_error(page)
    assert page.sidebar.error[0].value.startswith("未连接。")


@pytest.mark.parametrize("url", ["", "127.0.0.1:8004", "http://[::1", "ftp://127.0.0.1", "http://127.0.0.1:99999"])
def test_wrong_address(server, url):
    page = open_page()
    page.sidebar.text_input[0].input(url)
    submit_button(page).click()
    page.run()
    assert not page.exception
    assert "请在侧栏改正" in shown_error(page)


def test_page_knows_only_http():
    code = "import sys, app; print(sorted({'torch', 'transformers', 'predict_fun', 'config'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=APP.parent, capture_output=True, encoding="utf-8")
    assert done.stdout.strip() == "[]"


def test_started_without_streamlit_it_says_how():
    done = subprocess.run([sys.executable, APP], cwd=APP.parent, capture_output=True, encoding="utf-8")
    assert done.returncode == 1
    assert "streamlit run app.py" in done.stderr
    assert "Traceback" not in done.stderr
