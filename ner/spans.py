"""The text of a labelled JSON object and the places of its entities, however the tool that wrote it says them.

Ours and doccano's with relations ({"text", "entities": [{"start" or "start_offset", "end" or "end_offset", "label"}]}),
doccano's ({"text", "label": [[start, end, type]]}), CLUENER's ({"text", "label": {type: {name: [[first, last]]}}}), and
Label Studio's tasks, of its JSON ({"data", "annotations"}) and of its JSON-MIN.
"""

from collections.abc import Iterator
from typing import Any

from core.text.tokenizer import replace_surrogates
from ner.tags import Entity

KEYS = "entities", "label", "labels"  # of a list of places, in the order in which they are looked for


def read_object(row: Any) -> tuple[str, list[Entity] | None]:
    """A text and its entities, each within it; None: nobody has labelled it.

    Raises:
        TypeError, ValueError, KeyError, AttributeError: it is of no known form, or an entity is not where it says.
    """
    if not isinstance(row, dict):
        raise TypeError("it is no JSON object")
    text = row["text"] if "text" in row else _text_of(row.get("data"))
    if not isinstance(text, str):
        raise TypeError("text is not a string")
    if isinstance(types := row.get("label"), dict):
        return text, list(_of_cluener(types, text))
    places = _annotated(row["annotations"]) if "annotations" in row else _places(row)
    return text, None if places is None else [entity for place in places for entity in _entities(place, text)]


def _text_of(data: Any) -> Any:
    """The text of a row without a key of that name: its data themselves, or the only string among them."""
    if data is None:
        raise KeyError("text")
    if not isinstance(data, dict) or "text" in data:
        return data["text"] if isinstance(data, dict) else data
    strings = [value for value in data.values() if isinstance(value, str)]
    if len(strings) != 1:
        raise ValueError(f"its data have no text, but {len(strings)} strings: call the one that is labelled text")
    return strings[0]


def _annotated(annotations: Any) -> list[Any] | None:
    """The places that the first annotation of a task names, of those that were not cancelled."""
    kept = [each for each in _objects(annotations, "annotations") if not each.get("was_cancelled")]
    if not kept:
        return None
    regions = [each for each in _objects(kept[0]["result"], "result") if str(each.get("type")).endswith("labels")]
    if strange := {each["type"] for each in regions} - {"labels"}:
        raise TypeError(f"its regions are {', '.join(sorted(strange))}: only labels of a plain text can be read")
    return [each["value"] for each in regions]


def _objects(values: Any, key: str) -> list[dict[str, Any]]:
    if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
        raise TypeError(f"{key} is no list of objects")
    return values


def _places(row: dict[str, Any]) -> list[Any]:
    key = next((key for key in KEYS if key in row), None)
    if key is None and "annotation_id" in row:  # of JSON-MIN, in which the labelling interface names the key
        lists = [value for value in row.values() if isinstance(value, list)]
        return [each for values in lists for each in values if isinstance(each, dict) and "labels" in each]
    places = row[key or KEYS[0]]  # "'entities' is missing", where there is none of them
    if not isinstance(places, list):
        raise TypeError(f"{key} is no list of places")
    return places


def _entities(place: Any, text: str) -> Iterator[Entity]:
    """The entity at a place, or several of different types."""
    if isinstance(place, dict):
        start, end = (
            place.get(f"{key}_offset") if f"{key}_offset" in place else place[key] for key in ("start", "end")
        )
        labels, name = place["labels"] if "labels" in place else [place["label"]], place.get("text")
    elif isinstance(place, list) and len(place) == 3:
        start, end, label = place
        labels, name = [label], None
    else:
        raise TypeError(f"{place!r} is no place: it must be [start, end, label] or an object with these")
    if not isinstance(labels, list) or not labels:
        raise TypeError("labels must be a list of names")
    for label in labels:
        yield _entity(text, start, end, label, name)


def _of_cluener(types: dict[str, Any], text: str) -> Iterator[Entity]:
    for label, names in types.items():
        for name, places in names.items():
            for first, last in places:
                yield _entity(text, first, last, label, name, is_last=True)


def _entity(text: str, start: Any, end: Any, label: Any, name: Any, is_last: bool = False) -> Entity:
    """An entity of a row, checked; `is_last`: its end is the place of its last character, as in CLUENER."""
    if type(start) is not int or type(end) is not int or not isinstance(label, str) or not label.strip():
        raise TypeError("start and end must be whole numbers, and label a name")
    end += is_last
    if not 0 <= start < end <= len(text):
        raise ValueError(f"{start} to {end} is not within its {len(text)} characters")
    if isinstance(name, str) and _seen(name) != _seen(text[start:end]):
        raise ValueError(f"{name!r} is not at {start} to {end}, where {text[start:end]!r} stands")
    return Entity(start, end, replace_surrogates(label.strip()))


def _seen(name: str) -> str:
    r"""A name without spaces: Label Studio writes the two characters \n for a line's end, and one space for several."""
    return "".join(name.replace("\\n", " ").split())
