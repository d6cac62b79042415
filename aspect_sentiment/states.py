"""States of an aspect: what they are called, which of them means "not mentioned", and which are praise and blame."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aspect_sentiment.columns import OTHER_KEYS, read_list, state_in
from core.console import UserError
from core.files import atomic_write
from core.text.names import name_key

MOST_STATES = 6
ASPECTS_FILE, STATES_FILE = "aspects.txt", "states.txt"

# The numbers of ASAP and AI Challenger, known by name where -2 is among the values of a file without states.txt.
NUMBERS = {"-2": "未提及", "-1": "负面", "0": "中性", "1": "正面"}
MEANINGS = {
    "absent": (
        *("未提及", "没提及", "没有提及", "不提及", "无提及", "未提到", "没提到", "没有提到", "未提", "没提"),
        *("未说", "没说", "没有说", "未说到", "没说到", "未谈及", "没谈到", "没讲", "未涉及", "没涉及", "没有涉及"),
        *("不涉及", "未评价", "没评价", "没有评价", "无评价", "不适用", "无关", "没有", "无"),
        *("/", "-", "--", "—", "——"),
        *("none", "null", "absent", "na", "n/a", "not mentioned", "not_mentioned", "not-mentioned", "unmentioned"),
        *("no mention", "not applicable"),
    ),
    "negative": ("负面", "消极", "差评", "贬", "不满意", "negative", "neg"),
    "neutral": ("中性", "一般", "中评", "中立", "neutral", "neu"),
    "positive": ("正面", "积极", "好评", "褒", "满意", "positive", "pos"),
}
MEANING_OF = {name_key(word): meaning for meaning, words in MEANINGS.items() for word in words}


def find_state(labels: Sequence[str], meaning: str) -> int | None:
    """The id of the state with a meaning (absent, negative, neutral, positive), by its name; None: there is none."""
    return next((index for index, name in enumerate(labels) if MEANING_OF.get(name_key(name)) == meaning), None)


def judge_absent(labels: Sequence[str]) -> list[str]:
    """What is odd about "not mentioned" among the states, in sentences: all others count as said of an aspect."""
    meanings = {name: MEANING_OF.get(name_key(name)) for name in labels}
    absent = [name for name, meaning in meanings.items() if meaning == "absent"]
    if len(absent) > 1:
        told = f"{len(absent)} states mean 'not mentioned' ({', '.join(absent)})"
        return [f"{told}, and all but {absent[0]} count as opinions: write one of them in all cells"]
    if absent:
        return []
    told = f"no state is known to mean 'not mentioned' ({', '.join(labels)}), so each counts as an opinion: "
    if None in meanings.values():
        told += f"if one does, list all states in {STATES_FILE} beside the data, one a line, and that one "
        return [f"{told}with its meaning, such as 没说<TAB>未提及 where the cells hold 没说"]
    return [f"{told}write 未提及 where a review says nothing of an aspect; empty cells teach nothing"]


def judge_columns(
    columns: Sequence[str], rows: Sequence[tuple[int, Sequence[str]]], review: int, places: Sequence[int]
) -> list[str]:
    """Which columns may be taken for aspects, or for none, by mistake, in sentences; see `find_aspects`."""
    said: list[dict[str, str]] = []  # of each column what it says but "not mentioned", by `name_key`
    for place in range(len(columns)):
        looked = place in places or name_key(columns[place]) in OTHER_KEYS
        states = map(state_in, dict.fromkeys(row[place] for _, row in rows) if looked else ())
        said.append({key: state for state in states if (key := name_key(state)) and MEANING_OF.get(key) != "absent"})
    counts = Counter(key for place in places for key in said[place])
    warnings = []
    for place in places:
        own = said[place]
        if len(places) > 1 and any(key not in MEANING_OF for key in own) and all(counts[key] == 1 for key in own):
            warnings.append(
                f"column {columns[place]!r} has states of its own: {', '.join(own.values())}; if it is no aspect, list "
                "the aspects in aspects.txt, one a line"
            )
    others = [
        name
        for place, name in enumerate(columns)
        if place not in (review, *places)
        and (name_key(name) not in OTHER_KEYS or said[place] and said[place].keys() <= counts.keys())
    ]
    if others:
        told = ", ".join(map(repr, others[:20]))
        warnings.append(f"column(s) taken for no aspects: {told}; if some are, list all aspects in aspects.txt")
    return warnings


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


def read_states(folder: Path) -> tuple[list[str], dict[str, str]] | None:
    """The names of states.txt, in order, and the names of the values in cells, by `name_key`; None: there is no file.

    Raises:
        UserError: it names fewer than two, more than six, or one twice, or a value means two.
    """
    path = folder / STATES_FILE
    if not path.is_file():
        return None
    pairs = [[state_in(part) for part in line.split("\t")] for line in read_list(path)]
    names = [pair[-1] for pair in pairs]
    if not 2 <= len(names) <= MOST_STATES or len({name_key(name) for name in names}) < len(names):
        raise UserError(f"{path} names {len(names)} states: it must name 2 to {MOST_STATES} different ones, one a line")
    ways = {(name_key(part), pair[-1]) for pair in pairs for part in pair}
    if len(found := dict(ways)) < len(ways):
        raise UserError(f"{path} gives a value two names: write each value once, and none that is the name of another")
    return names, found


def write_lists(folder: Path, source: Path, aspects: Sequence[str], states: Sequence[str]) -> None:
    """Say in aspects.txt and states.txt what a data folder that was made has, as its files may lack some of it.

    Args:
        folder: where they go.
        source: where its data are from: those that are there are copied.
        aspects: names, as in the header.
        states: names, as in the cells; the numbers that are known by these stay so, unless one is a state itself.
    """
    values = {name: f"{value}\t{name}" for value, name in NUMBERS.items() if value not in map(name_key, states)}
    names = {ASPECTS_FILE: [" ".join(name.split()) for name in aspects]}
    names[STATES_FILE] = [values.get(name, name) for name in states]
    for name, lines in names.items():
        lines = read_list(source / name) if (source / name).is_file() else lines
        content = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
        atomic_write(folder / name, lambda file, content=content: file.write(content))


def names_of(values: Sequence[str], labels: Sequence[str] | None, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The states of a file, in order, and the names of the values that may stand in cells, by `name_key`."""
    told = read_states(folder)
    if labels is None and told:
        return told
    numbers = {name_key(value): name for value, name in NUMBERS.items()}
    keys = list(dict.fromkeys(map(name_key, values)))
    if labels is not None:
        known = {name_key(state_in(name)): name for name in labels}
        more = told[1] if told else numbers | known
        return list(labels), known | {key: name for key, name in more.items() if name in labels}
    if "-2" in keys:
        used = [name for key, name in numbers.items() if key in keys]
        return in_order(used), numbers | {name_key(name): name for name in used}
    spelt: dict[str, str] = {}
    for value in values:
        spelt.setdefault(name_key(value), value)
    return in_order(list(spelt.values())), spelt
