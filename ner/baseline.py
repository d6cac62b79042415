"""The baselines to beat: a linear-chain CRF on units and their neighbours, and the training entities as a dictionary.

    python -m ner.baseline
    python -m ner.baseline --data-dir my_data

A neural model that does not beat the CRF has no reason to exist. It needs python-crfsuite (`pip install -r
requirements-ner.txt`); without it there is the dictionary alone. Writes reports/ner_baseline/metrics.json, measured on
test, else on dev.
"""

import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config import Config
from core.console import UserError, parse, progress, require_one_or_more, run
from core.files import sha256, write_json
from core.measure.latency import Predict
from core.measure.metrics import in_words, metrics_table
from core.text.units import find_units, words_of
from core.training.device import measured_on
from ner.data import BUNDLED_DATA, Sentences, read_data
from ner.metrics import BEST_BY, entity_metrics, row_counts, strings
from ner.tags import Entity, bio, read_tags, types_of
from ner.units import entities_in_units

# L-BFGS with both penalties, chosen on the dev data of two public sets; all transitions, as some are never seen.
PENALTIES = {"c1": 0.1, "c2": 0.01, "feature.possible_transitions": True}
ITERATIONS = 150
KINDS = (("D", str.isdigit), ("A", str.isupper), ("a", str.isascii), ("空", str.isspace))


@dataclass
class BaselineConfig:
    """Knobs of the baselines."""

    data_dir: Path = BUNDLED_DATA
    """Folder with train, dev and, where there is one, test."""
    output: Path = Config.output
    """Folder for the report: ner_baseline/metrics.json is written in it."""
    limit: int | None = None
    """Train on the first N sentences only."""
    iterations: int = ITERATIONS
    """Steps of the CRF's optimiser, at most."""

    def __post_init__(self) -> None:
        require_one_or_more(self, "limit", "iterations")


def kind_of(word: str) -> str:
    """What sort of unit one is: a number, capitals, other ASCII, a sign, or a character of Chinese."""
    if not word[0].isalnum():
        return "."
    return next((kind for kind, holds in KINDS if holds(word)), "字")


def features(words: Sequence[str]) -> list[list[str]]:
    """What the CRF knows of each unit: itself and two on each side, pairs and triples of them, their kinds."""
    padded = ["<<", "<", *(word.lower() for word in words), ">", ">>"]
    kinds = ["<", "<", *map(kind_of, words), ">", ">"]
    found = []
    for at in range(2, len(padded) - 2):
        two, one, own, next_one, next_two = padded[at - 2 : at + 3]
        found.append(
            [
                "bias",
                *(f"{place}={word}" for place, word in zip("abcde", (two, one, own, next_one, next_two), strict=True)),
                f"ab={two}|{one}",
                f"bc={one}|{own}",
                f"cd={own}|{next_one}",
                f"de={next_one}|{next_two}",
                f"bd={one}|{next_one}",
                f"abc={two}|{one}|{own}",
                f"bcd={one}|{own}|{next_one}",
                f"cde={own}|{next_one}|{next_two}",
                f"kinds={''.join(kinds[at - 2 : at + 3])}",
                f"prefix={own[:3]}",
                f"suffix={own[-3:]}",
                f"shape={words[at - 2].istitle()}{len(own)}",
            ]
        )
    return found


def import_crf() -> Any:
    """The module pycrfsuite.

    Raises:
        UserError: it is not installed.
    """
    try:
        import pycrfsuite
    except ImportError as fault:
        raise UserError("the CRF needs python-crfsuite: run `pip install -r requirements-ner.txt`") from fault
    return pycrfsuite


class Crf:
    """A linear-chain CRF (Lafferty et al. 2001), trained at once.

    Args:
        train: labelled sentences.
        iterations: steps of the optimiser, at most.
    """

    def __init__(self, train: Sentences, iterations: int = ITERATIONS) -> None:
        crfsuite = import_crf()
        trainer = crfsuite.Trainer(verbose=False)
        trainer.set_params({**PENALTIES, "max_iterations": iterations})
        for text, entities in zip(train.items, train.entities, strict=True):
            units = find_units(text)
            if units:
                tags = bio(entities_in_units(entities, units)[0], len(units))
                trainer.append(features(words_of(text, units)), tags)
        self._tagger = crfsuite.Tagger()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "crf"
            trainer.train(str(path))
            self._content = path.read_bytes()  # which the tagger reads from as long as it lives
        self._tagger.open_inmemory(self._content)
        self.params = len(self._tagger.info().state_features)

    def predict(self, texts: Sequence[str], _: int = 1) -> list[list[Entity]]:
        """The entities of each text."""
        answers = []
        for text in progress(texts, desc="crf", unit="text", delay=1.0, leave=False):
            units = find_units(text)
            found, _illegal = read_tags(self._tagger.tag(features(words_of(text, units))) if units else [], "BIO")
            answers.append([Entity(units[start][0], units[end - 1][1], label) for start, end, label in found])
        return answers


class Dictionary:
    """The longest training entity at each place, of those that are one in more than half of their occurrences."""

    def __init__(self, train: Sentences) -> None:
        types: dict[str, Counter[str]] = defaultdict(Counter)
        for text, entities in zip(train.items, train.entities, strict=True):
            for start, end, label in entities:
                types[text[start:end]][label] += 1
        self._lengths = sorted({len(string) for string in types}, reverse=True)
        seen: Counter[str] = Counter()
        for text in train.items:
            for length in self._lengths:
                strings = (text[start : start + length] for start in range(len(text) - length + 1))
                seen.update(string for string in strings if string in types)
        self.labels = {
            string: count.most_common(1)[0][0] for string, count in types.items() if 2 * count.total() > seen[string]
        }
        self.params = len(self.labels)

    def predict(self, texts: Sequence[str], _: int = 1) -> list[list[Entity]]:
        """The entities of each text."""
        return [list(self._find(text)) for text in texts]

    def _find(self, text: str) -> Iterator[Entity]:
        start = 0
        while start < len(text):
            strings = (text[start : start + length] for length in self._lengths)
            own = next((string for string in strings if string in self.labels), "")
            if own:
                yield Entity(start, start + len(own), self.labels[own])
            start += len(own) or 1


def competitors(
    splits: dict[str, Sentences], held_out: Sentences, labels: Sequence[str]
) -> Iterator[tuple[dict[str, Any], dict[str, Any], Predict | None]]:
    """The dictionary and, where it is installed, the CRF as a benchmark compares them; see `core.task.Task`."""
    found = [("dictionary", "python", Dictionary)]
    try:
        import_crf()
        found.append(("crf", "crfsuite", Crf))
    except UserError as fault:
        print(f"warning: {fault}")
    for name, runtime, build in found:
        model = build(splits["train"])
        scores = entity_metrics(held_out.items, held_out.entities, model.predict(held_out.items), types_of(labels))
        yield {"name": name, "runtime": runtime, "params": model.params}, scores, model.predict


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(BaselineConfig, argv, __doc__)
    types, splits = read_data(config.data_dir, config.limit)
    split = "test" if "test" in splits else "dev"
    held_out, known, report = splits[split], strings(splits["train"]), {}
    builds = {"dictionary": Dictionary, "crf": lambda train: Crf(train, config.iterations)}
    for name, build in builds.items():
        started = time.perf_counter()
        try:
            found = build(splits["train"]).predict(held_out.items)
        except UserError as fault:
            print(f"warning: {fault}")
            continue
        scores = entity_metrics(held_out.items, held_out.entities, found, types, known)
        seconds = round(time.perf_counter() - started, 1)
        report = {**scores, "model": name, "rows": row_counts(held_out.entities, found), "seconds": seconds}
        unseen = f"F1 of entities that train lacks {scores['unseen_f1']:.4f}"
        print(f"\n{metrics_table(scores)}\n{name}: {split} entity {in_words(scores, BEST_BY)}, {unseen}; {seconds} s")
    facts = {"split": split, "data_sha256": sha256(held_out.path), "train_rows": len(splits["train"]), **measured_on()}
    path = config.output / "ner_baseline" / "metrics.json"
    write_json(path, {**report, **facts})
    print(f"wrote {path}")


if __name__ == "__main__":
    run(main)
