"""Questions of any task: what cannot be answered is refused in words that fit all of them, not titles alone."""

import pytest

from core.serving.answers import HTTP_ERRORS, NOT_ANSWERED, ApiError
from core.serving.questions import Limits, TextQuestion

QUESTION = TextQuestion(lambda found, _: found, str)


@pytest.mark.parametrize(
    ("body", "code"),
    [({}, "text_missing"), ({"text": []}, "empty_list"), ({"text": ["a"] * 3}, "too_many_texts")],
)
def test_a_request_without_a_usable_list_of_texts(body: dict, code: str):
    with pytest.raises(ApiError) as refusal:
        QUESTION.read(body, Limits(max_chars=5, max_texts=2))
    assert refusal.value.code == code and "标题" not in refusal.value.message


def test_texts_that_cannot_be_answered():
    empty, long = QUESTION.read({"text": [" ", "六个字太长了"]}, Limits(max_chars=5, max_texts=2)).items
    assert (empty.code, long.code) == ("text_empty", "text_too_long")
    assert "标题" not in empty.message + long.message


def test_no_error_of_the_server_itself_speaks_of_titles():
    said = [*(error.message for error in NOT_ANSWERED.values()), *(message for _, message in HTTP_ERRORS.values())]
    assert "标题" not in "".join(said)
