"""The models that the API serves, by task, as this visit knows them; a text with places marked in it."""

from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import streamlit as st

from page.client import STATUS_SECONDS, Api

CHUNK = 20  # long texts in a request
TITLES, ENTITIES, ASPECTS, QUESTIONS = "classification", "ner", "aspect_sentiment", "qa"


class Mark(NamedTuple):
    """A place in a text, from `start` to before `end`, with a colour and what stands behind it."""

    start: int
    end: int
    colour: str
    label: str = ""


class Served(NamedTuple):
    """What is known of an API: its models, and by whose health; of one that cannot be reached what was known before."""

    api: Api
    models: list[dict[str, Any]]
    health: dict[str, Any]


def look(api: Api) -> list[dict[str, Any]]:
    """The models at an address; asked for again only when another answers there, or it is another address."""
    known: Served | None = st.session_state.get("served")
    if known is None or known.api != api:
        known = st.session_state.served = _ask(api, [], {})
    return known.models


def has_changed(health: dict[str, Any]) -> bool:
    """Note how the API is; whether its models or its troubles are other ones than the page was made for."""
    known: Served = st.session_state.served
    if all(known.health.get(name) == health.get(name) for name in ("model", "error")):
        return False
    st.session_state.served = _ask(known.api, known.models, health)
    return True


def trouble() -> str:
    """Why the API could not be reached, "" where it could."""
    return st.session_state.served.health.get("error", "")


def _ask(api: Api, known: list[dict[str, Any]], health: dict[str, Any]) -> Served:
    health = health or api.health()
    answer = {} if "error" in health else api.models(STATUS_SECONDS)
    return Served(api, answer.get("models", known), health)


def task_of(model: dict[str, Any]) -> str:
    """The task of a model; of one that names none, titles."""
    return str(model.get("task") or TITLES)


def models_of(task: str) -> dict[str, dict[str, Any]]:
    """{name: what the API says of it} of the served models of a task, in the API's order."""
    return {model["name"]: model for model in look(st.session_state.api) if task_of(model) == task}


def model_for_titles() -> str | None:
    """The model to ask about titles where the visitor chooses none; None: the API's default one."""
    models = look(st.session_state.api)
    titles = list(models_of(TITLES))
    return None if not titles or task_of(models[0]) == TITLES else titles[0]


def choose_model(task: str) -> dict[str, Any] | None:
    """The model to ask: the only one of a task, or the visitor's choice; None: there is none, which is said."""
    models = models_of(task)
    if not models:
        st.error("API 现在没有这项任务的模型：请先启动 API，再刷新页面。")
        return None
    [name] = models if len(models) == 1 else [st.selectbox("模型", list(models), key=f"{task}_model")]
    return models[name]


def ask_many(texts: Sequence[str], model: str, shape: dict[str, Any]) -> list[dict[str, Any]] | str:
    """The answer of a model to each text, or why there is none; says how far it is.

    Args:
        texts: what is asked.
        model: a name.
        shape: of an answer, as `fits` takes it.
    """
    found: list[dict[str, Any]] = []
    bar = st.progress(0.0)
    for start in range(0, len(texts), CHUNK):
        question = {"text": list(texts[start : start + CHUNK]), "model": model}
        answer = st.session_state.api.ask_list(question, shape)
        if "error" in answer:
            bar.empty()
            return answer["error"]
        found += answer["predictions"]
        bar.progress(len(found) / len(texts), f"{len(found):,} / {len(texts):,}")
    bar.empty()
    return found


def marked(text: str, marks: Sequence[Mark]) -> str:
    """HTML of a text whose places are marked; those beyond the text, or within another, are left out."""
    parts, done = [], 0
    for start, end, colour, label in sorted(marks):
        if not done <= start < end <= len(text):
            continue
        note = f'<span style="font-size:.7em;opacity:.75;margin-left:.3em">{escape(label)}</span>' if label else ""
        style = f"background:{colour}40;border-bottom:2px solid {colour};border-radius:3px;padding:1px 3px"
        parts += [
            escape(text[done:start]),
            f'<mark style="{style};color:inherit">{escape(text[start:end])}{note}</mark>',
        ]
        done = end
    body = "".join([*parts, escape(text[done:])])
    return f'<div style="white-space:pre-wrap;overflow-wrap:anywhere;line-height:2">{body}</div>'
