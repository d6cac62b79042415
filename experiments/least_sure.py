"""Which titles are worth labelling? The least sure ones against random ones, by the test accuracy that they buy.

    python -m experiments.least_sure                                             # the bundled data, 3 seeds
    python -m experiments.least_sure --data-dir my_data --rows 2000 --output results/my_data

BERT is trained on the first rows of train.txt and asked about the rest, as if that had no labels yet. Then it is
trained again with the true labels of so many titles more: those that it was least sure of (Lewis & Gale 1994), or as
many random ones. All are scored on test.txt. Finished trainings are kept: a run that was stopped goes on where it was.
Writes least_sure.json and least_sure.md to the output folder.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from config import BUNDLED_BERT, MODELS, Config
from core.answers import text_fault
from core.bert.folder import find_bert, find_weights, read_finetune
from core.console import UserError, parse, require_one_or_more, run
from core.files import sha256
from core.measure.metrics import classification_metrics
from core.measure.stats import interval, paired_bootstrap
from core.model_files.predictor import predict_all
from experiments.readme_words import Words, markdown, percent
from experiments.trials import Trials, as_array, as_text, knobs_of, predict_classes, write_views
from label_errors import write_data
from predict_fun import NewsClassifier
from train import TrainConfig, fine_tune
from utils import Titles, read_data

NONE, RANDOM, LEAST_SURE = CHOICES = ("none", "random", "least sure")  # which titles are added
PAIRS = ((RANDOM, NONE), (LEAST_SURE, NONE), (LEAST_SURE, RANDOM))


@dataclass
class LeastSureConfig:
    """Knobs of the measurement."""

    data_dir: Path = Config.data_dir
    """Folder with class.txt, train.txt, dev.txt and test.txt."""
    bert_path: Path = Config.bert_path
    """Folder of the BERT; while the default one holds none, the bundled bert-mini-chinese is used."""
    rows: int = 700
    """Rows of train.txt that have their labels from the beginning."""
    pool: int = 20_000
    """Rows after them, at most, that titles are chosen from."""
    add: int = 200
    """Titles that are labelled."""
    seeds: int = 3
    """Trainings of each kind."""
    output: Path = Config.output
    """Folder for the figures."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        require_one_or_more(self, "rows", "pool", "add", "seeds")


def pick(choice: str, seed: int, pool: int, trials: Trials, add: int) -> list[int]:
    """The places in the pool of the titles to add."""
    if choice == RANDOM:
        return sorted(np.random.default_rng(seed).choice(pool, add, replace=False).tolist())
    if choice == LEAST_SURE:
        return list(map(int, trials.find("cells", {"choice": NONE, "seed": seed})["least_sure"].split()))
    return []


def measure(
    chosen: Sequence[int],
    seed: int,
    labels: Sequence[str],
    titles: dict[str, Titles],
    pool: Titles,
    config: LeastSureConfig,
    folder: Path,
) -> dict[str, Any]:
    """Train on the first rows and the chosen ones, score, and list what of the pool it is least sure of."""
    first, test = titles["train"], titles["test"]
    train = Titles(
        first.texts[: config.rows] + [pool.texts[row] for row in chosen],
        first.labels[: config.rows] + [pool.labels[row] for row in chosen],
    )
    write_data(folder / "data", labels, {"train": train, "dev": titles["dev"]})
    knobs = knobs_of(config, "bert_path device", folder, seed)
    fine_tune(TrainConfig(**knobs, data_dir=folder / "data"), score_test=False)
    model = folder / MODELS["teacher"].path.name
    predicted = predict_classes(model, test, Config.batch_size, config.device)
    scores = classification_metrics(test.labels, predicted, labels)
    entry = {name: scores[name] for name in ("accuracy", "macro_f1")} | {"predicted": as_text(predicted)}
    if not chosen:
        answers = predict_all(NewsClassifier.load(model, config.device), pool.texts, "asking about the others")
        order = np.argsort([answer.confidence for answer in answers], kind="stable")
        entry["least_sure"] = as_text(sorted(order[: config.add].tolist()))
    model.unlink()
    return entry


def summarise(cells: list[dict[str, Any]], true: list[int]) -> dict[str, Any]:
    """The accuracies of each choice, and how sure the differences between them are (the mean over the seeds)."""
    runs = {choice: [cell for cell in cells if cell["choice"] == choice] for choice in CHOICES}
    right = {
        choice: (as_array(cell["predicted"] for cell in each) == true).mean(axis=0) for choice, each in runs.items()
    }
    rows = [
        {"choice": choice, "accuracy": [cell["accuracy"] for cell in each], "macro_f1": [c["macro_f1"] for c in each]}
        for choice, each in runs.items()
    ]
    pairs = [
        {"of": one, "against": other, **asdict(paired_bootstrap(right[one], right[other]))} for one, other in PAIRS
    ]
    return {"rows": rows, "pairs": pairs}


def table(report: dict[str, Any], words: Words) -> str:
    """The summary as a table."""
    summary, settings = report["summary"], report["settings"]
    against_none = {pair["of"]: pair for pair in summary["pairs"] if pair["against"] == NONE}
    lines = []
    for row in summary["rows"]:
        gain = against_none.get(row["choice"])
        cells = [words[f"choice {row['choice']}"].format(settings["rows"], settings["add"])]
        cells += [percent(np.mean(row["accuracy"])), " · ".join(map(percent, row["accuracy"]))]
        lines.append([*cells, interval(gain, words["an interval"]) if gain else "–", f"{np.mean(row['macro_f1']):.3f}"])
    last = summary["pairs"][-1]
    return f"{markdown(words['table least_sure'], lines)}\n\n{interval(last, words['pair of choices'], 2)}"


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(LeastSureConfig, argv, __doc__)
    labels, titles = read_data(config.data_dir)
    if "test" not in titles:
        raise UserError(f"{config.data_dir} has no test.txt: the models are scored on it")
    rows = list(zip(titles["train"].texts, titles["train"].labels, strict=True))[config.rows :][: config.pool]
    pool = Titles(*map(list, zip(*(row for row in rows if not text_fault(row[0])), strict=True))) if rows else []
    if len(pool) < config.add:
        raise UserError(f"only {len(pool)} rows of train.txt are left to choose --add {config.add} from: lower --rows")
    bert = find_bert(config.bert_path, Config.bert_path, BUNDLED_BERT)
    settings = {"data": {name: sha256(config.data_dir / f"{name}.txt") for name in ("class", "train", "dev", "test")}}
    settings |= {"bert": sha256(find_weights(bert)), "finetune": read_finetune(bert)}
    settings |= {name: getattr(config, name) for name in ("rows", "pool", "add")}
    path = config.output / "least_sure.json"
    trials = Trials(config.output / "least_sure_work", settings, ["cells"], path, config.device)
    for seed in range(1, config.seeds + 1):
        for choice in CHOICES:
            chosen = pick(choice, seed, len(pool), trials, config.add)
            make = partial(measure, chosen, seed, labels, titles, pool, config)
            trials.once("cells", {"choice": choice, "seed": seed}, make)
    trials.report["summary"] = summarise(trials.report["cells"], titles["test"].labels)
    trials.save()
    write_views(trials.report, path, table)


if __name__ == "__main__":
    run(main)
