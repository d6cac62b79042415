"""Labelled files of any usual format, read as texts with the places of their entities.

CoNLL (a token and its tag a line, a blank line between sentences, space or tab, comments, -DOCSTART-), JSON lines with
spans ({"text", "entities": [{"start", "end", "label"}]}), and those of CLUENER ({"text", "label": {type: {name:
[[first, last]]}}}); in UTF-8 or GB18030, with any line ends.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from core.console import UserError
from core.text.decode import open_text
from core.text.tokenizer import replace_surrogates
from core.text.units import is_ideographic
from ner.tags import Entity, drop_overlaps, find_scheme, is_tag, read_tags

MAX_LISTED_FAULTS = 20
FORMATS = 'CoNLL (a token, a tab, its tag) or JSON lines ({"text", "entities": [{"start", "end", "label"}]})'
FULL = 40  # characters of a text that are shown


@dataclass
class Labelled:
    """A labelled file: its `texts`, the `entities` of each, in order and apart, and what was mended or odd, counted."""

    texts: list[str] = field(default_factory=list)
    entities: list[list[Entity]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)


def read_labelled(path: Path, limit: int | None = None) -> Labelled:
    """Read a labelled file, or the first so many sentences of it.

    Raises:
        UserError: it is missing, of no known format, without a sentence, or has faulty lines: the first 20 are listed.
    """
    found, faults = Labelled(), []
    with open_text(path, may_be_json=True) as file:
        found.warnings += file.warnings
        lines = (line for line in enumerate(file.lines(), start=1))
        first = next(((number, line) for number, line in lines if line.strip()), (0, ""))
        lines = iter([first, *lines])
        is_json = first[1].lstrip().startswith("{")
        rows = _json_rows(lines, faults, found.counts) if is_json else _conll_rows(lines, faults, found.counts, path)
        for text, entities in islice(rows, limit):
            found.texts.append(text)
            found.entities.append(entities)
    if is_json and len(faults) > 1 and not found.texts:
        raise UserError(f"{path} has no line with a labelled sentence: it must be {FORMATS}; its first: {faults[0]}")
    if faults:
        listed = "\n  ".join(faults[:MAX_LISTED_FAULTS])
        more = f"\n  … and {len(faults) - MAX_LISTED_FAULTS} more" if len(faults) > MAX_LISTED_FAULTS else ""
        raise UserError(f"{path} has {len(faults)} bad line(s); it must be {FORMATS}; mend these:\n  {listed}{more}")
    if not found.texts:
        raise UserError(f"{path} has no labelled sentence: write {FORMATS} into it")
    return found


def _conll_rows(
    lines: Iterator[tuple[int, str]], faults: list[str], counts: Counter[str], path: Path
) -> Iterator[tuple[str, list[Entity]]]:
    """The sentences of a CoNLL file; the scheme of its tags is found over all of them.

    A line that begins with # is a token where it ends in a tag and has as many columns as the last token before it that
    begins otherwise (two where there is none), else a comment.
    """
    sentences: list[tuple[list[str], list[str]]] = []
    tokens, tags, width = [], [], 2
    for number, line in lines:
        columns = line.split("\t") if "\t" in line else line.split(" ") if " " in line.strip() else [line]
        columns = [column for index, column in enumerate(columns) if column.strip() or index == 0]
        token, tag = columns[0].strip(), columns[-1].strip()
        if not line.strip() or token == "-DOCSTART-":
            sentences.append((tokens, tags))
            tokens, tags = [], []
        elif line.startswith("#") and not (len(columns) == width and is_tag(tag)):
            counts["comment(s), skipped"] += 1
        elif len(columns) > 1 and is_tag(tag):
            if token:
                width = width if token.startswith("#") else len(columns)
                tokens.append(token)
                tags.append(tag)
            else:
                counts["empty token(s), skipped"] += 1
        elif len(columns) == 1 and is_tag(tag) and line[0].isspace():
            counts["empty token(s), skipped"] += 1
        else:
            faults.append(f"line {number}: no tag such as O or B-LOC at its end: {_shorten(line)}")
    sentences = [sentence for sentence in [*sentences, (tokens, tags)] if sentence[0]]
    if not sentences and faults:
        raise UserError(f"{path} has no line with a tag: it must be {FORMATS}")
    try:
        scheme = find_scheme([tags for _, tags in sentences])
    except UserError as fault:
        raise UserError(f"{path}: {fault}") from None
    if scheme != "BIO" and sentences:
        counts[f"sentence(s) with tags in {scheme}, read as BIO"] = len(sentences)
    lengths = [len(token) for tokens, _ in sentences for token in tokens]
    are_characters = sum(length == 1 for length in lengths) > 0.8 * len(lengths)
    for tokens, tags in sentences:
        entities, illegal = read_tags(tags, scheme)
        if illegal:
            counts["tag(s) where the scheme has none (I- without B-), mended"] += illegal
        text, places = join_tokens(tokens, are_characters)
        yield (
            text,
            [Entity(places[start], places[end - 1] + len(tokens[end - 1]), label) for start, end, label in entities],
        )


def join_tokens(tokens: list[str], are_characters: bool) -> tuple[str, list[int]]:
    """The text of some tokens, and where each begins in it; between words of letters stands a space.

    Args:
        tokens: of a sentence.
        are_characters: whether the tokens are characters: then nothing stands between them.
    """
    text, places = "", []
    for token in tokens:
        if text and not are_characters and not is_ideographic(text[-1]) and not is_ideographic(token[0]):
            text += " "
        places.append(len(text))
        text += token
    return text, places


def _json_rows(
    lines: Iterator[tuple[int, str]], faults: list[str], counts: Counter[str]
) -> Iterator[tuple[str, list[Entity]]]:
    """The texts of a file of JSON lines."""
    for number, line in lines:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            text = row["text"]
            if not isinstance(text, str):
                raise TypeError("text is not a string")
            spans = list(_spans(row, text))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
            told = f"{fault} is missing" if isinstance(fault, KeyError) else fault
            faults.append(f"line {number}: {told}: {_shorten(line)}")
            continue
        trimmed = [_trim(entity, text) for entity in spans]
        kept = [entity for entity in trimmed if entity.start < entity.end]
        counts["entities with spaces at their ends, trimmed"] += sum(
            one != other for one, other in zip(spans, trimmed, strict=True)
        )
        kept, dropped = drop_overlaps(kept)
        counts["entities within or across a longer one, dropped"] += dropped
        if text.strip():
            yield replace_surrogates(text), kept
        else:
            counts["text(s) with nothing in them, skipped"] += 1


def _spans(row: dict[str, Any], text: str) -> Iterator[Entity]:
    if isinstance(types := row.get("label"), dict):
        for label, names in types.items():
            for name, places in names.items():
                for first, last in places:
                    yield _entity(text, first, last, label, name, is_last=True)
    else:
        for each in row["entities"]:
            yield _entity(text, each["start"], each["end"], each["label"], each.get("text"))


def _entity(text: str, start: Any, end: Any, label: Any, name: Any, is_last: bool = False) -> Entity:
    """An entity of a row, checked; `is_last`: its end is the place of its last character, as in CLUENER."""
    if type(start) is not int or type(end) is not int or not isinstance(label, str) or not label.strip():
        raise TypeError("start and end must be whole numbers, and label a name")
    end += is_last
    if not 0 <= start < end <= len(text):
        raise ValueError(f"{start} to {end} is not within its {len(text)} characters")
    if isinstance(name, str) and name != text[start:end]:
        raise ValueError(f"{name!r} is not at {start} to {end}, where {text[start:end]!r} stands")
    return Entity(start, end, replace_surrogates(label.strip()))


def _trim(entity: Entity, text: str) -> Entity:
    own = text[entity.start : entity.end]
    start = entity.start + len(own) - len(own.lstrip())
    return Entity(start, max(start, entity.end - len(own) + len(own.rstrip())), entity.label)


def _shorten(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= FULL else text[:FULL] + "…")
