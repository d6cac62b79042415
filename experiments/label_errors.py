"""How many wrong labels does label_errors.py find? Some are swapped on purpose, and looked for.

    python -m experiments.label_errors                                                # train.txt of the bundled data
    python -m experiments.label_errors --data-dir my_data --model linear --output results/my_data

A share of the labels of train.txt becomes another class, every other one alike; then the search must find them without
knowing which. What it is scored by: of so many labels as were swapped, how many stand among as many rows at the head of
the list; by chance that would be the share. Finished searches are kept: a run that was stopped goes on where it was.
Writes label_errors.json and label_errors.md to the output folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from config import BUNDLED_BERT, Config
from core.answers import text_fault
from core.bert.folder import find_bert, fingerprint
from core.console import UserError, parse, require_one_or_more, run
from core.files import sha256
from core.measure.stats import wilson_interval
from experiments.readme_words import Words, markdown, percent
from experiments.trials import Trials, write_views
from label_errors import LabelErrorsConfig, doubtful, import_cleanlab, judges, out_of_fold
from utils import Titles, read_data


@dataclass
class SwapConfig(LabelErrorsConfig):
    """Knobs of the measurement."""

    share: float = 0.02
    """Share of the labels that are swapped."""
    seeds: int = 3
    """Searches, each for other swapped labels."""
    limit: int | None = None
    """Take the first N rows of train.txt only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_or_more(self, "seeds", "limit")
        if not 0 < self.share < 0.5:
            raise UserError(f"--share is {self.share}: it must be above 0 and below 0.5")


def swap(given: Sequence[int], num_labels: int, share: float, seed: int) -> tuple[list[int], np.ndarray]:
    """Labels of which a share became another class, any other one alike; and the places of these, sorted."""
    rng = np.random.default_rng(seed)
    count = max(1, round(share * len(given)))
    places = np.sort(rng.choice(len(given), count, replace=False))
    labels = np.array(given)
    labels[places] = (labels[places] + rng.integers(1, num_labels, count)) % num_labels
    return labels.tolist(), places


def search(titles: Titles, labels: Sequence[str], config: SwapConfig, seed: int, folder: Path) -> dict[str, Any]:
    """Swap, search, and count what was found."""
    given, places = swap(titles.labels, len(labels), config.share, seed)
    swapped = Titles(titles.texts, given)
    own = replace(config, seed=seed, save_dir=folder)
    judge, _ = judges(labels, swapped, own)
    found = out_of_fold(swapped, len(labels), own, judge)
    listed, wrong = doubtful(given, found), set(places.tolist())
    return {
        "n": len(titles),
        "swapped": len(places),
        "listed": len(listed),
        "found_at_the_head": len(wrong.intersection(listed[: len(wrong)])),
        "found": len(wrong.intersection(listed)),
        "agreement": float((found.argmax(axis=1) == given).mean()),
    }


def table(report: dict[str, Any], words: Words) -> str:
    """A row for each model, its searches together."""
    lines = []
    for model in dict.fromkeys(cell["model"] for cell in report["cells"]):
        cells = [cell for cell in report["cells"] if cell["model"] == model]
        head, found, swapped, listed = (
            sum(cell[name] for cell in cells) for name in ("found_at_the_head", "found", "swapped", "listed")
        )
        ends = (percent(end, 1) for end in wilson_interval(head, swapped))
        counts = [f"{number:,}" for number in (cells[0]["n"], cells[0]["swapped"], len(cells), listed // len(cells))]
        shares = [words["a share"].format(percent(head / swapped, 1), *ends), percent(found / swapped, 1)]
        lines.append([words.get(model, model), *counts, *shares])
    return markdown(words["table label_errors"], lines)


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(SwapConfig, argv, __doc__)
    import_cleanlab()
    labels, splits = read_data(config.data_dir, config.limit)
    rows = zip(splits["train"].texts, splits["train"].labels, strict=True)
    titles = Titles(*map(list, zip(*(row for row in rows if not text_fault(row[0])), strict=True)))
    settings = {"data": {name: sha256(config.data_dir / f"{name}.txt") for name in ("class", "train")}}
    settings |= {name: getattr(config, name) for name in ("share", "folds", "limit")}
    key = {"model": config.model}
    if config.model == "bert":
        key["bert"] = fingerprint(find_bert(config.bert_path, Config.bert_path, BUNDLED_BERT))[:12]
    path = config.output / "label_errors.json"
    trials = Trials(config.save_dir / "label_errors", settings, ["cells"], path, config.device)
    for seed in range(1, config.seeds + 1):
        trials.once("cells", {**key, "seed": seed}, partial(search, titles, labels, config, seed))
    write_views(trials.report, path, table)


if __name__ == "__main__":
    run(main)
