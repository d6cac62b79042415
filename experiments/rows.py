"""How many labelled titles it takes: BERT and the linear model, trained on more and more of them.

    python -m experiments.rows                                              # the bundled data, 3 seeds
    python -m experiments.rows --data-dir my_data --rows 1000 5000 20000 --output results/my_data

Each size takes the first rows of train.txt, and all of it comes last. BERT is trained by train.py with its defaults,
and selected on dev.txt; both models are scored on test.txt. Finished trainings are kept: a run that was stopped goes on
where it was. Writes rows.json, rows.md and rows.png to the output folder.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import baseline
import evaluate
import train
from bert_classifer_model import find_bert, find_weights, read_finetune
from config import MODELS, Config, parse
from core.console import UserError, run
from core.files import atomic_write, sha256, write_json
from core.measure.stats import paired_bootstrap
from core.training.device import measured_on
from experiments.report import open_report, write_views
from utils import read_data

KEPT = ("accuracy", "macro_f1", "predicted")


@dataclass
class RowsConfig:
    """Knobs of the measurement."""

    data_dir: Path = Config.data_dir
    """Folder with class.txt, train.txt, dev.txt and test.txt."""
    bert_path: Path = Config.bert_path
    """Folder of the BERT; while the default one holds none, the bundled bert-mini-chinese is used."""
    rows: tuple[int, ...] = (200, 500)
    """Numbers of training titles; all of them are added."""
    seeds: int = 3
    """Trainings of BERT for each number."""
    output: Path = Config.output
    """Folder for the table and the picture."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        if min(self.seeds, *self.rows) < 1:
            raise UserError("--seeds and --rows must be 1 or more")


def measure(rows: int, seed: int | None, config: RowsConfig, work: Path) -> dict[str, Any]:
    """Train and score one model: BERT with a seed, or the linear one (seed None)."""
    data, limit = ["--data-dir", str(config.data_dir)], ["--limit", str(rows)]
    if seed is None:
        baseline.main([*data, *limit, "--output", str(work)])
        report = json.loads((work / "baseline/metrics.json").read_text(encoding="utf-8"))
        return {**{name: report[name] for name in KEPT}, "seconds": report["seconds"]}
    model = work / f"rows_{rows}_seed_{seed}" / MODELS["teacher"].path.name
    flags = ["--bert-path", str(config.bert_path), "--save-dir", str(model.parent), "--output", str(work)]
    train.main([*data, *limit, *flags, "--seed", str(seed), "--device", config.device, "--resume"])
    test = ["--model", str(model), "--data", str(config.data_dir / "test.txt"), "--output", str(work)]
    evaluate.main([*test, "--device", config.device])
    report = json.loads((work / "evaluate/metrics.json").read_text(encoding="utf-8"))
    model.unlink()
    return {**{name: report[name] for name in KEPT}, "seconds": report["training"]["seconds"]}


def summarise(cells: list[dict[str, Any]], true: list[int]) -> list[dict[str, Any]]:
    """For each number of rows both accuracies, and how sure their difference is (the mean over the seeds)."""
    table = []
    for rows in sorted({cell["rows"] for cell in cells}):
        of = {model: [c for c in cells if c["rows"] == rows and c["model"] == model] for model in ("linear", "bert")}
        right = {
            model: np.mean([np.array(c["predicted"].split(), int) == true for c in runs], axis=0)
            for model, runs in of.items()
        }
        entry: dict[str, Any] = {"rows": rows, **asdict(paired_bootstrap(right["bert"], right["linear"]))}
        for model, runs in of.items():
            entry[model] = [cell["accuracy"] for cell in runs]
            entry |= {f"{model}_{name}": float(np.mean([c[name] for c in runs])) for name in ("macro_f1", "seconds")}
        table.append(entry)
    return table


def as_markdown(report: dict[str, Any]) -> str:
    """The summary as a table."""
    lines = [f"{report['machine']}, {report['date']}; test accuracy, BERT's the mean over the seeds", ""]
    lines += [
        "| training titles | linear | BERT | difference, 95 % interval | p | macro-F1, linear | macro-F1, BERT "
        "| training, linear | training, BERT |"
    ]
    lines += ["|---" * 9 + "|"]
    for entry in report["summary"]:
        interval = f"{100 * entry['difference']:+.2f} ({100 * entry['low']:+.1f} to {100 * entry['high']:+.1f})"
        cells = [f"{entry['rows']:,}", f"{entry['linear'][0]:.2%}", f"{np.mean(entry['bert']):.2%}", interval]
        cells += [f"{entry['p']:.4f}", f"{entry['linear_macro_f1']:.3f}", f"{entry['bert_macro_f1']:.3f}"]
        seconds = [entry[f"{model}_seconds"] for model in ("linear", "bert")]
        cells += [f"{taken:.0f} s" if taken >= 1 else "<1 s" for taken in seconds]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(report: dict[str, Any], path: Path) -> None:
    """Both accuracies over the number of rows as a PNG, a dot for each seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    rows = [entry["rows"] for entry in report["summary"]]
    for model, label, color in (("bert", "BERT", "tab:blue"), ("linear", "linear model", "tab:orange")):
        axes.plot(rows, [100 * np.mean(entry[model]) for entry in report["summary"]], color=color, label=label)
        for entry in report["summary"]:
            axes.plot([entry["rows"]] * len(entry[model]), [100 * s for s in entry[model]], ".", color=color)
    axes.set_xscale("log")
    axes.set_xticks(rows, [f"{count:,}" for count in rows])
    axes.minorticks_off()
    axes.set_xlabel("training titles")
    axes.set_ylabel("test accuracy, %")
    axes.grid(alpha=0.3)
    axes.legend()
    atomic_write(path, lambda file: figure.savefig(file, format="png", dpi=120))


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(RowsConfig, argv, __doc__)
    _, titles = read_data(config.data_dir)
    if "test" not in titles:
        raise UserError(f"{config.data_dir} has no test.txt: the models are scored on it")
    bert = find_bert(config.bert_path)
    settings = {"data": {name: sha256(config.data_dir / f"{name}.txt") for name in ("class", "train", "dev", "test")}}
    settings |= {"bert": sha256(find_weights(bert)), "finetune": read_finetune(bert)}
    path = config.output / "rows.json"
    report = open_report(path, settings, ["cells"])
    most = len(titles["train"].texts)
    for rows in [*(count for count in sorted(config.rows) if count < most), most]:
        for seed in (None, *range(1, config.seeds + 1)):
            cell = {"rows": rows, "model": "linear" if seed is None else "bert", "seed": seed}
            if any(cell.items() <= done.items() for done in report["cells"]):
                continue
            print(f"\n== {cell['model']}, {rows:,} titles" + (f", seed {seed}" if seed else ""))
            report["cells"].append({**cell, **measure(rows, seed, config, config.output / "rows_work")})
            report |= {**measured_on(), "summary": []}
            write_json(path, report)
    report["summary"] = summarise(report["cells"], titles["test"].labels)
    write_json(path, report)
    write_views(report, path, as_markdown, draw)


if __name__ == "__main__":
    run(main)
