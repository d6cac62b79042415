"""The page against a small HTTP server that answers as the API does, well and badly."""

import csv
import io
import json
import math
import re
import socket
import subprocess
import sys
import threading
import time
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow
import pytest
from conftest import ROOT
from streamlit.testing.v1 import AppTest

from core.tables.read import open_table
from page import results
from page import run as batch_run
from page.charts import PALETTE
from page.client import Api
from page.progress import duration
from page.titles import Given, truth
from page.views import models, single

APP = ROOT / "app.py"
HOSTILE = (
    "<script>alert(1)</script> **粗** [链接](http://evil.example) $x^2$ :red[红] `码` <img src=x onerror=alert(1)>"
)
FAILURES = {
    "空": (422, json.dumps({"status": 422, "code": "text_empty", "error": "标题是空的：请填写新闻标题"})),
    "长": (413, json.dumps({"status": 413, "code": "text_too_long", "error": "标题太长：请缩短后再试"})),
    "忙": (503, json.dumps({"status": 503, "code": "busy", "error": "服务器正忙，排队已满：请稍后再试"})),
    "错": (500, json.dumps({"status": 500, "code": "internal_error", "error": "服务器内部出错：**编号** <b>7</b>"})),
    "没有密钥": (401, json.dumps({"status": 401, "code": "unauthorized", "error": "密钥不对"})),
    "网关": (502, "<html>Bad Gateway</html>"),
    "没有": (404, "<html>Not Found</html>"),
    "别的服务": (200, '{"hello": "world"}'),
    "网页": (200, "<html></html>"),
    "列表": (200, "[1]"),
    "无穷": (200, '{"text": "x", "pred_class": "x", "confidence": NaN}'),
    "类型": (
        200,
        '{"text": "x", "pred_class": 1, "confidence": 1, "top_k": [], "model": "m", "truncated": 0, "elapsed_ms": 1}',
    ),
    "慢": (200, None),
}
LABELS = ["财经", "科技", "体育"]
SHARES = {"fake*": 0.9, "other": 0.6}


def item(title, model, top_k):
    """What the API says of a title: 体育 if it has 球, by the other model also if it has 跑, else 科技."""
    if not title.strip():
        return {"text": title, "error": "标题是空的：请填写新闻标题"}
    sport = "球" in title or (model == "other" and "跑" in title)
    best, second = ("体育", "科技") if sport else ("科技", "体育")
    share = SHARES[model]
    shares = [(best, share), (second, 0.98 - share), ("财经", 0.02)]
    return {
        "text": title,
        "pred_class": best,
        "confidence": share,
        "top_k": [{"pred_class": label, "confidence": share} for label, share in shares[:top_k]],
        "truncated": len(title) > 300,
    }


def pieces(title):
    return 200, json.dumps({"pieces": re.findall(r"新闻|[A-Za-z]+|[0-9.]+|\S", title)})


class FakeApi(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.gets.append((self.path, self.headers["Authorization"]))
        answers = {
            "/health": {"status": 200, "model": "fake*", "labels": LABELS},
            "/models": {"status": 200, "default": "fake*", **self.server.models},
        }
        self.reply(200, json.dumps(answers.get(self.path, {})))

    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/pieces":
            return self.reply(*self.server.pieces(question["text"]))
        self.server.questions.append((self.path, question))
        self.server.keys.append(self.headers["Authorization"])
        title, model = question["text"], question.get("model", "fake*")
        if self.server.failing:
            return self.reply(*self.server.failing.pop(0))
        if isinstance(title, str) and title in FAILURES:
            return self.reply(*FAILURES[title])
        self.server.gate.wait(20)
        about = {"status": 200, "model": model, "elapsed_ms": 12.34, "request_id": "0123456789ab"}
        if isinstance(title, list):
            return self.reply(
                200, json.dumps({**about, "predictions": [item(t, model, question["top_k"]) for t in title]})
            )
        return self.reply(200, json.dumps({**about, **item(title, model, question["top_k"])}))

    def reply(self, status, body, headers=()):
        if body is None:  # no answer until the test is over
            self.server.over.wait(20)
            return
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


def described(name, **more):
    return {"name": name, "stage": "teacher", "labels": LABELS, **more}


@pytest.fixture
def server(monkeypatch):
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), FakeApi)
    httpd.pieces = pieces
    httpd.questions, httpd.keys, httpd.gets, httpd.failing = [], [], [], []
    httpd.models = {"models": [described("fake*"), described("other")], "benchmark": None}
    httpd.over, httpd.gate = threading.Event(), threading.Event()
    httpd.gate.set()
    httpd.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("NEWS_API_URL", httpd.url)
    monkeypatch.delenv("NEWS_API_KEY", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setattr(batch_run, "WAITS", (0.01, 0.01, 0.01))
    yield httpd
    httpd.over.set()
    httpd.gate.set()
    httpd.shutdown()
    httpd.server_close()


def open_page(view=None):
    page = AppTest.from_file(APP, default_timeout=20).run()
    if view:
        page.switch_page(f"page/views/{view}.py").run()
    assert not page.exception
    return page


def ask(title):
    page = open_page()
    page.text_input(key="title").input(title)
    return press(page, "预测")


def button(page, label):
    return next(button for button in page.button if button.label == label)


def press(page, label):
    button(page, label).click()
    page.run()
    assert not page.exception
    return page


def shown_error(page):
    """The one error in the body of the page, which then shows no result."""
    [error] = page.main.error
    assert not page.metric
    return error.value


def chart_rows(proto):
    data = proto.datasets[0].data.data if proto.datasets else proto.data.data
    return pyarrow.ipc.open_stream(data).read_all().to_pylist()


def charts(page):
    """The rows of each chart of the page."""
    found = page.get("vega_lite_chart")
    return [chart_rows(chart.proto) for chart in found]


def specs(page):
    return [json.loads(chart.proto.spec) for chart in page.get("vega_lite_chart")]


def table(page, number):
    return page.dataframe[number].value.to_dict("list")


def words(page):
    kinds = (page.markdown, page.caption, page.error, page.success, page.info, page.warning, page.subheader, page.table)
    return [str(element.value) for kind in kinds for element in kind] + [metric.value for metric in page.metric]


def upload(page, name, content):
    page.file_uploader[0].set_value((name, content, "text/plain"))
    page.run()
    assert not page.exception
    return page


def finish(page):
    """Look at a run until it has ended."""
    for _ in range(200):
        if not any(button.label == "停止" for button in page.button):
            return page
        time.sleep(0.02)
        page.run()
        assert not page.exception
    raise AssertionError("the run does not end")


def predict_lines(server, content, name="titles.txt"):
    return finish(press(upload(open_page("batch"), name, content), "开始预测"))


# The frame and the sidebar


def test_page_opens_connected_and_without_a_result(server):
    page = open_page()
    assert page.sidebar.success[0].value == r"已连接：模型 fake\*，3 个类别"
    assert not page.metric and not page.error
    assert server.questions == []


@pytest.mark.parametrize("view", ["single", "batch", "compare", "models"])
def test_no_view_raises_without_a_server(monkeypatch, view):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        monkeypatch.setenv("NEWS_API_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
    page = open_page(view)
    assert page.sidebar.error[0].value.startswith("未连接。连不上 API")
    assert [warning.value[:4] for warning in page.main.warning] == ["未连接。"] and not page.main.error


def test_the_environments_key_goes_to_the_environments_server_alone(server, monkeypatch):
    ask("科技新闻")
    monkeypatch.setenv("NEWS_API_KEY", "密key")
    page = ask("科技新闻")
    secret = "Bearer 密key".encode().decode("latin-1")
    assert server.keys == [None, None, secret, secret]
    assert page.sidebar.text_input(key="key").value == ""  # what a visitor's browser gets
    server.gets.clear()
    page.sidebar.text_input(key="url").input(server.url + "/").run()
    assert server.gets and {key for _, key in server.gets} == {None}


def test_a_typed_key_goes_with_every_question(server, monkeypatch):
    monkeypatch.setenv("NEWS_API_KEY", "environment")
    page = open_page()
    server.gets.clear()
    page.sidebar.text_input(key="key").input(" typed ")
    page.text_input(key="title").input("科技新闻")
    press(page, "预测")
    assert set(server.keys) == {"Bearer typed"} and {key for _, key in server.gets} == {"Bearer typed"}


@pytest.mark.parametrize("url", ["", "127.0.0.1:8004", "http://[::1", "ftp://127.0.0.1", "http://127.0.0.1:99999"])
def test_wrong_address(server, url):
    page = open_page()
    page.sidebar.text_input(key="url").input(url)
    press(page, "预测")
    assert "请在侧栏改正" in shown_error(page)


def test_slow_server(server):
    answer = Api(server.url).call("/predict", {}, 0.2, {"text": "慢"})
    assert "0.2 秒内没有回答" in answer["error"] and answer["status"] == 504


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("9999", 60), ("Fri, 31 Dec 1999 23:59:59 GMT", 0)])
def test_retry_after(server, header, seconds):
    server.failing = [(503, '{"error": "忙"}', [("Retry-After", header)])]
    assert Api(server.url).predict("新闻") == {"error": "忙", "status": 503, "retry_after": seconds}


def test_a_list_answer_of_another_length_is_not_taken(server):
    body = {"model": "m", "elapsed_ms": 1, "predictions": [item("新闻", "fake*", 1)]}
    for predictions in (body["predictions"] * 2, [{"text": "新闻"}], ["新闻"], None):
        server.failing = [(200, json.dumps({**body, "predictions": predictions}))]
        assert "不是本项目的 API" in Api(server.url).predict_list(["新闻"])["error"]


def test_page_knows_only_http():
    code = (
        "import sys, app, page.views.single, page.views.batch, page.views.compare, page.views.models;"
        "print(sorted({'torch', 'transformers', 'onnxruntime', 'tokenizers', 'predict_fun', 'sklearn', 'matplotlib'}"
        " & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=APP.parent, capture_output=True, encoding="utf-8")
    assert done.stdout.strip() == "[]"


def test_only_this_machine_can_open_the_page():
    config = (ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8")
    assert tomllib.loads(config)["server"]["address"] == "127.0.0.1"


def test_no_chart_meets_a_half_imported_pandas():
    """altair looks at whatever is in sys.modules, where Streamlit may be importing pandas in another thread."""
    code = "import sys, page.charts; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=APP.parent, capture_output=True, encoding="utf-8")
    assert done.stdout.strip() == "True"


def test_started_without_streamlit_it_says_how():
    done = subprocess.run([sys.executable, APP], cwd=APP.parent, capture_output=True, encoding="utf-8")
    assert done.returncode == 1
    assert "streamlit run app.py" in done.stderr
    assert "Traceback" not in done.stderr


# 单条预测


def test_prediction_shows_class_confidence_time_model_and_all_classes(server):
    page = ask("科技新闻")
    assert server.questions[0] == ("/predict", {"text": "科技新闻", "top_k": 1000})
    assert page.text[0].value == "科技新闻"
    assert {metric.label: metric.value for metric in page.metric} == {"类别": "科技", "置信度": "90.0%"}
    assert r"耗时 12.3 ms，模型 fake\*" in [caption.value for caption in page.caption]
    assert charts(page)[0] == [
        {"class": "科技", "value": 0.9, "shown": "90.0%"},
        {"class": "体育", "value": pytest.approx(0.08), "shown": "8.0%"},
        {"class": "财经", "value": 0.02, "shown": "2.0%"},
    ]
    assert not page.main.error and not page.info


def test_the_words_and_characters_that_mattered(server):
    page = ask("打球 新闻")
    [(_, asked)] = server.questions[1:]
    assert asked == {"text": ["球 新闻", "打 新闻", "打球 "], "top_k": 1000, "model": "fake*"}
    tiles = charts(page)[1]
    assert [tile["text"] for tile in tiles] == ["打", "球", "新闻"]
    fall = math.log(0.9 / 0.1) - math.log(0.08 / 0.92)
    assert [tile["drop"] for tile in tiles] == pytest.approx([0, fall, 0])
    assert [tile["without"] for tile in tiles] == pytest.approx([0.9, 0.08, 0.9])
    page.run()
    assert len(server.questions) == 2  # asked once


@pytest.mark.parametrize(
    "answer", [(404, "<html>Not Found</html>"), (200, '{"pieces": [7]}'), (200, '{"pieces": ["闻", "新", "球"]}')]
)
def test_a_server_that_cuts_nothing_or_nonsense(server, answer):
    server.pieces = lambda _: answer
    shown = [tile["text"] for tile in charts(ask("打球 新闻"))[1]]
    assert shown == (["闻"] if "闻" in answer[1] else ["打", "球", "新", "闻"])


def test_of_a_long_title_the_first_characters_are_compared(server):
    page = ask("新" * 300)
    assert len(server.questions[1][1]["text"]) == len(charts(page)[1]) == single.OCCLUDED
    assert f"只比较前 {single.OCCLUDED} 个" in page.caption[-1].value
    assert {(tile["row"], tile["middle"]) for tile in charts(page)[1]} == {
        (row, 2 * column + 1) for row in range(3) for column in range(20)
    }


def test_a_title_of_one_character(server):
    assert [tile["without"] for tile in charts(ask("球"))[1]] == [0.0]


def test_a_failure_of_the_comparison_leaves_the_answer(server):
    page = open_page()
    page.text_input(key="title").input("科技新闻")
    server.gate.clear()
    threading.Timer(0.3, lambda: (server.failing.append(FAILURES["忙"]), server.gate.set())).start()
    press(page, "预测")
    assert page.metric[0].value == "科技"
    assert "服务器正忙" in page.warning[0].value


def test_a_class_has_one_colour_on_all_views(server):
    expected = {"domain": ["体育", "科技", "财经"], "range": list(PALETTE[:3])}
    for page in (ask("科技新闻"), predict_lines(server, "打球\n".encode())):
        assert specs(page)[0]["layer"][0]["encoding"]["color"]["scale"] == expected


def test_example_fills_the_field_and_is_predicted(server):
    page = press(open_page(), single.EXAMPLES[1])
    assert page.text_input(key="title").value == single.EXAMPLES[1]
    assert server.questions[0][1]["text"] == single.EXAMPLES[1]
    assert page.text[0].value == single.EXAMPLES[1]


def test_result_stays_when_the_page_runs_again(server):
    page = ask("科技新闻").run()
    assert page.metric[0].value == "科技"
    assert len(server.questions) == 2


def test_history_of_this_visit(server):
    page = ask("科技新闻")
    page.text_input(key="title").input("打球新闻")
    press(page, "预测")
    page.text_input(key="title").input("错")
    press(page, "预测")
    assert "（2 条）" in page.expander[0].label
    assert table(page, 0)["标题"] == ["打球新闻", "科技新闻"] and table(page, 0)["类别"] == ["体育", "科技"]
    assert not open_page().dataframe


def test_long_title_is_shortened_and_the_truncation_told(server):
    page = ask("长" * 301)
    assert page.text[0].value == "长" * 200 + "…"
    assert "开头" in page.info[0].value


def test_hostile_title_is_shown_as_plain_text(server):
    page = ask(HOSTILE)
    assert page.text[0].value == HOSTILE
    assert not any("evil" in text for text in words(page))
    assert not page.get("html")


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("空", "标题是空的：请填写新闻标题"),
        ("长", "标题太长：请缩短后再试"),
        ("忙", "服务器正忙，排队已满：请稍后再试"),
        ("错", r"服务器内部出错：\*\*编号\*\* \<b\>7\<\/b\>"),
        ("没有密钥", "密钥不对或缺失：请在侧栏填写密钥"),
        ("网关", r"服务器出错（502）：请查看 python api\.py 的终端"),
        ("没有", "不是本项目的 API"),
        ("别的服务", "不是本项目的 API"),
        ("网页", "不是本项目的 API"),
        ("列表", "不是本项目的 API"),
        ("无穷", "不是本项目的 API"),
        ("类型", "不是本项目的 API"),
    ],
)
def test_refusals_are_told_in_chinese(server, title, expected):
    assert expected in shown_error(ask(title))


def test_error_replaces_the_last_result(server):
    page = ask("科技新闻")
    page.text_input(key="title").input("错")
    assert "服务器内部出错" in shown_error(press(page, "预测"))


# 批量预测


def answers_in(page):
    """The columns of the table of answers."""
    [editor] = page.data_editor
    return editor.value.to_dict("list")


def numbers(page):
    return {metric.label: metric.value for metric in page.metric}


def test_a_file_is_previewed_predicted_and_shown(server):
    page = upload(open_page("batch"), "titles.txt", "打球\n\n新闻\n".encode())
    assert "共 3 条" in page.caption[0].value
    assert table(page, 0) == {"标题": ["打球", "", "新闻"]}
    assert server.questions == []
    finish(press(page, "开始预测"))
    assert server.questions == [("/predict", {"text": ["打球", "", "新闻"], "top_k": 3, "model": "fake*"})]
    assert numbers(page) == {"有结果": "2", "出错": "1", "置信度中位数": "90.0%", "覆盖率（有把握的）": "100.0%"}
    assert answers_in(page) == {
        "类别": ["体育", "科技", ""],
        "正确类别": [None] * 3,
        "标题": ["打球", "新闻", ""],
        "置信度": pytest.approx([0.9, 0.9, float("nan")], nan_ok=True),
        "行": [1, 3, 2],
        "说明": ["", "", "标题是空的：请填写新闻标题"],
    }
    distribution, confidence = charts(page)
    assert {row["class"]: row["value"] for row in distribution} == {"财经": 0, "科技": 1, "体育": 1}
    assert sum(row["count"] for row in confidence) == 2
    assert [each.label for each in page.get("download_button")] == ["下载 Excel（XLSX）", "下载 CSV"]


def test_answers_stand_above_the_input_and_the_table_above_the_pictures(server):
    page = predict_lines(server, "打球\n".encode())
    kinds = [element.type for element in page.main]
    [editor] = page.data_editor
    order = [kinds.index(kind) for kind in ("metric", editor.type, "vega_lite_chart", "file_uploader")]
    assert order == sorted(order)


def test_filter_by_class(server):
    page = predict_lines(server, "打球\n\n新闻\n".encode())
    page.multiselect[0].select("体育").select(results.NO_CLASS).run()
    assert answers_in(page)["行"] == [1, 2]
    page.multiselect[0].unselect(results.NO_CLASS).unselect("体育").select("财经").run()
    assert "符合的有 0 条" in page.caption[0].value and not page.exception


def test_below_the_least_confidence_an_answer_is_unsure(server):
    content = "标题,栏目\n打球,体育\n新闻,体育\n新的,科技\n怪,别的\n".encode()
    page = upload(open_page("batch"), "a.csv", content)
    page.selectbox[1].set_value(1).run()  # 栏目 is no name that is known
    finish(press(page, "开始预测"))
    assert numbers(page)["覆盖率（有把握的）"] == "100.0%" and numbers(page)["准确率（其中答对的）"] == "66.7%"
    assert "1 条的标签不是模型的类别" in page.metric[-1].help
    page.slider[0].set_value(90).run()
    assert numbers(page)["覆盖率（有把握的）"] == "100.0%"  # 0.9 is not below 90 %
    page.slider[0].set_value(91).run()
    assert numbers(page)["覆盖率（有把握的）"] == "0.0%" and numbers(page)["准确率（其中答对的）"] == "–"
    assert answers_in(page)["类别"] == ["不确定（体育）", *["不确定（科技）"] * 3]
    assert answers_in(page)["标签"] == ["体育", "体育", "科技", "别的"]
    page.multiselect[0].select("体育").run()
    assert not page.data_editor[0].value.size
    page.multiselect[0].select("不确定").run()
    assert len(answers_in(page)["行"]) == 4
    assert [row[-1] for row in csv_of(page, 0.91)] == ["说明", *["不确定"] * 4]


def test_a_class_can_be_corrected(server):
    page = predict_lines(server, "打球\n新闻\n=跑\n".encode())
    key = page.session_state["batch_shown"]["key"]
    assert page.run().session_state["batch_shown"]["key"] == key  # the table stays, and what is edited in it
    assert not any("my_data" in code.value for code in page.code)
    page.session_state[key] = {
        "edited_rows": {1: {"正确类别": "财经"}, 2: {"正确类别": "体育"}},
        "added_rows": [],
        "deleted_rows": [],
    }
    batch = page.session_state["batch"]
    results.take_edits(batch, [0, 1, 2], {1: {"正确类别": "财经"}, 2: {"正确类别": "体育"}})
    page.run()
    assert "下载更正（2 条）" in [each.label for each in page.get("download_button")]
    assert "python utils.py import --add corrections.csv --to my_data" in page.code[0].value
    assert "python train.py --data-dir my_data" in page.code[0].value
    with open_table(io.BytesIO(batch.corrections()), "corrections.csv") as read:
        assert read.columns == ["text", "label"] and list(read.rows) == [["新闻", "财经"], ["=跑", "体育"]]
    assert csv_of(page)[0][-1] == "正确类别" and [row[-1] for row in csv_of(page)[1:]] == ["", "财经", "体育"]
    page.multiselect[0].select("科技").run()  # other rows are shown: what was corrected is still there
    assert answers_in(page)["正确类别"] == ["财经", "体育"] and answers_in(page)["行"] == [2, 3]
    page.switch_page("page/views/models.py").run()
    page.switch_page("page/views/batch.py").run()
    assert answers_in(page)["正确类别"][1:] == ["财经", "体育"]
    results.take_edits(batch, [1, 2], {0: {"正确类别": None}, 1: {}})
    assert batch.corrected == {2: "体育"}


@pytest.mark.parametrize("pasted", ["打球\n新闻", "编号\t标题\t来源\n1\t打球\t甲\n2\t新闻\t乙\n"])
def test_pasted_lines(server, pasted):
    page = open_page("batch")
    assert button(page, "开始预测").disabled
    page.radio[0].set_value("粘贴文字").run()
    page.text_area[0].input(pasted).run()
    finish(press(page, "开始预测"))
    assert answers_in(page)["类别"] == ["体育", "科技"] and answers_in(page)["标题"] == ["打球", "新闻"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gbk"])
def test_a_csv_in_each_encoding_with_a_column_chosen(server, encoding):
    content = '编号,标题,来源\r\n1,"打球, 又一场",甲\r\n2,"新""闻"\r\n'.encode(encoding)
    page = upload(open_page("batch"), "titles.csv", content)
    assert [box.value for box in page.selectbox] == [1, -1]
    assert table(page, 0) == {"编号": ["1", "2"], "标题": ["打球, 又一场", '新"闻'], "来源": ["甲", ""]}
    page.checkbox[0].uncheck().run()
    assert "共 3 条" in page.caption[0].value and not page.exception
    page.selectbox[0].set_value(2).run()
    finish(press(page, "开始预测"))
    assert answers_in(page)["标题"] == ["来源", "甲", ""]


def test_another_file_starts_with_its_own_columns(server):
    page = upload(open_page("batch"), "one.csv", "编号,标题\n1,打球\n".encode())
    page.selectbox[0].set_value(0).run()
    upload(page, "two.csv", "标题,编号,来源\n新闻,2,乙\n".encode())
    assert page.selectbox[0].value == 0 and table(page, 0)["标题"] == ["新闻"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", b"\n \n", "没有标题"),
        ("a.csv", "标题\n".encode(), "除了列名"),
        ("a.xlsx", b"PK\x03\x04 no workbook", "另存为 XLSX"),
    ],
)
def test_files_that_cannot_be_used(server, name, content, expected):
    page = upload(open_page("batch"), name, content)
    assert expected in shown_error(page).replace("\\", "")
    assert button(page, "开始预测").disabled


def test_hostile_titles_are_inert(server):
    page = predict_lines(server, f"标题,{HOSTILE}\n{HOSTILE},x\n".encode(), "a.csv")
    assert not any("evil" in text.replace("\\", "") for text in words(page) if not text.startswith("原来的列"))
    assert answers_in(page)["标题"] == [HOSTILE]


def csv_of(page, min_confidence=0):
    content = page.session_state["batch"].file(".csv", min_confidence, 1)
    assert content.startswith(b"\xef\xbb\xbf") and content.endswith(b"\r\n")
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_many_titles_go_in_chunks_and_the_table_is_bounded(server):
    count = results.SHOWN_ROWS + 150
    page = predict_lines(server, b"x\n" * count)
    assert [len(question["text"]) for _, question in server.questions] == [100] * (count // 100) + [50]
    assert len(page.data_editor[0].value) == results.SHOWN_ROWS
    assert f"符合的有 {count:,} 条，最没把握的在前，表中是前 2,000 条" in page.caption[0].value
    assert len(csv_of(page)) == count + 1


def test_stop_and_go_on(server):
    page = upload(open_page("batch"), "titles.txt", b"x\n" * 250)
    server.gate.clear()
    press(page, "开始预测")
    assert page.get("progress") and button(page, "开始预测").disabled
    press(page, "停止")
    assert not page.get("progress") and "还有 250 没有结果" in page.info[0].value
    server.gate.set()
    time.sleep(0.1)  # the answer under way comes too late to be kept
    assert "还有 250 没有结果" in page.run().info[0].value
    finish(press(page, "继续"))
    assert page.metric[0].value == "250" and not page.info


def test_a_run_goes_on_while_another_view_is_open(server):
    page = upload(open_page("batch"), "titles.txt", b"x\n" * 250)
    server.gate.clear()
    press(page, "开始预测")
    page.switch_page("page/views/models.py").run()
    server.gate.set()
    page.switch_page("page/views/batch.py").run()
    assert finish(page).metric[0].value == "250"


def test_a_busy_server_is_asked_again(server):
    server.failing = [FAILURES["忙"], FAILURES["网关"]]
    page = predict_lines(server, b"x\ny\n")
    assert page.metric[0].value == "2" and not page.main.error
    assert len(server.questions) == 3


def test_a_chunk_that_fails_is_reported_by_row_and_the_rest_goes_on(server):
    server.failing = [FAILURES["忙"]] * batch_run.TRIES
    page = predict_lines(server, b"x\n" * 150)
    assert [metric.value for metric in page.metric[:2]] == ["50", "100"]
    assert answers_in(page)["说明"] == [""] * 50 + ["服务器正忙，排队已满：请稍后再试"] * 100
    assert [row[3] for row in csv_of(page)[1:]].count("服务器正忙，排队已满：请稍后再试") == 100
    finish(press(page, "继续"))
    assert [metric.value for metric in page.metric[:2]] == ["150", "0"]


def test_a_server_that_is_gone_ends_the_run_and_loses_nothing(server):
    server.failing = [FAILURES["没有密钥"]] * batch_run.MAX_FAILURES
    page = predict_lines(server, b"x\n" * 1000)
    assert "中途停下了。API 密钥不对或缺失" in page.main.error[0].value
    assert "还有 1,000 没有结果" in page.info[0].value
    page.sidebar.text_input(key="key").input("the right one")
    server.keys.clear()
    finish(press(page, "继续"))
    assert page.metric[0].value == "1,000" and not page.main.error
    assert set(server.keys) == {"Bearer the right one"}


def test_a_run_that_cannot_start(server):
    page = upload(open_page("batch"), "titles.txt", b"x\n")
    page.sidebar.text_input(key="url").input("http://127.0.0.1:9")
    press(page, "开始预测")
    assert "没有开始。连不上 API" in shown_error(page)


# 模型对比


def test_one_model_has_nothing_to_compare(server):
    server.models = {"models": [described("fake*")]}
    page = open_page("compare")
    assert "python api.py --model teacher --model soft" in page.info[0].value
    assert not page.button


def test_one_title_through_all_models(server):
    page = open_page("compare")
    page.text_input(key="compare_title").input("跑步")
    press(page, "对比")
    assert [question["model"] for _, question in server.questions] == ["fake*", "other"]
    assert "不一致" in page.warning[0].value
    assert table(page, 0)["类别"] == ["科技", "体育"] and table(page, 0)["耗时（毫秒）"] == [12.34, 12.34]
    assert len(charts(page)[0]) == 6
    page.text_input(key="compare_title").input("打球")
    press(page, "对比")
    assert [each.value for each in page.main.success] == ["各模型一致。"]


def test_a_model_that_fails_is_named(server):
    page = open_page("compare")
    server.failing = [FAILURES["忙"]]
    page.text_input(key="compare_title").input("跑步")
    press(page, "对比")
    assert r"模型 fake\* 没有结果。服务器正忙" in page.main.error[0].value
    assert table(page, 0)["模型"] == ["other"]


def test_a_labelled_file_through_all_models(server):
    content = "跑步\t2\n打球\t体育\n新闻\t科技\n股票\t0\n怪\t9\n".encode()
    page = finish(press(upload(open_page("compare"), "dev.txt", content), "开始对比"))
    scores, agreement, differing, preview = (table(page, number) for number in range(4))
    assert preview == {
        "标签": ["2", "体育", "科技", "0", "9"],
        "标题": ["跑步", "打球", "新闻", "股票", "怪"],
    }
    assert scores["模型"] == ["fake*", "other"] and scores["准确率"] == [0.5, 0.75]
    assert scores["毫秒/条"] == pytest.approx([12.34 / 5] * 2) and scores["没有结果"] == [0, 0]
    assert agreement == {"模型": ["fake*"], "另一个": ["other"], "一致": [0.8]}
    assert differing["行"] == [1] and differing["标题"] == ["跑步"] and differing["标签"] == ["体育"]
    assert differing["模型 fake*"] == ["科技 90%"] and differing["模型 other"] == ["体育 60%"]
    assert "1 条的标签不是模型的类别" in page.warning[0].value
    cells = {(cell["row"], cell["column"]): cell["shown"] for cell in charts(page)[0]}
    assert cells == {("体育", "科技"): "1", ("体育", "体育"): "1", ("科技", "科技"): "1", ("财经", "科技"): "1"}
    page.selectbox[0].set_value("other").run()
    cells = {(cell["row"], cell["column"]): cell["shown"] for cell in charts(page)[0]}
    assert cells == {("体育", "体育"): "2", ("科技", "科技"): "1", ("财经", "科技"): "1"}


def test_unlabelled_lines_through_all_models(server):
    page = finish(press(upload(open_page("compare"), "a.txt", "跑步\n\n新闻\n".encode()), "开始对比"))
    assert "准确率" not in table(page, 0) and table(page, 0)["没有结果"] == [1, 1]
    assert table(page, 1)["一致"] == [0.5]
    assert not any("混淆" in heading.value for heading in page.subheader)


def test_labels_may_be_a_column_of_a_csv_or_left_out(server):
    page = upload(open_page("compare"), "a.csv", "label,title\n体育,打球\n".encode())
    assert [box.value for box in page.selectbox] == [1, 0]
    page.selectbox[1].set_value(-1).run()
    finish(press(page, "开始对比"))
    assert "准确率" not in table(page, 0)


def test_a_comparison_stays_when_the_server_goes(server):
    page = finish(press(upload(open_page("compare"), "a.txt", "跑步\n新闻\n".encode()), "开始对比"))
    page.sidebar.text_input(key="url").input("http://127.0.0.1:9").run()
    assert "连不上 API" in page.main.warning[0].value and not page.main.error
    assert table(page, 0)["模型"] == ["fake*", "other"] and table(page, 1)["一致"] == [0.5]


def test_ids_and_names_are_labels():
    given = Given(["a", "b", "c"], ["0", "体育 ", "9"])
    assert truth(given, LABELS) == ["财经", "体育", None]
    assert truth(Given(["a"]), LABELS) is None
    assert truth(Given(["a"], ["1"]), ["1", "2"]) == ["2"]  # an id is an id, as in training


# 模型信息

FACTS = {
    "architecture": {"type": "bert", "num_hidden_layers": 4, "layers": [{"heads": 2, "ffn": 64}], "new": 1},
    "metrics": {"dev": {"accuracy": 0.9, "macro_f1": 0.89, "n": 1200}, "odd": 1},
    "max_length": 64,
    "licence": "mit",
    "size_mb": 31.7,
    "made": "2026-11-27",
    "training_rows": 20_000,
    "sha256": "ab" * 32,
}
ROWS = [
    {"name": "soft", "runtime": "onnxruntime", "accuracy": 0.8, "p50_ms": 0.4},
    {"name": "slow", "runtime": "torch", "accuracy": 0.7, "p50_ms": 0.9},
    {"name": "teacher", "runtime": "torch", "accuracy": 0.9, "p50_ms": 4, "size_mb": 31.7, "params": 7_898_250},
    {"name": "majority", "runtime": "none", "accuracy": 0.1, "p50_ms": None},
]


def test_models_are_described_and_the_frontier_drawn(server):
    server.models = {
        "models": [described("fake*", **FACTS) | {"stage": "teacher_int8"}],
        "benchmark": {"machine": "m*", "threads": 2, "rows": ROWS},
    }
    page = open_page("models")
    assert [each.value for each in page.subheader] == ["准确率与速度", "正在服务的模型", r"fake\*（默认）"]
    captions = [caption.value for caption in page.caption]
    assert captions[1:3] == [
        "教师模型（BERT 微调），INT8 量化",
        "3 个类别：财经、科技、体育",
    ]
    assert [metric.value for metric in page.metric] == ["90.00%"]
    shown = str(page.table[0].value)
    for fact in ("20,000", "2026", "mit", "31.7 MB"):
        assert fact in captions[3].replace("\\", ""), fact
    for fact in ("1,200 条", "89", "BERT", "2/64".replace("/", r"\/"), "64 个 token"):
        assert fact.replace(",", r"\,") in shown.replace("\\\\", "\\") or fact in shown, fact
    assert "参数量" not in shown  # the measured file of the same size may be another model's
    assert page.code[0].value == "ab" * 32
    points = [(point["name"], point["kind"], point["label"]) for point in charts(page)[0]]
    best = [("soft", "最优", "soft"), ("teacher", "最优", "teacher")]
    assert points == [("slow", "其余", ""), *best]  # what is drawn last lies on top
    assert table(page, 0)["最优"] == [True, False, True]


def test_whatever_was_measured_is_shown_the_selecting_metric_first(server):
    odd = {"dev": {"f1": 0.71, "n": 12, "loss": 2.5, "per_class": {}}, "test": {"exact*": 0.5}}
    server.models = {"models": [described("fake*", metrics=odd)]}
    page = open_page("models")
    assert [(metric.label, metric.value) for metric in page.metric] == [
        ("验证集f1", "71.00%"),
        (r"测试集exact\*", "50.00%"),
    ]
    shown = str(page.table[0].value).replace("\\", "")
    assert "12 条，f1 71.00%，损失 2.5" in shown and "per_class" not in shown


def test_without_a_benchmark_the_page_says_how_to_get_one(server):
    page = open_page("models")
    assert "python benchmark.py" in page.info[0].value
    assert not page.get("vega_lite_chart")


@pytest.mark.parametrize(
    "odd",
    [
        {
            "architecture": 1,
            "metrics": [],
            "size_mb": "x",
            "licence": [],
            "sha256": {},
            "stage": None,
            "max_length": None,
        },
        {"architecture": {"layers": 3, "type": []}, "metrics": {"dev": {"accuracy": "x"}}},
    ],
)
def test_odd_facts_do_not_raise(server, odd):
    for benchmark in (1, {"rows": 1}, {"rows": [1, {"name": "x"}]}, {"rows": ROWS[:1]}):
        server.models = {"models": [described("fake*", **odd)], "benchmark": benchmark}
        open_page("models")


@pytest.mark.parametrize("answer", [{"models": 1}, {"models": [1]}, {"models": [{"name": 1, "labels": []}]}, {}])
@pytest.mark.parametrize("view", ["models", "compare"])
def test_an_odd_list_of_models_is_refused(server, view, answer):
    server.models = answer
    assert "不是本项目的 API" in shown_error(open_page(view))


def test_words_of_values():
    values = (None, 9000, 0.1, "bert", [{"heads": 2, "ffn": 64}, {"heads": 1, "ffn": 8}])
    assert [models.words(value) for value in values] == ["未知", "9,000", "0.1", "BERT", "2/64  1/8"]


# What the views share


def run_through(ask, titles, **models):
    """A run in which nothing is shown, to its end."""
    run = batch_run.BatchRun(ask, titles, models or {"m": LABELS})
    run._thread.join(20)
    assert not run._thread.is_alive()
    return run


def answer_to(texts):
    return {"elapsed_ms": 1.0, "predictions": [item(text, "fake*", 1) for text in texts]}


def refusal(status):
    return {"error": str(status), "status": status, "retry_after": 0}


@pytest.mark.parametrize("status", [413, 504])
def test_a_chunk_that_is_too_much_is_halved(status, monkeypatch):
    monkeypatch.setattr(batch_run, "WAITS", (0, 0, 0))
    sizes = []

    def ask(texts, model, top_k):
        sizes.append(len(texts))
        return refusal(status) if len(texts) > 30 else answer_to(texts)

    run = run_through(ask, [f"球{number}" if number % 3 else f"{number}" for number in range(230)])
    answers = run.answers["m"]
    assert answers.answered.all() and run.unanswered == 0 and not run.halted
    assert [answers.label(row) for row in range(4)] == ["科技", "体育", "体育", "科技"]
    assert sizes[:4] == [100, 50, 25, 25]


def test_titles_too_large_for_a_request_do_not_end_the_run():
    def ask(texts, model, top_k):
        return refusal(413) if any(len(text) > 10 for text in texts) else answer_to(texts)

    run = run_through(ask, ["球", *["大" * 11] * 5, "球"])
    assert run.answers["m"].answered.tolist() == [True, *[False] * 5, True]
    assert run.answers["m"].errors == dict.fromkeys(range(1, 6), "413") and not run.halted


def test_a_hanging_server_is_not_asked_for_ever(monkeypatch):
    monkeypatch.setattr(batch_run, "WAITS", (0, 0, 0))
    asked = []
    run = run_through(lambda texts, model, top_k: asked.append(len(texts)) or refusal(504), ["x"] * 10_000)
    assert run.halted == "504" and len(asked) < 10 and run.unanswered == 10_000


def test_each_model_is_asked_and_the_time_left_is_told():
    run = run_through(lambda texts, model, top_k: answer_to(texts), ["球"] * 3, a=LABELS, b=["别的"])
    assert (run.total, run.done, run.seconds_left) == (6, 6, 0)
    assert run.answers["b"].labels == ["别的", "体育"] and run.answers["b"].label(2) == "体育"


def test_a_run_that_nobody_looks_at_stops(monkeypatch):
    monkeypatch.setattr(batch_run, "UNWATCHED_SECONDS", -1)
    run = run_through(lambda texts, model, top_k: answer_to(texts), ["球"])
    assert "十分钟" in run.halted and run.unanswered == 1


def test_durations():
    assert [duration(seconds) for seconds in (0.4, 50, 200, 3900)] == ["0 秒", "50 秒", "3 分 20 秒", "1 小时 5 分"]


def test_lost_characters_are_counted_and_labels_cleaned(server):
    page = upload(open_page("batch"), "a.txt", "\n".join(["打球"] * 30).encode("gbk") + b"\n\xff\xff")
    assert any("1 条标题里有读不出的字" in warning.value for warning in page.warning)
    assert truth(Given(["甲", "乙", "丙"], ['"体育"', "ai 科技", "1"]), ["体育", "AI科技"]) == [
        "体育",
        "AI科技",
        "AI科技",
    ]
