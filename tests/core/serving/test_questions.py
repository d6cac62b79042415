"""Questions of any task: what cannot be answered is refused in words that fit all of them, not titles alone."""

import pytest

from core.serving.answers import HTTP_ERRORS, NOT_ANSWERED, ApiError
from core.serving.questions import Limits, TextQuestion, check_keys, examples

QUESTION = TextQuestion("文字", lambda found, _: found, str)


@pytest.mark.parametrize(
    ("body", "code"),
    [({"text": []}, "empty_list"), ({"text": ["a"] * 3}, "too_many_texts")],
)
def test_a_request_without_a_usable_list_of_texts(body: dict, code: str):
    with pytest.raises(ApiError) as refusal:
        QUESTION.read(body, Limits(max_chars=5, max_texts=2))
    assert refusal.value.code == code and "标题" not in refusal.value.message


class Pairs(TextQuestion):
    """A task whose requests have a text and another key."""

    @property
    def example(self) -> dict:
        return {"text": "一段文字", "other": "另一段"}


@pytest.mark.parametrize(
    ("body", "name", "code", "told"),
    [
        ({}, "texts", "text_missing", '缺少 text：请发送 {"text": "一段文字"}'),
        ({"other": "a"}, "texts", "other_model", '收到的是 other：请写 "model": "a\\"b"（成对）'),
        ({"text": None, "other": "a"}, "texts", "other_model", '"model": "a\\"b"'),
        ({"text": "a", "model": 'a"b'}, 'a"b', "other_model", '收到的是 text：请写 "model": "texts"（文字）'),
        ({"other": "a", "model": 'a"b'}, 'a"b', "text_missing", '"other": "另一段", "model": "a\\"b"}'),
    ],
)
def test_a_request_that_lacks_a_key(body: dict, name: str, code: str, told: str):
    questions = {"texts": QUESTION, 'a"b': Pairs("成对", lambda found, _: found, str)}
    with pytest.raises(ApiError) as refusal:
        check_keys(body, name, questions)
    assert refusal.value.code == code and told in refusal.value.message
    for each, example in examples(questions).items():
        check_keys(example, each, questions)


def test_texts_that_cannot_be_answered():
    empty, long = QUESTION.read({"text": [" ", "六个字太长了"]}, Limits(max_chars=5, max_texts=2)).items
    assert (empty.code, long.code) == ("text_empty", "text_too_long")
    assert "标题" not in empty.message + long.message


def test_no_error_of_the_server_itself_speaks_of_titles():
    said = [*(error.message for error in NOT_ANSWERED.values()), *(message for _, message in HTTP_ERRORS.values())]
    assert "标题" not in "".join(said)
