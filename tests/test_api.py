"""The server's contract, its errors and its client, with a classifier that needs no weights."""

import contextlib
import csv
import errno
import functools
import gzip
import http.server
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from api_client import ApiClient
from conftest import LICENCE, ROOT
from fake_classifier import LABELS, FakeClassifier
from hypothesis import given, settings
from hypothesis import strategies as st

import api
import api_test
import tasks
from core.console import UserError, parse
from core.files import sha256
from core.model_files.finite import NotFinite
from core.serving import application, feedback, micro_batcher
from core.serving import server as http_server
from core.serving.sockets import listen
from core.text.tokenizer import SPECIAL_TOKENS
from predict_fun import TASK, NewsClassifier, Prediction

HOSTILE_BODIES = 300


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("NEWS_API_KEY", raising=False)


def make_client(**limits):
    return ApiClient(api.create_app({"fake": FakeClassifier()}, api.ApiConfig(**limits)))


@pytest.fixture
def client():
    return make_client()


def error_code(response, status):
    """The code of an error, once its shape is checked."""
    body = response.get_json()
    assert response.status_code == status
    assert response.content_type == "application/json; charset=utf-8"
    assert body.keys() == {"status", "code", "error"}
    assert body["status"] == status
    assert re.search("[\u4e00-\u9fff]", body["error"])
    return body["code"]


def test_single_text_gets_the_documented_answer(client):
    response = client.post("/predict", json={"text": "科技新闻"})
    body = response.get_json()
    assert response.status_code == 200
    assert body.pop("elapsed_ms") >= 0
    assert re.fullmatch("[0-9a-f]{12}", body.pop("request_id"))
    assert body == {
        "text": "科技新闻",
        "pred_class": "科技",
        "status": 200,
        "confidence": 0.7,
        "top_k": [
            {"pred_class": "科技", "confidence": 0.7},
            {"pred_class": "财经", "confidence": 0.15},
            {"pred_class": "体育", "confidence": 0.15},
        ],
        "model": "fake",
        "truncated": False,
    }


def test_answer_is_readable_chinese_in_declared_utf8(client):
    response = client.post("/predict", json={"text": "科技新闻"})
    assert "科技新闻".encode() in response.data
    assert response.content_type == "application/json; charset=utf-8"


def test_list_gets_predictions_in_order(client):
    body = client.post("/predict", json={"text": ["体育", "科技", "x" * 101], "top_k": 1, "model": "fake"}).get_json()
    assert body.keys() == {"status", "model", "predictions", "elapsed_ms", "request_id"}
    assert [item["pred_class"] for item in body["predictions"]] == ["体育", "科技", "财经"]
    assert [item["truncated"] for item in body["predictions"]] == [False, False, True]
    assert body["predictions"][0] == {
        "text": "体育",
        "pred_class": "体育",
        "confidence": 0.7,
        "top_k": [{"pred_class": "体育", "confidence": 0.7}],
        "truncated": False,
    }


def test_unusable_items_do_not_fail_their_neighbours():
    items = ["科技", "", "   ", 7, None, ["科技"], {"a": "\ud800"}, "长" * 21, "体育"]
    data = json.dumps({"text": items})
    response = make_client(max_chars=20).post("/predict", data=data, content_type="application/json")
    answers = response.get_json()["predictions"]
    assert [answer.get("pred_class") for answer in answers] == ["科技", *[None] * 7, "体育"]
    assert all(answer.keys() == {"text", "error"} for answer in answers[1:-1])
    assert [answer["text"] for answer in answers[1:-1]] == ["", "   ", None, None, None, None, "长" * 21]
    assert "21" in answers[-2]["error"]


def test_list_without_a_usable_item_is_answered(client):
    body = client.post("/predict", json={"text": ["", 1]}).get_json()
    assert body["status"] == 200
    assert all("error" in answer for answer in body["predictions"])


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (2, 2), (3, 3), (1000, 3), (10**18, 3)])
def test_top_k_is_clipped_to_the_classes(client, top_k, count):
    body = client.post("/predict", json={"text": "科技", "top_k": top_k}).get_json()
    assert [item["pred_class"] for item in body["top_k"]] == ["科技", "财经", "体育"][:count]


@pytest.mark.parametrize(("least", "unsure"), [(0, False), (0.7, False), (0.71, True), (1, True)])
def test_unsure_is_an_answer_with_the_class_beside_it(client, least, unsure):
    plain = client.post("/predict", json={"text": ["科技", "体育"]}).get_json()["predictions"]
    body = client.post("/predict", json={"text": ["科技", "", "体育"], "min_confidence": least}).get_json()
    assert body["predictions"][1].keys() == {"text", "error"}
    for answer, before in zip(body["predictions"][::2], plain, strict=True):
        says = {"pred_class": "不确定" if unsure else before["pred_class"], "unsure": unsure}
        assert answer == {**before, **says, "likely_class": before["pred_class"]}
    single = client.post("/predict", json={"text": "科技", "min_confidence": least}).get_json()
    assert (single["unsure"], single["likely_class"], single["confidence"]) == (unsure, "科技", 0.7)


@pytest.mark.parametrize("least", [-0.1, 1.1, 80, True, False, "0.8", [0.8], {}])
def test_wrong_min_confidence(client, least):
    response = client.post("/predict", json={"text": "科技", "min_confidence": least})
    assert error_code(response, 422) == "bad_min_confidence"


@pytest.mark.parametrize("top_k", [0, -1, True, 2.0, "2", False, [1], [None], {}])
def test_wrong_top_k(client, top_k):
    assert error_code(client.post("/predict", json={"text": "科技", "top_k": top_k}), 422) == "bad_top_k"


@pytest.mark.parametrize("model", ["teacher", "", 5, False, [None]])
def test_a_model_that_is_not_served(client, model):
    assert error_code(client.post("/predict", json={"text": "科技", "model": model}), 404) == "unknown_model"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "text_missing"),
        ({"texts": ["科技"]}, "text_missing"),
        ({"text": ""}, "text_empty"),
        ({"text": " \t\r\n\u3000"}, "text_empty"),
        ({"text": None}, "text_not_a_string"),
        ({"text": 5}, "text_not_a_string"),
        ({"text": {"a": 1}}, "text_not_a_string"),
        ({"text": []}, "empty_list"),
    ],
)
def test_unusable_text(client, body, code):
    assert error_code(client.post("/predict", json=body), 422) == code


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"text": "a"',
        b"text=a",
        b"null",
        b"[1]",
        b'"text"',
        b'{"text": NaN}',
        b'{"text": "a", "top_k": -Infinity}',
        b'{"text": "\xff\xfe"}',
        b'{"text": "\xed\xa0\x80"}',
        '{"text": "标题"}'.encode("gbk"),
        b"[" * 100_000,
        b'{"text": ' * 50_000,
        b'{"text": ' + b"9" * 5_000 + b"}",
    ],
)
def test_body_that_is_no_json_object(client, data):
    assert error_code(client.post("/predict", data=data, content_type="application/json"), 400) == "bad_json"


def test_body_may_start_with_a_byte_order_mark(client):
    response = client.post("/predict", data='{"text": "科技"}'.encode("utf-8-sig"), content_type="application/json")
    assert response.get_json()["pred_class"] == "科技"


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_wrong_content_type(client, content_type):
    response = client.post("/predict", data='{"text": "a"}', content_type=content_type)
    assert error_code(response, 415) == "unsupported_media_type"


def test_too_much():
    client = make_client(max_chars=10, max_texts=2, max_body_mb=0.001)
    assert client.post("/predict", json={"text": "a" * 10}).status_code == 200
    assert error_code(client.post("/predict", json={"text": "a" * 11}), 413) == "text_too_long"
    assert client.post("/predict", json={"text": ["a"] * 2}).status_code == 200
    assert error_code(client.post("/predict", json={"text": ["a"] * 3}), 413) == "too_many_texts"
    assert error_code(client.post("/predict", json={"text": "a" * 1100}), 413) == "body_too_large"


def test_a_text_of_100_000_characters_is_too_long_by_default(client):
    assert error_code(client.post("/predict", json={"text": "字" * 100_000}), 413) == "text_too_long"


@pytest.mark.parametrize("null", [("top_k",), ("min_confidence",), ("model",), ("top_k", "model"), ("other", "top_k")])
def test_what_is_null_is_as_good_as_absent(client, null):
    for text in ("科技", ["科技", "体育"]):
        answers = [
            client.post("/predict", json={"text": text, **more}).get_json() for more in ({}, dict.fromkeys(null))
        ]
        for answer in answers:
            assert answer.pop("request_id") and answer.pop("elapsed_ms") >= 0
        assert answers[0] == answers[1] and answers[0]["status"] == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP", "deflate, gzip", "x\x01y"])
def test_a_compressed_body_is_refused_by_its_name(client, encoding):
    body = gzip.compress(json.dumps({"text": "科技"}).encode())
    headers = {"Content-Encoding": encoding.replace("\x01", "")}
    response = client.post("/predict", data=body, content_type="application/json", headers=headers)
    assert error_code(response, 415) == "unsupported_encoding"
    assert headers["Content-Encoding"] in response.get_json()["error"]
    response = client.post("/predict", json={"text": "科技"}, headers={"Content-Encoding": "identity"})
    assert response.status_code == 200


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_model_that_is_not_finite(teacher, monkeypatch, value):
    """One title that it fails on is told and fails no neighbour; where it fails on all, /health says so."""
    classifier = NewsClassifier.load(teacher, "cpu")
    run = classifier.run
    bad = classifier.tokenizer.encode(["芯"]).input_ids[0][1]

    def spoilt(inputs):
        logits = run(inputs)
        logits[(inputs["input_ids"] == bad).any(1), 1] = value
        return logits

    classifier.run = spoilt
    client = ApiClient(api.create_app({"x": classifier}, api.ApiConfig()))
    assert error_code(client.post("/predict", json={"text": "芯"}), 500) == "not_finite"
    answers = client.post("/predict", json={"text": ["球", "芯", "银行"]}).get_json()["predictions"]
    assert ["error" in answer for answer in answers] == [False, True, False] and "有限" in answers[1]["error"]
    assert client.get("/health").status_code == 200
    classifier.run = lambda inputs: np.full_like(run(inputs), value)
    client = ApiClient(api.create_app({"x": classifier}, api.ApiConfig()))
    assert error_code(client.post("/predict", json={"text": "球"}), 500) == "not_finite"
    assert error_code(client.get("/health"), 503) == "not_finite"
    with pytest.raises(NotFinite, match="make the model again"):
        classifier.predict(["球"])


def test_a_benchmark_that_is_not_finite_is_passed_over(client, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("reports").mkdir()
    for number in ("NaN", "1e999", "[" * 100_000):
        Path("reports/benchmark.json").write_text('{"machine": 1, "threads": 2, "rows": [' + number + "]}")
        assert json.loads(client.get("/models").data)["benchmark"] is None


def test_a_benchmark_tells_known_fields_and_no_folder(client, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    row = {
        "name": "/home/me/x.onnx",
        "file": "C:\\\\me\\\\x.onnx",
        "accuracy": 0.5,
        "p50_ms": [1],
        "secret": "s",
        "runtime": {},
    }
    Path("reports").mkdir()
    Path("reports/benchmark.json").write_text(json.dumps({"machine": "m", "threads": 2, "rows": [row], "secret": 1}))
    assert client.get("/models").get_json()["benchmark"]["rows"] == [
        {"name": "x.onnx", "file": "x.onnx", "accuracy": 0.5}
    ]


def test_the_contract_and_the_front_page(client, monkeypatch):
    found = client.get("/openapi.json").get_json()
    assert found["openapi"].startswith("3.1") and set(found["paths"]) == {*client.app.routes} - {"/", "/openapi.json"}
    page = client.get("/")
    assert page.content_type.startswith("text/html") and "curl http://127.0.0.1:8004/predict" in page.text
    assert "<script" not in client.get("/", headers={"Host": "<script>"}).text
    monkeypatch.setenv("NEWS_API_KEY", "key")
    for path in ("/", "/openapi.json", "/ready"):  # say how to send the key
        assert make_client().get(path).status_code == 200
    assert make_client().get("/openapi.json").get_json()["security"] == [{"key": []}]


@pytest.fixture(scope="module")
def words_client(tmp_path_factory):
    """A server with a fake model that has a vocabulary of words."""
    model = FakeClassifier()
    vocab = [*SPECIAL_TOKENS, "[MASK]", "央行", "下调", *"央行下调存款", "a", "4", ".", "5", *"\u1112\u1161\u11ab"]
    model.facts = {**FakeClassifier.facts, "vocab": vocab}
    return ApiClient(api.create_app({"fake": model}, api.ApiConfig(max_chars=50)))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("央行 下调存款", ["央行", "下调", "存", "款"]),
        ("央行abC4.5%下", ["央行", "abC", "4.5%", "下"]),
        ("😀央行\n\u3000下", ["😀", "央行", "下"]),
        ("５ｂ", ["５", "ｂ"]),
        ("한한\u1112\u1161央", ["한", "한", "\u1112", "\u1161", "央"]),
    ],
)
def test_the_words_that_a_model_sees(words_client, text, pieces):
    found = words_client.post("/pieces", json={"text": text}).get_json()
    assert found["pieces"] == pieces and found["model"] == "fake"
    assert "".join(found["pieces"]) == "".join(found["text"].split())


def test_what_the_model_does_not_see_is_no_piece(words_client):
    assert words_client.post("/pieces", json={"text": "\ud800央\u200b"}).get_json()["pieces"] == ["央"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "text_missing"),
        ({"text": ["央行"]}, 422, "one_text"),
        ({"text": 7}, 422, "text_not_a_string"),
        ({"text": " "}, 422, "text_empty"),
        ({"text": "央" * 51}, 413, "text_too_long"),
        ({"text": "央", "model": "none"}, 404, "unknown_model"),
    ],
)
def test_what_is_not_cut_into_words(words_client, body, status, code):
    assert error_code(words_client.post("/pieces", json=body), status) == code


def test_ready_is_not_health(client):
    assert client.get("/ready").get_json() == {"status": 200, "ready": True}
    with contextlib.ExitStack() as full:
        for _ in range(client.app.settings.queue):
            full.enter_context(client.app.batcher.admit())
        assert error_code(client.get("/ready"), 503) == "busy"
        assert client.get("/health").status_code == 200
    client.app.close()
    assert error_code(client.get("/ready"), 503) == "stopping"


def test_lists_leave_half_of_the_places_to_titles():
    client = make_client(queue=4, batch_size=1)
    long = {"text": ["科技" * 1000] * 10}
    with client.app.batcher.admit(is_long=True), client.app.batcher.admit(is_long=True):
        assert error_code(client.post("/predict", json=long), 503) == "busy"
        assert client.post("/predict", json={"text": "科技"}).status_code == 200
    assert client.post("/predict", json=long).status_code == 200


def test_metrics_show_when_titles_change():
    fake = FakeClassifier()
    fake.facts = {**FakeClassifier.facts, "vocab": ["[UNK]", "科", "技", "##体", "a"]}
    client = ApiClient(api.create_app({"fake": fake}, api.ApiConfig()))
    client.post("/predict", json={"text": ["科技", "体A", "龘龘", "科龘"]})
    lines = client.get("/metrics").text.splitlines()
    for line in (
        'news_unknown_characters_bucket{le="0.0",model="fake"} 2.0',
        'news_unknown_characters_bucket{le="0.5",model="fake"} 3.0',
        'news_unknown_characters_sum{model="fake"} 1.5',
        'news_confidence_bucket{le="0.6",model="fake"} 0.0',
        'news_confidence_bucket{le="0.7",model="fake"} 4.0',
    ):
        assert line in lines


def test_feedback_is_kept_for_the_next_training(tmp_path, monkeypatch):
    file = tmp_path / "new" / "feedback.csv"
    client = make_client(feedback=file, host="127.0.0.1")
    told = client.get("/openapi.json").get_json()["paths"]["/feedback"]["post"]
    [example] = told["requestBody"]["content"]["application/json"]["examples"].values()
    assert client.post("/feedback", json=example["value"]).status_code == 200
    file.unlink()
    client.post("/predict", json={"text": '科技, "新"闻'})
    for body in ({"request_id": "0123456789ab", "label": "体育"}, {"text": "=1+1", "label": "财经"}):
        assert client.post("/feedback", json=body).status_code == 200
    with file.open(encoding="utf-8-sig", newline="") as rows:
        assert list(csv.reader(rows)) == [["text", "label"], ['科技, "新"闻', "体育"], ["'=1+1", "财经"]]
    for body, status, code in (
        ({"request_id": "ffffffffffff", "label": "体育"}, 404, "unknown_request"),
        ({"request_id": "no id", "label": "体育"}, 404, "unknown_request"),
        ({"text": "a", "label": "别的"}, 422, "unknown_label"),
        ({"text": " ", "label": "体育"}, 422, "text_missing"),
        ({"label": "体育"}, 422, "text_missing"),
        ({"text": "a" * 10_001, "label": "体育"}, 413, "text_too_long"),
    ):
        assert error_code(client.post("/feedback", json=body), status) == code
    assert error_code(make_client().post("/feedback", json={}), 404) == "not_found"
    with pytest.raises(UserError, match="NEWS_API_KEY"):
        api.ApiConfig(feedback=file)
    monkeypatch.setattr(feedback, "FILE_BYTES", 100)
    file.write_bytes(file.read_bytes().rstrip())  # killed in the middle of a row
    for number in range(12):
        assert client.post("/feedback", json={"text": f"第{number}条" + "a" * 30, "label": "体育"}).status_code == 200
    files = sorted(tmp_path.glob("new/feedback.csv*"))
    assert len(files) == 2 + feedback.OLDER_FILES and all(each.stat().st_size < 200 for each in files)  # with its lock
    assert "第11条" in file.read_text(encoding="utf-8-sig")


def test_an_open_server_without_a_key_is_told_of(monkeypatch, capsys):
    monkeypatch.setattr(api, "serve", lambda *_: None)
    for key, says in (("", "NEWS_API_KEY is empty"), (None, "NEWS_API_KEY is not set"), ("k", "")):
        monkeypatch.delenv("NEWS_API_KEY", raising=False)
        if key is not None:
            monkeypatch.setenv("NEWS_API_KEY", key)
        api.main([])
        assert says in capsys.readouterr().err
    monkeypatch.delenv("NEWS_API_KEY")
    api.main(["--host", "127.0.0.1"])
    assert not capsys.readouterr().err


def test_how_many_workers_and_threads(monkeypatch):
    monkeypatch.setattr(api, "usable_cores", lambda: 16)
    found = [
        api.ApiConfig(workers=workers, threads=threads)
        for workers, threads in ((1, None), ("auto", None), ("auto", 1), (8, None), (8, 3), ("auto", 99))
    ]
    assert [(each.processes, each.threads_a_model) for each in found] == [
        (1, 0),
        (4, 4),
        (16, 1),
        (8, 2),
        (8, 3),
        (1, 99),
    ]


def test_unknown_route_and_method(client):
    assert error_code(client.get("/nowhere"), 404) == "not_found"
    assert error_code(client.post("/predict/科技", json={}), 404) == "not_found"
    response = client.get("/predict")
    assert error_code(response, 405) == "method_not_allowed"
    assert "POST" in response.headers["Allow"]


@pytest.mark.parametrize("text", ["🎉🎉", "a\x00b", "\x00科技", "<b>科技</b>", "\u202e科技"])
def test_odd_text_is_classified_and_echoed_unchanged(client, text):
    assert client.post("/predict", json={"text": text}).get_json()["text"] == text


def test_lone_surrogates_become_replacement_characters(client):
    data = rb'{"text": ["\ud800\u79d1\u6280\udfff", "\ud83d\ude00"]}'
    body = json.loads(client.post("/predict", data=data, content_type="application/json").data.decode("utf-8"))
    assert [item["text"] for item in body["predictions"]] == ["\ufffd科技\ufffd", "😀"]
    assert body["predictions"][0]["pred_class"] == "科技"


def test_internal_error_hides_its_details_and_logs_them(client, caplog):
    response = client.post("/predict", json={"text": "故障"})
    assert error_code(response, 500) == "internal_error"
    body = response.text
    assert "secret" not in body and "Traceback" not in body and "/home" not in body
    request_id = re.search("[0-9a-f]{12}", body)[0]
    assert f"request {request_id} failed" in caplog.text
    assert "secret of /home/someone/weights.pt" in caplog.text


def test_a_text_that_fails_does_not_fail_its_neighbours(client, caplog):
    answers = client.post("/predict", json={"text": ["科技", "故障", "体育"]}).get_json()["predictions"]
    assert [answer.get("pred_class") for answer in answers] == ["科技", None, "体育"]
    assert answers[1].keys() == {"text", "error"} and "secret" not in answers[1]["error"]
    assert caplog.text.count("RuntimeError: secret") == 1


def test_several_models_side_by_side():
    student = FakeClassifier()
    student.predict = lambda texts: [Prediction(text, "科技", 1, 0.5, {"科技": 0.5}, False) for text in texts]
    client = ApiClient(api.create_app({"teacher": FakeClassifier(), "student": student}, api.ApiConfig()))
    for model, pred_class in ((None, "财经"), ("teacher", "财经"), ("student", "科技")):
        body = client.post("/predict", json={"text": "新闻"} | ({"model": model} if model else {})).get_json()
        assert (body["model"], body["pred_class"]) == (model or "teacher", pred_class)
    response = client.post("/predict", json={"text": "新闻", "model": "other"})
    assert error_code(response, 404) == "unknown_model"
    assert "teacher、student" in response.get_json()["error"]


def test_models_are_described_without_a_path(teacher, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    classifier = NewsClassifier.load(teacher, "cpu")
    client = ApiClient(api.create_app({"mine": classifier}, api.ApiConfig()))
    body = client.get("/models").get_json()
    assert body["default"] == "mine" and body["benchmark"] is None
    [model] = body["models"]
    assert (model["name"], model["stage"], model["labels"]) == ("mine", "teacher", classifier.labels)
    assert model["architecture"]["hidden_size"] == 32 and model["architecture"]["num_hidden_layers"] == 2
    shown = model["metrics"]["dev"]  # whatever numbers there are, the one that selected the model first
    assert next(iter(shown)) == "macro_f1" and {"accuracy", "loss", "n"} < shown.keys() and "per_class" not in shown
    assert model["task"] == "classification" and model["licence"] == LICENCE
    assert model["sha256"] == sha256(teacher)
    assert model["size_mb"] == round(teacher.stat().st_size / 1e6, 1)
    assert str(teacher.parent) not in client.get("/models").text
    assert "vocab" not in model
    for folder, threads in (("reports", 1), ("reports/benchmark", 2), ("results", 3), ("reports/damaged", None)):
        path = tmp_path / folder / "benchmark.json"
        path.parent.mkdir(parents=True)
        found = {"machine": "m", "threads": threads, "rows": [{"name": "soft", "p50_ms": 1.5}], "more": 1}
        path.write_text(json.dumps(found) if threads else "{", encoding="utf-8")
        os.utime(path, (threads or 4, threads or 4))
    benchmark = client.get("/models").get_json()["benchmark"]
    # Those of results/ come with the code, and are of other models.
    assert benchmark == {"machine": "m", "threads": 2, "rows": [{"name": "soft", "p50_ms": 1.5}]}


def test_metrics_count_what_was_asked(client):
    client.post("/predict", json={"text": ["科技", "科技", "体育", ""]})
    client.post("/predict", json={})
    client.get("/nowhere/at/all")
    response = client.get("/metrics")
    assert response.content_type.startswith("text/plain; version=0.0.4")
    lines = response.text.splitlines()
    for line in (
        'news_requests_total{route="/predict",status="200"} 1.0',
        'news_requests_total{route="/predict",status="422"} 1.0',
        'news_requests_total{route="unknown",status="404"} 1.0',
        'news_request_seconds_count{route="/predict"} 2.0',
        'news_batch_size_bucket{le="2.0"} 0.0',
        'news_batch_size_bucket{le="4.0"} 1.0',
        "news_batch_size_sum 3.0",
        'news_predictions_total{model="fake",pred_class="科技"} 2.0',
        'news_predictions_total{model="fake",pred_class="体育"} 1.0',
        "news_queue_depth 0.0",
    ):
        assert line in lines


def test_a_key_is_asked_for_where_there_is_one(monkeypatch):
    monkeypatch.setenv("NEWS_API_KEY", " 密key\n")
    client = make_client()
    assert client.get("/health").status_code == 200
    for method, path in (("GET", "/models"), ("GET", "/metrics"), ("POST", "/predict"), ("GET", "/nowhere")):
        for header in (None, "密key", "Bearer", "Bearer ", "Bearer 密ke", "Bearer 密keyy", "Basic 密key"):
            headers = {"Authorization": header.encode().decode("latin-1")} if header else {}
            response = client.open(path, method=method, headers=headers, json={"text": "科技"})
            assert error_code(response, 401) == "unauthorized"
            assert response.headers["WWW-Authenticate"] == "Bearer"
    headers = {"Authorization": "bearer 密key".encode().decode("latin-1")}
    assert client.post("/predict", json={"text": "科技"}, headers=headers).status_code == 200
    assert client.get("/metrics", headers=headers).status_code == 200


def test_other_origins_are_let_in_only_where_asked(monkeypatch):
    assert "Access-Control-Allow-Origin" not in make_client().post("/predict", json={"text": "科技"}).headers
    monkeypatch.setenv("NEWS_API_KEY", "key")
    client = make_client(cors="https://news.example.com")
    ask = {"Origin": "https://news.example.com", "Access-Control-Request-Method": "POST"}
    for response in (client.options("/predict", headers=ask), client.post("/predict", json={})):
        assert response.headers["Access-Control-Allow-Origin"] == "https://news.example.com"
        assert response.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
    assert client.options("/predict", headers=ask).status_code == 200


def test_too_slow_is_told(client):
    response = make_client(timeout=0.1).post("/predict", json={"text": "慢"})
    assert error_code(response, 504) == "timeout"


def test_a_full_queue_is_told_at_once():
    app = api.create_app({"fake": FakeClassifier()}, api.ApiConfig(batch_size=1, queue=1))
    with app.batcher.admit():
        response = ApiClient(app).post("/predict", data=b"not even read")
    assert error_code(response, 503) == "busy"
    assert response.headers["Retry-After"] == "1"
    assert ApiClient(app).post("/predict", json={"text": "科技"}).status_code == 200


@pytest.mark.parametrize("illness", ["hangs", "raises"])
def test_health_is_that_of_the_model(illness, monkeypatch, caplog):
    monkeypatch.setattr(application, "PROBE_SECONDS", 0.1)
    sick, behave = FakeClassifier(), {"hangs": lambda texts: time.sleep(0.4), "raises": lambda texts: 1 / 0}[illness]
    sick.predict = lambda texts: behave(texts)
    client = ApiClient(api.create_app({"fake": FakeClassifier(), "sick": sick}, api.ApiConfig()))
    response = client.get("/health")
    assert error_code(response, 503) == "not_ready"
    assert response.headers["Retry-After"] == "1"
    assert "model sick does not answer" in caplog.text
    behave = FakeClassifier().predict
    time.sleep(0.5)
    assert client.get("/health").status_code == 200
    behave = None  # nobody asks it again so soon
    assert client.get("/health").status_code == 200


def test_answers_are_those_of_the_predictor_whatever_shares_the_batch(teacher, data):
    """FP32: the same classes, and the same probabilities but for the order of the sums."""
    classifier = NewsClassifier.load(teacher, "cpu")
    texts = [line.split("\t")[0] for line in (data / "test.txt").read_text(encoding="utf-8").splitlines()]
    texts += ["好" * 300, "芯"]
    app = api.create_app({"teacher": classifier}, api.ApiConfig(batch_size=5))
    answers = {}

    def ask(text):
        answers[text] = ApiClient(app).post("/predict", json={"text": text}).get_json()

    threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for text, expected in zip(texts, classifier.predict(texts), strict=True):
        assert answers[text]["pred_class"] == expected.pred_class
        assert answers[text]["confidence"] == pytest.approx(expected.confidence, abs=1e-5)
        assert answers[text]["truncated"] == expected.truncated


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=30),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
QUESTIONS = st.fixed_dictionaries(
    {},
    optional={
        "text": JSON_VALUES,
        "top_k": JSON_VALUES | st.just(2),
        "min_confidence": JSON_VALUES,
        "model": JSON_VALUES | st.just("fake"),
    },
)
BODIES = st.binary(max_size=200) | st.builds(lambda value: json.dumps(value).encode(), JSON_VALUES | QUESTIONS)
CONTENT_TYPES = st.sampled_from(["application/json"] * 8 + ["application/json; charset=gbk", "text/plain", "", None])
hostile_client = functools.cache(lambda: make_client(max_chars=20, max_texts=4, max_body_mb=0.001))


@settings(max_examples=HOSTILE_BODIES, deadline=None, database=None, derandomize=True)
@given(BODIES, CONTENT_TYPES)
def test_any_body_gets_a_proper_answer(data, content_type):
    response = hostile_client().post("/predict", data=data, content_type=content_type)
    body = json.loads(response.data.decode("utf-8"))
    assert response.status_code in {200, 400, 404, 413, 415, 422}
    assert body["status"] == response.status_code
    if response.status_code == 200:
        assert {"pred_class", "predictions"} & body.keys()
    else:
        assert error_code(response, response.status_code)


def test_health(client):
    response = client.get("/health")
    assert response.status_code == 200
    assert response.get_json() == {"status": 200, "model": "fake", "labels": LABELS}


def test_one_log_line_a_request_without_its_text(client, caplog):
    caplog.set_level("INFO", logger="core.serving.application")
    request_id = client.post("/predict", json={"text": "科技秘密"}).get_json()["request_id"]
    client.get("/秘密%0Aforged")
    first, second = [record.getMessage() for record in caplog.records]
    assert re.fullmatch(rf"POST '/predict' 200 [\d.]+ ms {request_id}", first)
    assert re.fullmatch(r"GET '/%E7%A7%98%E5%AF%86%0Aforged' 404 [\d.]+ ms [0-9a-f]{12}", second)


def test_api_imports_neither_torch_nor_transformers():
    code = "import sys, api; print(sorted({'torch', 'transformers'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[]"


def test_port_in_use(monkeypatch):
    use_fake(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match="port .* is taken .*--port"):
        api.main(["--host", "127.0.0.1", "--port", str(taken.getsockname()[1])])


@pytest.mark.parametrize("host", ["nosuchhost.invalid", "192.0.2.7", "2001:db8::7", "a..b", "x" * 300, "1.2.3", "a b"])
def test_a_host_that_is_not_of_this_machine(monkeypatch, host):
    use_fake(monkeypatch)
    with pytest.raises(UserError, match=f"--host {re.escape(host)} cannot be used, .*: give 0.0.0.0") as refusal:
        api.main(["--host", host, "--port", "0"])
    assert "--port" not in str(refusal.value)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EACCES, "not allowed .*above 1023"),
        (errno.EADDRINUSE, "is taken"),
        (errno.EAFNOSUPPORT, "--host ::1 cannot"),
    ],
)
def test_why_there_is_no_listening(monkeypatch, number, says):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "create_server", fail)
    with pytest.raises(UserError, match=says):
        listen("::1", 80)


@pytest.mark.parametrize("port", ["-1", "70000"])
def test_impossible_port(port):
    with pytest.raises(UserError, match="--port"):
        api.main(["--port", port])


def test_models_are_named(monkeypatch, tmp_path):
    use_fake(monkeypatch)
    odd = tmp_path / "a=b.onnx"
    odd.touch()
    assert list(api.load_models([])) == ["fake"]
    assert list(api.load_models(["teacher", "student=x.onnx", f"学生={odd}"])) == ["teacher", "student", "学生"]
    assert list(api.load_models(["soft", "soft_bert", str(odd)])) == ["soft", "soft_bert", "a=b"]
    with pytest.raises(UserError, match="two models are called soft: .*--model NAME=soft"):
        api.load_models(["soft", "teacher", "soft"])
    with pytest.raises(UserError, match="two models are called a"):
        api.load_models(["a=x.pt", "a=y.pt"])


def test_a_missing_model_is_one_sentence():
    with pytest.raises(UserError, match="there is no model nowhere.pt"):
        api.main(["--model", "nowhere.pt"])


@pytest.mark.parametrize(
    "flags",
    [
        ["--batch-size", "0"],
        ["--queue", "31"],
        ["--queue", "1001"],
        ["--workers", "0"],
        ["--threads", "0"],
        ["--timeout", "0"],
        ["--max-texts", "0"],
    ]
    + [["--max-body-mb", "0"], ["--cors", "news.example.com"]],
)
def test_impossible_limits(flags):
    with pytest.raises(UserError, match=flags[0]):
        api.main(flags)


def test_the_systemd_unit_starts_the_server_with_flags_that_it_has():
    unit = (ROOT / "deploy" / "news-api.service").read_text(encoding="utf-8")
    [command] = re.findall("^ExecStart=.*/python (.*)$", unit, re.MULTILINE)
    script, *flags = command.split()
    assert (ROOT / script).is_file()
    assert parse(api.ApiConfig, flags, None).host == "127.0.0.1"
    [seconds] = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    ending = http_server.SETTLE_SECONDS + http_server.GRACE_SECONDS + http_server.FLUSH_SECONDS
    assert ending + micro_batcher.LAST_BATCH_SECONDS < 10 < int(seconds)


def use_fake(monkeypatch):
    monkeypatch.setattr(api, "find_model", lambda model, models: Path(model or "fake.pt"))
    monkeypatch.setattr(tasks, "load", lambda path, **options: (TASK, FakeClassifier()))


SERVER = """
import sys
from pathlib import Path

sys.path.append("tests")
import api
import tasks
from core.console import run
from fake_classifier import FakeClassifier
from predict_fun import TASK

api.find_model = lambda model, models: Path(model or "fake.pt")
tasks.load = lambda path, **options: (TASK, FakeClassifier())
run(lambda: api.main(["--host", "127.0.0.1", "--port", "0", "--max-body-mb", "0.1"]))
"""


@pytest.fixture(scope="module")
def server():
    """A real server in a process of its own: the process and the address it printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    lines = queue.Queue()
    threading.Thread(target=lambda: lines.put(process.stdout.readline()), daemon=True).start()
    try:
        line = lines.get(timeout=60)
        assert re.fullmatch(r"Running on http://127\.0\.0\.1:\d+\n", line)
        yield process, line.split()[-1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_client_against_a_real_server(server, capsys, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NEWS_API_URL", server[1] + "/")
    api_test.main(["--text", "体育新闻"])
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "体育  70.0%"
    assert json.loads("\n".join(rest))["text"] == "体育新闻"


def test_client_tells_the_servers_error(server):
    with pytest.raises(SystemExit, match="422.*文字是空的"):
        api_test.main(["--text", " ", "--url", server[1]])
    with pytest.raises(SystemExit, match="500.*编号"):
        api_test.main(["--text", "故障", "--url", server[1]])
    with pytest.raises(SystemExit, match="413.*请求体太大"):
        api_test.main(["--text", "字" * 200_000, "--url", server[1]])


def test_client_without_a_server():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(SystemExit, match=re.escape("python api.py")):
        api_test.main(["--url", url])


def test_client_with_a_silent_server():
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(SystemExit, match="--timeout"):
        api_test.main(["--url", f"http://127.0.0.1:{silent.getsockname()[1]}", "--timeout", "0.2"])


@pytest.mark.parametrize("url", ["127.0.0.1:8004", "ftp://127.0.0.1", "http://[::1", "http://127.0.0.1:99999"])
def test_client_with_a_wrong_address(url):
    with pytest.raises(SystemExit, match="not the address of this API"):
        api_test.main(["--url", url])


@pytest.fixture
def proxy(monkeypatch):
    """A proxy named in the environment, which answers with 502 and a page of its own: its address."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(502)
            self.end_headers()
            self.wfile.write(b"<html>no such host</html>")

        log_message = lambda *_: None  # noqa: E731

    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{found.server_port}")
        yield f"127.0.0.1:{found.server_port}"
        found.shutdown()


def test_the_client_names_a_proxy_that_stands_in_the_way(proxy, monkeypatch):
    url = "http://192.0.2.20:8004"
    with pytest.raises(
        SystemExit, match=f"the proxy {proxy} answered for {url}, .*: set .*no_proxy=192.0.2.20"
    ) as told:
        api_test.main(["--url", url])
    assert "secret" not in str(told.value)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(
        SystemExit, match=f"the proxy 127.0.0.1:9 cannot be reached, or cannot reach {url}: set .*no_proxy"
    ):
        api_test.main(["--url", url])
    monkeypatch.setenv("no_proxy", "192.0.2.20")
    assert api_test.proxy_of(url) == "" == api_test.proxy_of("http://localhost:8004")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.delenv("no_proxy")
        with pytest.raises(SystemExit, match=f"0.2 s by way of the proxy {api_test.proxy_of(url)}: .*--timeout"):
            api_test.main(["--url", url, "--timeout", "0.2"])


def test_the_client_stands_alone(tmp_path):
    """People copy it: it needs requests and nothing of this project."""
    shutil.copy(ROOT / "api_test.py", tmp_path)
    command = [sys.executable, "-X", "utf8", "api_test.py", "--url", "http://127.0.0.1:9", "--timeout", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert done.returncode == 1 and re.fullmatch("error: no server at .*\n", done.stderr)


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without asking it")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_server_stops_cleanly(ending):
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )
    assert process.stdout.readline().startswith("Running on")
    process.send_signal(ending)
    _output, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in errors
