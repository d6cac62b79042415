"""What the server says of the tasks that it serves: the front page, the contract, and requests for the wrong model."""

import csv
import html
import json
import re
import shlex
from pathlib import Path

import pytest
from api_client import ApiClient
from fake_classifier import FakeClassifier

import api
import tasks

SPAN = {"answer": "", "start": None, "end": None, "confidence": 0.5}
ANSWERS = {
    "ner": [],
    "aspect_sentiment": {"aspects": [], "overall": {"state": "好", "confidence": 0.5}},
    "qa": {**SPAN, "top_k": [SPAN], "truncated": False},
}
CALLED = {"classification": "新闻标题分类", "ner": "实体识别", "aspect_sentiment": "方面情感", "qa": "阅读理解"}
KEYS = {"classification": "pred_class", "ner": "entities", "aspect_sentiment": "aspects", "qa": "answer"}


class FakeOf(FakeClassifier):
    """A model of a task that needs no weights."""

    def __init__(self, task: str) -> None:
        self.facts = {**FakeClassifier.facts, "task": task}

    def predict_one(self, item):
        return ANSWERS[self.facts["task"]] if self.facts["task"] in ANSWERS else super().predict_one(item)


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEWS_API_KEY", raising=False)


def serve(*served: str) -> ApiClient:
    """A server of a model of each of some tasks, called as the task is, the default one first."""
    return ApiClient(api.create_app({task: FakeOf(task) for task in served}, api.ApiConfig()))


def orders() -> list[list[str]]:
    """Each task alone, and all of them, each of them first."""
    known = list(tasks.TASKS)
    return [*([task] for task in known), *([task, *(each for each in known if each != task)] for task in known)]


def shown_on_the_page(client: ApiClient) -> list[dict]:
    """The bodies of the command lines of the front page."""
    lines = re.findall("<pre[^>]*>(.*?)</pre>", client.get("/").text, re.DOTALL)
    return [json.loads(shlex.split(html.unescape(line))[-1]) for line in lines]


def shown_in_the_contract(client: ApiClient) -> list[dict]:
    """The examples of a request in openapi.json."""
    asked = client.get("/openapi.json").get_json()["paths"]["/predict"]["post"]["requestBody"]
    return [example["value"] for example in asked["content"]["application/json"]["examples"].values()]


@pytest.mark.parametrize("served", orders(), ids="-".join)
@pytest.mark.parametrize("shown", [shown_on_the_page, shown_in_the_contract])
def test_what_is_shown_works_as_it_stands(served, shown):
    client = serve(*served)
    answers = [client.post("/predict", json=body) for body in shown(client)]
    assert [answer.status_code for answer in answers] == [200] * len(served)
    assert [answer.get_json()["model"] for answer in answers] == served
    assert all(KEYS[task] in answer.get_json() for task, answer in zip(served, answers, strict=True))


@pytest.mark.parametrize("served", orders(), ids="-".join)
def test_what_is_served_is_named_and_nothing_else(served):
    client = serve(*served)
    contract = client.get("/openapi.json")
    assert contract.get_json()["info"]["title"] == "、".join(CALLED[task] for task in served) + " API"
    for text in (client.get("/").text, contract.text):
        assert [called in text for called in CALLED.values()] == [task in served for task in CALLED]
        assert ("标题" in text) == ("classification" in served)


@pytest.mark.parametrize("served", orders(), ids="-".join)
def test_the_contract_says_which_keys_go_with_which_model(served):
    found = serve(*served).get("/openapi.json").get_json()
    asked = found["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    assert [each["properties"]["model"]["enum"] for each in asked] == [[task] for task in served]
    assert ["model" in each["required"] for each in asked] == [False] + [True] * (len(served) - 1)
    items = found["components"]["schemas"]["Item"]["anyOf"]
    assert all(KEYS[task] in item["properties"] for task, item in zip(served, items, strict=True))


OPTIONS = {"classification": {"top_k", "min_confidence"}, "ner": set(), "aspect_sentiment": set(), "qa": {"top_k"}}


@pytest.mark.parametrize("served", orders(), ids="-".join)
@pytest.mark.parametrize(("key", "good", "bad"), [("top_k", 1, 0), ("min_confidence", 0.5, "高")])
def test_an_option_counts_or_is_refused(served, key, good, bad):
    client = serve(*served)
    contract = client.get("/openapi.json").get_json()["paths"]["/predict"]["post"]["requestBody"]["content"]
    for task, asked, body in zip(
        served, contract["application/json"]["schema"]["anyOf"], shown_in_the_contract(client), strict=True
    ):
        several = {name: value if name == "model" else [value] for name, value in body.items()}
        for each in (body, several):
            has = key in OPTIONS[task]
            assert (key in asked["properties"]) == has
            assert client.post("/predict", json={**each, key: good}).status_code == (200 if has else 422)
            told = client.post("/predict", json={**each, key: bad}).get_json()
            assert (told["status"], told["code"]) == (422, f"bad_{key}")
            assert has or told["error"] == f"模型 {task}（{CALLED[task]}）没有 {key} 这个选项：请去掉它"
            for more in ({key: None}, {"unheard_of": bad}):
                assert client.post("/predict", json={**each, **more}).status_code == 200


@pytest.mark.parametrize("chosen", [{}, {"model": "classification"}])
def test_a_question_for_the_titles_is_told_the_model_to_name(chosen):
    client = serve("classification", "ner", "qa")
    for asked in ({"question": "几点？"}, {"question": "几点？", "context": "八点。", "text": None}):
        body = client.post("/predict", json={**asked, **chosen}).get_json()
        assert (body["status"], body["code"]) == (422, "other_model")
        assert body["error"].endswith('：请写 "model": "qa"（阅读理解）')
    found = client.post("/predict", json={"question": "几点？", "context": "八点。", "model": "qa"})
    assert found.status_code == 200


def test_a_text_for_the_questions_is_told_all_models_that_read_one():
    body = serve("qa", "classification", "ner").post("/predict", json={"text": "科技新闻"}).get_json()
    assert body["error"] == (
        "模型 qa（阅读理解）要的是 question、context，收到的是 text："
        '请写 "model": "classification"（新闻标题分类）或 "ner"（实体识别）'
    )


def test_what_is_no_json_is_answered_with_an_example_that_works():
    client = serve("qa")
    told = client.post("/predict", data="{", content_type="application/json").get_json()
    assert told["code"] == "bad_json"
    assert client.post("/predict", json=json.loads(told["error"].partition("例如 ")[2])).status_code == 200
    missing = client.post("/predict", json={"question": "几点？"}).get_json()
    assert client.post("/predict", json=json.loads(missing["error"].partition("请发送 ")[2])).status_code == 200


def serve_feedback(file: Path, *served: str, **labels: list[str]) -> ApiClient:
    """A server that takes feedback; the labels of a model may be given."""
    models = {name: FakeOf(name if name in CALLED else "classification") for name in (*served, *labels)}
    for name, own in labels.items():
        models[name].labels = own
    return ApiClient(api.create_app(models, api.ApiConfig(feedback=file, host="127.0.0.1")))


def kept(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8-sig", newline="") as rows:
        return list(csv.reader(rows))[1:]


@pytest.mark.parametrize("served", orders(), ids="-".join)
def test_feedback_is_for_models_that_learn_from_it(served, tmp_path):
    client = serve_feedback(tmp_path / "f.csv", *served)
    labels, takes = FakeClassifier.labels, "classification" in served
    for task, body in zip(served, shown_in_the_contract(client), strict=True):
        client.post("/predict", json=body)
        asked = [{"request_id": "0123456789ab"}, {"text": "科技", "model": task}]
        if task == served[0]:
            asked.append({"text": "科技"})
        for each in asked:
            told = client.post("/feedback", json={**each, "label": labels[0]}).get_json()
            assert told["status"] == (200 if task == "classification" else 422)
            if task != "classification":
                assert told["code"] == "no_feedback" and f"模型 {task}（{CALLED[task]}）不收反馈" in told["error"]
                assert ('请写 "model": "classification"' in told["error"]) == takes
    assert len(kept(tmp_path / "f.csv")) == takes * (2 + (served[0] == "classification"))
    contract = client.get("/openapi.json").get_json()["paths"]
    assert ("/feedback" in contract) == takes
    if takes:
        content = contract["/feedback"]["post"]["requestBody"]["content"]["application/json"]
        assert content["schema"]["properties"]["model"]["enum"] == ["classification"]
        [example] = content["examples"].values()
        assert client.post("/feedback", json=example["value"]).status_code == 200


def test_a_label_is_one_of_the_model_that_is_meant(tmp_path):
    client = serve_feedback(tmp_path / "f.csv", first=["体育"], second=["好评"])
    own, others = {"first": "体育", "second": "好评"}, {"first": "好评", "second": "体育"}
    for name in own:
        client.post("/predict", json={"text": "科技", "model": name})
        asked = [{"request_id": "0123456789ab"}, {"text": "科技", "model": name}]
        asked += [{"text": "科技", "request_id": "0123456789ab"}]
        for each in asked:
            assert client.post("/feedback", json={**each, "label": own[name]}).status_code == 200
            told = client.post("/feedback", json={**each, "label": others[name]}).get_json()
            assert told["code"] == "unknown_label" and own[name] in told["error"] and others[name] not in told["error"]
    meant = {"request_id": "0123456789ab", "model": "first"}  # although the second one answered
    assert client.post("/feedback", json={**meant, "label": "体育"}).status_code == 200
    for body, code in (
        ({"text": "科技", "label": "好评"}, "unknown_label"),  # of the default one
        ({"text": "科技", "label": "体育", "model": "third"}, "unknown_model"),
        ({"text": "科技", "label": "体育", "model": 3}, "unknown_model"),
        ({"request_id": ["a"], "label": "体育"}, "text_missing"),
    ):
        assert client.post("/feedback", json=body).get_json()["code"] == code
    assert kept(tmp_path / "f.csv") == [["科技", "体育"]] * 3 + [["科技", "好评"]] * 3 + [["科技", "体育"]]
