"""Labelled files of any usual format, read as texts with the places of their entities.

CoNLL (a token and its tag a line, a blank line between sentences, space or tab, comments, -DOCSTART-), JSON lines with
spans, and a JSON list of such objects, in any of the forms of `ner.spans`; in UTF-8 or GB18030, with any line ends.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from core.console import UserError
from core.text.decode import CHUNK_BYTES, Text, open_text
from core.text.tokenizer import replace_surrogates
from core.text.units import is_ideographic
from ner.spans import read_object
from ner.tags import Entity, drop_overlaps, find_scheme, is_tag, read_tags

MAX_LISTED_FAULTS = 20
FORMATS = (
    'CoNLL (a token, a tab, its tag), JSON lines ({"text", "entities": [{"start", "end", "label"}]}), or an export of '
    "doccano or Label Studio"
)
LIST = re.compile(r'\s*\[\s*(\{\s*["}]|\]?\s*\Z)')  # the beginning of a JSON list of objects, and of no CoNLL
MOST_CHARACTERS = 200_000_000  # of a JSON list, all of which is in memory
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
        is_list = LIST.match(file.head) is not None
        unit = "task" if is_list else "line"
        lines = enumerate(_tasks(file) if is_list else file.lines(), start=1)
        first = next(((number, line) for number, line in lines if line.strip()), (0, ""))
        is_json = first[1].lstrip().startswith("{") or is_list
        lines = chain([first], lines)
        rows = (
            _json_rows(lines, unit, faults, found.counts) if is_json else _conll_rows(lines, faults, found.counts, path)
        )
        for text, entities in islice(rows, limit):
            found.texts.append(text)
            found.entities.append(entities)
    if is_json and len(faults) > 1 and not found.texts:
        raise UserError(f"{path} has no {unit} with a labelled sentence: it must be {FORMATS}; its first: {faults[0]}")
    if faults:
        listed = "\n  ".join(faults[:MAX_LISTED_FAULTS])
        more = f"\n  … and {len(faults) - MAX_LISTED_FAULTS} more" if len(faults) > MAX_LISTED_FAULTS else ""
        raise UserError(f"{path} has {len(faults)} bad {unit}(s); it must be {FORMATS}; mend these:\n  {listed}{more}")
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


def _tasks(file: Text) -> Iterator[str]:
    """The items of a file that is one JSON list, as JSON lines.

    Raises:
        UserError: it is none, or too long.
    """
    parts, size = [], 0
    for part in file.parts(CHUNK_BYTES):
        parts.append(part)
        size += len(part)
        if size > MOST_CHARACTERS:
            raise UserError(
                f"{file.name} is a JSON list of more than {MOST_CHARACTERS:,} characters: cut it into several"
            )
    try:
        items = json.loads("".join(parts).removeprefix("\ufeff"))
    except (ValueError, RecursionError) as fault:
        raise UserError(f"{file.name} begins like a JSON list, and is none ({fault}): export it again") from fault
    yield from (json.dumps(item, ensure_ascii=False) for item in items)


def _json_rows(
    lines: Iterator[tuple[int, str]], unit: str, faults: list[str], counts: Counter[str]
) -> Iterator[tuple[str, list[Entity]]]:
    """The texts of JSON lines; `unit` is what a message calls one of them."""
    for number, line in lines:
        if not line.strip():
            continue
        try:
            text, spans = read_object(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
            told = f"{fault} is missing" if isinstance(fault, KeyError) else fault
            faults.append(f"{unit} {number}: {told}: {_shorten(line)}")
            continue
        if spans is None:
            counts["task(s) without an annotation, skipped"] += 1
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


def _trim(entity: Entity, text: str) -> Entity:
    own = text[entity.start : entity.end]
    start = entity.start + len(own) - len(own.lstrip())
    return Entity(start, max(start, entity.end - len(own) + len(own.rstrip())), entity.label)


def _shorten(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= FULL else text[:FULL] + "…")
