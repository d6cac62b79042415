"""Add reviews that another model has labelled, whichever, to the training data of a folder.

    python -m aspect_sentiment.pseudo_labels --labels made.jsonl --data-dir my_data --to more_data
    python -m aspect_sentiment.pseudo_labels --labels a.jsonl b.jsonl --min-confidence 0.95 --to more_data

A line of the file is what the API answers for a review, and so may any model write it, a large language one too:

    {"text": "…", "aspects": [{"aspect": "口味", "state": "正面", "confidence": 0.98}, …]}

An aspect that a line does not name, or whose confidence is below --min-confidence, becomes an empty cell, which
training leaves out; a line without confidence is taken at its word. Where several files, or lines, speak of one review,
a state counts if all that name the aspect agree, the unsure ones too, and one is sure. Reviews of the labelled files,
and what differs from them in punctuation, spaces or width only, are left out: no model trains on what judges it. dev
and test are copied as they are. Our own models label by `aspect_sentiment.distillation --unlabeled`.
"""

import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aspect_sentiment.data import BUNDLED_DATA, Reviews, find_file, read_data
from aspect_sentiment.states import write_lists
from aspect_sentiment.texts import clean
from core.answers import text_fault
from core.console import UserError, parse, quoted, require_share, run
from core.tables.read import open_table
from core.tables.split import near_key
from core.tables.write import write_table
from core.text.names import name_key
from core.training.units import IGNORED


@dataclass
class PseudoConfig:
    """Knobs of what is added."""

    labels: tuple[Path, ...]
    """JSON lines, a review each: text, and aspects with their state and confidence."""
    to: Path
    """The data folder to write: train with the reviews added, dev and test as they are."""
    data_dir: Path = BUNDLED_DATA
    """The data folder to add to."""
    min_confidence: float = 0.9
    """A state of which the other model is less sure is left out, 0 to 1."""

    def __post_init__(self) -> None:
        require_share(self, "min_confidence")
        if self.to.exists() and self.data_dir.exists() and self.to.samefile(self.data_dir):
            raise UserError(f"--to {self.to} is the folder that is added to: give another one")


Votes = dict[str, defaultdict[str, dict[str, float]]]  # review -> aspect -> state -> the highest confidence
OTHER = ""  # a state that the data do not have


def read_votes(path: Path, train: Reviews, votes: Votes, odd: Counter[str]) -> None:
    """Gather what a file says of each review; what cannot be used is counted.

    Raises:
        UserError: the file is missing, or a line of it is not as it should be.
    """
    aspects = {name_key(name): name for name in train.aspects}
    states = {name_key(name): name for name in train.labels}
    with open_table(path) as table:
        if missing := {"text", "aspects"} - set(table.columns):
            raise UserError(f'{path} lacks {" and ".join(sorted(missing))}: {{"text": "…", "aspects": […]}} a line')
        places = [table.columns.index(name) for name in ("text", "aspects")]
        for number, row in enumerate(table.rows, start=table.first_row):
            text, found = (row[place] for place in places)
            if not isinstance(text, str) or text_fault(clean(text)) or not isinstance(found, list):
                odd["line(s) without a text or a list of aspects, skipped"] += 1
                continue
            own = votes.setdefault(clean(text), defaultdict(dict))
            for entry in found:
                aspect, state, sure = _read_entry(entry, f"{path} line {number}")
                if aspect not in aspects or state not in states:
                    odd["aspect(s) or state(s) that the data do not have, left out"] += 1
                if aspect in aspects:
                    its, name = own[aspects[aspect]], states.get(state, OTHER)
                    its[name] = max(sure, its.get(name, 0.0))


def _read_entry(entry: Any, place: str) -> tuple[str, str, float]:
    try:
        sure = entry.get("confidence", 1.0)
        if isinstance(sure, bool) or not 0 <= sure <= 1:  # NaN is not either
            raise ValueError("a confidence beyond 0 to 1")
        return name_key(str(entry["aspect"])), name_key(str(entry["state"])), sure
    except (AttributeError, KeyError, TypeError, ValueError) as fault:
        raise UserError(
            f'{place} is not as it should be: write {{"aspect": "…", "state": "…", "confidence": 0.9}} for each aspect'
            ", its confidence from 0 to 1 or left out"
        ) from fault


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(PseudoConfig, argv, __doc__)
    splits = read_data(config.data_dir)
    train, votes, odd = splits["train"], {}, Counter()
    for path in config.labels:
        read_votes(path, train, votes, odd)
    known, least = {near_key(clean(text)) for split in splits.values() for text in split.items}, config.min_confidence
    rows = [
        [text, *("" if state == IGNORED else train.labels[state] for state in states)]
        for text, states in zip(train.items, train.states.tolist(), strict=True)
    ]
    added = cells = 0
    for text, own in votes.items():
        odd["state(s) that the files disagree on, left out"] += sum(len(states) > 1 for states in own.values())
        alone = {
            aspect: next(iter(states.items()))
            for aspect, states in own.items()
            if len(states) == 1 and OTHER not in states
        }
        agreed = {aspect: state for aspect, (state, sure) in alone.items() if sure >= least}
        odd[f"state(s) less sure than {least:g}, left out"] += len(alone) - len(agreed)
        is_known = near_key(text) in known
        odd["review(s) that stand in the labelled files, left out"] += is_known
        if agreed and not is_known:
            added, cells = added + 1, cells + len(agreed)
            rows.append([text, *(agreed.get(aspect, "") for aspect in train.aspects)])
    for what, count in odd.items():
        if count:
            print(f"  {count:,} {what}")
    if not added:
        raise UserError("not one review is added: lower --min-confidence, or give labels of other reviews")
    write_lists(config.to, config.data_dir, train.aspects, train.labels)
    for name in ("dev", "test"):
        if path := find_file(config.data_dir, name):
            shutil.copyfile(path, config.to / path.name)
    write_table(config.to / "train.csv", ["review", *train.aspects], rows)
    print(f"added {added:,} reviews with {cells:,} states to {len(train):,}; wrote {config.to}")
    print(f"train: python -m aspect_sentiment.train --data-dir {quoted(config.to)}")


if __name__ == "__main__":
    run(main)
