"""States of an aspect: what they are called, which of them means "not mentioned", and which are praise and blame."""

from collections.abc import Sequence

from core.text.names import name_key

# The numbers of ASAP and AI Challenger, known by name wherever -2 is among the values of a file.
NUMBERS = {"-2": "未提及", "-1": "负面", "0": "中性", "1": "正面"}
MEANINGS = {
    "absent": ("未提及", "没提到", "未提到", "没有提到", "无", "不涉及", "none", "not mentioned", "absent", "n/a"),
    "negative": ("负面", "消极", "差评", "贬", "不满意", "negative", "neg"),
    "neutral": ("中性", "一般", "中评", "中立", "neutral", "neu"),
    "positive": ("正面", "积极", "好评", "褒", "满意", "positive", "pos"),
}
MEANING_OF = {name_key(word): meaning for meaning, words in MEANINGS.items() for word in words}


def find_state(labels: Sequence[str], meaning: str) -> int | None:
    """The id of the state with a meaning (absent, negative, neutral, positive), by its name; None: there is none."""
    return next((index for index, name in enumerate(labels) if MEANING_OF.get(name_key(name)) == meaning), None)


def in_order(names: Sequence[str]) -> list[str]:
    """Names of states, not mentioned first, then from blame to praise, then the others by name."""
    order = list(MEANINGS)
    return sorted(names, key=lambda name: (order.index(m) if (m := MEANING_OF.get(name_key(name))) else 9, name))


def merged(labels: Sequence[str]) -> list[int]:
    """For each state the id that it counts as where "not mentioned" and "neutral" are one; [] where it lacks either."""
    absent, neutral = find_state(labels, "absent"), find_state(labels, "neutral")
    if absent is None or neutral is None:
        return []
    return [neutral if index == absent else index for index in range(len(labels))]
