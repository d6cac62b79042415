"""What each fact of a model file has to be; of a stranger's file nothing is believed."""

import json
from collections.abc import Callable
from typing import Any
from unicodedata import category

from core.text.tokenizer import HEAD_SHARES, SPECIAL_TOKENS

LONGEST_NAME = 200
DEEPEST = 20  # levels of lists and dicts in each other
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode's categories of what is not seen, or moves what is
JOINERS = "\u200c\u200d"  # unseen, but part of words and emoji


def wrong_kind(facts: dict[str, Any]) -> str:
    """What of some facts is not what it should be, in words; "" where all are."""
    for name, (is_one, what) in KINDS.items():
        if name in facts and not is_one(facts[name]):
            return f"{name} is not {what}"
    return ""


def misfit(facts: dict[str, Any]) -> str:
    """What of some facts, each of its kind, contradicts another one; "" where nothing does."""
    architecture = facts["architecture"]
    bert = architecture.get("bert_config", {})
    outputs, labels, tokens = architecture["num_labels"], len(facts["labels"]), len(facts["vocab"])
    rows = architecture.get("vocab_size", bert.get("vocab_size", tokens))
    positions = bert.get("max_position_embeddings", facts["max_length"])
    if not _is_plain({name: value for name, value in facts.items() if name != "vocab"}):
        return "not all of them are plain values"
    if outputs != labels:
        return f"{outputs} outputs, {labels} labels"
    if not _is_count(rows) or rows < tokens:
        return "its vocabulary has more tokens than its model"
    if not _is_count(positions) or positions < facts["max_length"]:
        return "max_length is more than its model has positions"
    return ""


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_temperature(value: Any) -> bool:
    return type(value) in (int, float) and 0.001 <= value <= 1000


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_NAME and _can_be_shown(value)


def _can_be_shown(text: str) -> bool:
    """Whether there is something to see in a text, and nothing that hides or moves it."""
    unseen = {character for character in text if category(character) in UNSEEN}
    return unseen <= set(JOINERS) and any(not each.isspace() for each in set(text) - unseen)


def _different(value: Any) -> set[str]:
    """The strings of a list of them; none where it is no such list, or has one of them twice."""
    try:
        if isinstance(value, list) and "".join(value).encode():  # which lone surrogates fail
            found = set(value)
            return found if len(found) == len(value) else set()
    except (TypeError, UnicodeEncodeError):
        pass
    return set()


def _is_architecture(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_name(value.get("type"))
        and _is_count(value.get("num_labels"))
        and isinstance(value.get("bert_config", {}), dict)
        and isinstance(value.get("quantization", ""), str)
        and _is_json(value)
    )


def _is_json(value: Any) -> bool:
    """Whether JSON can hold a value, which knows no NaN."""
    try:
        return bool(json.dumps(value, allow_nan=False))
    except (ValueError, TypeError, RecursionError):
        return False


def _are_metrics(value: Any) -> bool:
    return isinstance(value, dict) and all(each is None or isinstance(each, dict) for each in value.values())


def _is_plain(value: Any, levels: int = DEEPEST) -> bool:
    """Whether a value is made of words, numbers, lists and dicts alone, not too deep in each other."""
    if isinstance(value, dict):
        named = set(map(type, value)) <= {str}
        return levels > 0 and named and all(_is_plain(each, levels - 1) for each in value.values())
    if isinstance(value, list | tuple):
        return levels > 0 and all(_is_plain(each, levels - 1) for each in value)
    return value is None or type(value) in (str, int, bool, float)


def _or_none(is_one: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_one(value)


A_NAME = (_is_name, "a short name")
MAYBE_A_NAME = (_or_none(_is_name), "a short name")
MAYBE_A_DICT = (_or_none(lambda value: isinstance(value, dict)), "a dict")
KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {  # by name of the fact: whether a value is one, and what it is
    **dict.fromkeys(("task", "stage", "precision", "weights", "licence"), A_NAME),
    **dict.fromkeys(("best_by", "project", "git_commit", "lineage", "data_sha256", "parent_sha256"), MAYBE_A_NAME),
    **dict.fromkeys(("config", "training", "versions", "teachers"), MAYBE_A_DICT),
    "architecture": (_is_architecture, "a dict with a type and num_labels"),
    "labels": (
        lambda value: bool(_different(value)) and all(map(_can_be_shown, value)),
        "a list of different, visible names",
    ),
    "vocab": (lambda value: _different(value).issuperset(SPECIAL_TOKENS), f"different tokens with {SPECIAL_TOKENS}"),
    "max_length": (lambda value: _is_count(value) and value > 2, "a number above 2"),
    "truncation": (lambda value: isinstance(value, str) and value in HEAD_SHARES, f"one of {', '.join(HEAD_SHARES)}"),
    "temperature": (_is_temperature, "a number from 0.001 to 1000"),
    "inputs": (lambda value: "input_ids" in _different(value), "a list of different names with input_ids"),
    "per_token": (lambda value: isinstance(value, bool), "true or false"),
    "metrics": (_or_none(_are_metrics), "a dict with a dict for each split"),
    "seed": (_or_none(lambda value: type(value) is int), "a whole number"),
}
