"""Scores of entities: an entity is right if its place in the text and its type are, to the character (strict)."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.files import atomic_write
from core.measure.metrics import SCORES
from core.model_files.predictor import Predictor, predict_all
from core.tables.write import write_rows
from ner.tags import Entity

if TYPE_CHECKING:
    from ner.data import Sentences

BEST_BY = "f1"
Found = Sequence[Collection[Entity]]  # of each sentence


def f_score(right: int, found: int, true: int) -> dict[str, float]:
    """Precision, recall and F1, 0 where nothing is right; `n` is the number of true entities."""
    precision, recall = right / max(found, 1), right / max(true, 1)
    return {"precision": precision, "recall": recall, "f1": 2 * right / max(found + true, 1), "n": true}


def entity_metrics(
    texts: Sequence[str], true: Found, found: Found, types: Sequence[str], known: Collection[str] | None = None
) -> dict[str, Any]:
    """Scores over all entities (micro), those of each type, and more.

    Args:
        texts: the sentences.
        true: the entities in them.
        found: those that were predicted.
        types: of the entities.
        known: the strings of the entities in the training data; None: not known.

    Returns:
        `precision`, `recall`, `f1`; `macro_f1` and its like, the means over the types that occur in `true`;
        `partial_f1`, for which sharing a character with an entity of the type is enough; `unseen_f1`, of entities whose
        string is none of `known`; `n` sentences, `entities`, and `per_class`.
    """
    counts = {name: [0, 0, 0] for name in types}  # right, found, true
    partial, unseen = [0, 0], [0, 0, 0]
    for text, wanted, given in zip(texts, true, found, strict=True):
        wanted, given = set(wanted), set(given)
        for place, some in enumerate((wanted & given, given, wanted)):
            for entity in some:
                counts[entity.label][place] += 1
                unseen[place] += known is not None and text[entity.start : entity.end] not in known
        for place, (some, others) in enumerate(((given, wanted), (wanted, given))):
            held = {each for entity in others for each in _characters(entity)}
            partial[place] += sum(not held.isdisjoint(_characters(entity)) for entity in some)
    right, predicted, total = (sum(column) for column in zip(*counts.values(), strict=True)) if counts else (0, 0, 0)
    per_class = {name: f_score(*its) for name, its in counts.items()}
    present = [scores for scores in per_class.values() if scores["n"]]
    metrics = {name: value for name, value in f_score(right, predicted, total).items() if name != "n"}
    metrics |= {f"macro_{name}": sum(each[name] for each in present) / max(len(present), 1) for name in SCORES}
    precision, recall = partial[0] / max(predicted, 1), partial[1] / max(total, 1)
    metrics["partial_f1"] = 2 * precision * recall / max(precision + recall, 1e-12)
    if known is not None:
        metrics["unseen_f1"] = f_score(*unseen)["f1"]
    return {**metrics, "n": len(texts), "entities": total, "per_class": per_class}


def _characters(entity: Entity) -> list[tuple[int, str]]:
    """The places of an entity's characters, with its type."""
    return [(place, entity.label) for place in range(entity.start, entity.end)]


def row_counts(true: Found, found: Found) -> list[list[int]]:
    """[right, found, true] of each sentence, by which two models can be compared."""
    return [[len(set(wanted) & set(given)), len(given), len(wanted)] for wanted, given in zip(true, found, strict=True)]


def strings(split: "Sentences") -> set[str]:
    """The strings of the entities of a file."""
    return {text[e.start : e.end] for text, entities in zip(split.items, split.entities, strict=True) for e in entities}


def found_in(predictor: Predictor, texts: Sequence[str]) -> list[list[Entity]]:
    """The entities that a predictor finds in each text."""
    answers = predict_all(predictor, texts, predictor.path.name if predictor.path else predictor.name)
    return [[Entity(each["start"], each["end"], each["label"]) for each in answer] for answer in answers]


def score(predictor: Predictor, split: "Sentences", folder: Path | None = None) -> dict[str, Any]:
    """`entity_metrics` of a predictor on a labelled file.

    Args:
        predictor: of entities.
        split: labelled with its types.
        folder: where bad_cases.tsv goes, the sentences with a mistake, those with most first; the metrics then hold
            `rows` (see `row_counts`), and `unseen_f1` where the file's folder has the training data. None: nothing is
            written.
    """
    found, known = found_in(predictor, split.items), split.known() if folder else None
    metrics = entity_metrics(split.items, split.entities, found, predictor.types, known)
    if folder is None:
        return metrics
    table = bad_cases(split.items, split.entities, found)
    atomic_write(folder / "bad_cases.tsv", lambda file: write_rows(file, table, "\t"))
    unseen = f"; {metrics['unseen_f1']:.4f} of entities that train lacks" if known is not None else ""
    print(f"F1 where a shared character is enough {metrics['partial_f1']:.4f}{unseen}")
    print(f"{len(table) - 1} sentences with a mistake: bad_cases.tsv in {folder}")
    return {**metrics, "rows": row_counts(split.entities, found)}


def bad_cases(texts: Sequence[str], true: Found, found: Found) -> list[list[str]]:
    """A table of the sentences with a mistake: what was missed, what was found in its place, and the sentence."""
    rows = []
    for text, wanted, given in zip(texts, true, found, strict=True):
        missed, wrong = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
        if missed or wrong:
            rows.append((len(missed) + len(wrong), missed, wrong, text))
    rows.sort(key=lambda row: -row[0])
    shown = [[str(count), *(_show(some, text) for some in sides), text] for count, *sides, text in rows]
    return [["mistakes", "missed", "found", "text"], *shown]


def _show(entities: Sequence[Entity], text: str) -> str:
    """`中国银行 ORG 3-7; …`."""
    return "; ".join(f"{text[e.start : e.end]} {e.label} {e.start}-{e.end}" for e in entities)
