"""The views of the other tasks, against the small HTTP server of the page's tests."""

import json

import pytest
from test_app import HOSTILE, FakeApi, charts, described, open_page, press, server  # noqa: F401 (fixture)

from page import served
from page.views import aspects, entities, questions

STATES = ["未提及", "负面", "中性", "正面"]
VIEWS = {"ner": "实体识别", "aspect_sentiment": "方面情感", "qa": "阅读理解"}
LABELS = {"ner": ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"], "aspect_sentiment": STATES, "qa": ["start", "end"]}


def found(text):
    """上海 is a place, wherever it stands; what is empty is refused."""
    if "坏" in text:
        return {"text": text, "error": "**坏**"}
    places = [place for place in range(len(text)) if text.startswith("上海", place)]
    return {
        "text": text,
        "entities": [
            {"text": "上海", "start": place, "end": place + 2, "label": "LOC", "confidence": 0.9} for place in places
        ],
    }


def judged(text):
    states = {"口味": "正面" if "鲜" in text else "未提及", "停车": "负面" if "停车" in text else "未提及"}
    own = [{"aspect": aspect, "state": state, "confidence": 0.8} for aspect, state in states.items()]
    return {"text": text, "aspects": own, "overall": {"state": "正面", "confidence": 0.7}}


def answered(question):
    passage = question["context"]
    place = {"start": passage.index("十七点"), "end": passage.index("十七点") + 3} if "十七点" in passage else {}
    span = {"answer": "十七点" if place else "", "start": None, "end": None, "confidence": 0.6, **place}
    return {**span, "top_k": [span, {**span, "answer": "九点", "confidence": 0.3}], "truncated": False}


@pytest.fixture
def task(request, server, monkeypatch):  # noqa: F811
    """The server with a model of a task, whose name it has."""

    def do_POST(handler):
        question = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        server.questions.append(question)
        if server.failing:
            return handler.reply(*server.failing.pop(0))
        about = {"status": 200, "model": "m", "elapsed_ms": 1.5}
        if request.param == "qa":
            return handler.reply(200, json.dumps({**about, **answered(question)}))
        answer = found if request.param == "ner" else judged
        return handler.reply(200, json.dumps({**about, "predictions": [answer(text) for text in question["text"]]}))

    monkeypatch.setattr(FakeApi, "do_POST", do_POST)
    server.models = {"models": [described("m", task=request.param) | {"labels": LABELS[request.param]}]}
    server.task = request.param
    return server


def html(page):
    return [element.proto.body for element in page.get("html")]


@pytest.mark.parametrize("task", VIEWS, indirect=True)
def test_the_views_are_those_of_the_models(task):
    page = open_page()
    assert page.title[0].value == VIEWS[task.task]
    assert not page.error and task.questions == []
    task.models = {"models": [described("fake*"), described("m", task=task.task)]}
    assert open_page().title[0].value == "新闻标题分类"


@pytest.mark.parametrize("task", VIEWS, indirect=True)
def test_faults_are_told(task):
    label = {"ner": "识别", "aspect_sentiment": "判断", "qa": "回答"}[task.task]
    for status, body, told in ((503, '{"error": "**忙**"}', r"\*\*忙\*\*"), (200, '{"a": 1}', "不是本项目的 API")):
        task.failing = [(status, body)]
        page = press(open_page(), label)
        [error] = page.main.error
        assert error.value.startswith("没有得到结果") and told in error.value
        assert not html(page) and not page.metric


@pytest.mark.parametrize("task", ["ner"], indirect=True)
def test_entities_are_marked_and_listed(task):
    page = open_page()
    page.text_area(key="entities_text").input("他去上海，😀上海\n\n坏\n没有")
    press(page, "识别")
    assert [asked["text"] for asked in task.questions] == [["他去上海，😀上海", "坏", "没有"]]
    legend, first, last = html(page)
    assert legend.count("<mark") == 2 and first.count("<mark") == 2 and "没有" in last
    assert [error.value for error in page.main.error] == [r"\*\*坏\*\*"]
    listed = page.dataframe[0].value
    assert json.loads(page.dataframe[0].proto.columns)["实体"]["width"] == "medium", "a long name is cut"
    assert listed["开始"].tolist() == [2, 6] and set(listed["类型"]) == {"LOC"}
    assert entities.types_of(["O", "B-PER", "I-PER", "B-LOC"]).keys() == {"LOC", "PER"}


@pytest.mark.parametrize("task", ["ner"], indirect=True)
def test_hostile_text_is_not_markup(task):
    page = open_page()
    page.text_area(key="entities_text").input(HOSTILE + "上海")
    press(page, "识别")
    shown = html(page)[1]
    assert "<script" not in shown and "<img" not in shown and "&lt;script&gt;" in shown


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (0, 9), (2, 2), (3, 1)])
def test_places_beyond_the_text_are_not_marked(start, end):
    good = served.Mark(0, 1, "#000000", "<b>")
    shown = served.marked("甲<乙", [good, served.Mark(start, end, "#111111")])
    assert shown.count("<mark") == 1 and "&lt;b&gt;" in shown and "&lt;乙" in shown


@pytest.mark.parametrize("task", ["aspect_sentiment"], indirect=True)
def test_one_review_and_many(task):
    page = press(open_page(), "判断")
    assert page.metric[0].value == "正面"
    assert (page.metric[1].label, page.metric[1].value) == ("占提到的方面", "70.0%")  # no confidence
    [bars] = charts(page)
    assert [(row["aspect"], row["state"]) for row in bars] == [("口味", "正面"), ("停车", "负面")]
    page.toggle(key="aspects_many").set_value(True)
    page.text_area(key="aspects_text").input("鲜\n停车难\n" * 30)
    press(page, "判断")
    assert [len(asked["text"]) for asked in task.questions[1:]] == [20, 20, 20]
    [cells] = charts(page)
    assert len(cells) == 2 * aspects.SHOWN
    assert {cell["shade"] for cell in cells if cell["state"] == "未提及"} == {0}
    totals, rows = (frame.value for frame in page.dataframe)
    assert totals.to_dict("records")[0] == {"方面": "口味", "未提及": 30, "负面": 0, "中性": 0, "正面": 30}
    assert rows["停车"].tolist() == ["未提及", "负面"] * 30


def test_states_of_usual_names_have_their_colours():
    scale = aspects.colours(["positive", "其他", "未提及", "别的"])
    assert scale.range[0] == aspects.PALETTE[2] and scale.range[2] == aspects.GREY
    assert len(set(scale.range)) == 4


@pytest.mark.parametrize("task", ["qa"], indirect=True)
def test_an_answer_is_marked_in_its_passage(task):
    page = press(open_page(), "回答")
    assert task.questions == [
        {"question": questions.QUESTION, "context": questions.PASSAGE, "model": "m", "top_k": questions.TOP}
    ]
    assert page.metric[0].value == "十七点" and page.metric[1].value == "60.0%"
    assert ">十七点</mark>" in html(page)[0]
    assert page.dataframe[0].value["答案"].tolist() == ["十七点", "九点"]
    page.text_area(key="qa_passage").input("什么也没写。")
    press(page, "回答")
    assert page.metric[0].value == "（文章里没有）" and "<mark" not in html(page)[0]


def test_titles_go_to_a_model_of_titles(server):  # noqa: F811
    server.models = {"models": [described("m", task="ner"), described("other")]}
    page = open_page("single")
    page.text_input(key="title").input("跑步")
    press(page, "预测")
    assert server.questions[0][1]["model"] == "other" and page.metric[0].value == "体育"


@pytest.mark.parametrize("task", ["ner", "aspect_sentiment"], indirect=True)
def test_a_table_to_take_along(task):
    page = open_page()
    if task.task == "ner":
        page.text_area(key="entities_text").input("=上海")
    else:
        page.toggle(key="aspects_many").set_value(True)
        page.text_area(key="aspects_text").input("=鲜\n停车")
    press(page, {"ner": "识别", "aspect_sentiment": "判断"}[task.task])
    [download] = page.get("download_button")
    assert download.proto.url
