"""The tables and pictures of all READMEs, remade from results/, so that no figure of a table is typed by hand.

    python -m experiments.readme             # rewrites the tables, redraws the pictures
    python -m experiments.readme --check     # changes nothing; exits with 1 if a table is stale or a picture missing

A table stands between two comments, each at the start of a line; GitHub does not show them:

    <!-- table: rows rows/rows.json -->
    <!-- /table -->

The first names a kind of table and a file in results/ that a command of the project wrote. While there is no such file
the table is empty. A picture that a page shows is redrawn from the table's file of the same name, rows.png in English
and rows.zh.png in Chinese, which needs a Chinese font.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from core.console import UserError, parse, run
from core.files import atomic_write
from core.measure import benchmark_report
from core.measure.plots import cjk_font, class_axis
from experiments import (
    ablation_report,
    aspects,
    bulk_report,
    calibration,
    label_errors,
    least_sure,
    ner,
    qa,
    rows,
    serving_report,
    speed,
    students,
)
from experiments import tuning as tuning_report
from experiments.readme_words import CHINESE, ENGLISH, Words, markdown, model_name, percent

RESULTS = Path("results")
PAGES = {Path("README.md"): CHINESE, Path("README_EN.md"): ENGLISH, RESULTS / "README.md": CHINESE}
DOCS = (
    "aspect_sentiment",
    "bulk",
    "confidence",
    "distillation",
    "ner",
    "qa",
    "results",
    "serving",
    "training",
    "tuning",
)
PAGES |= {Path(f"docs/{name}{end}"): words for name in DOCS for end, words in ((".md", CHINESE), (".en.md", ENGLISH))}
SHORTLIST = {"linear": "scikit-learn", "teacher": "torch"}  # names and runtimes; the others as they are deployed
SHORTLIST |= dict.fromkeys(("teacher_int8", "bert_2_layers_int8", "soft_int8"), "onnxruntime")
TABLE = re.compile(r"^(<!-- table: (\S+) (\S+) -->)$((?:(?!^<!--).)*)(?=^<!-- /table -->$)", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"^<!--\s*/?table\b.*$", re.MULTILINE)
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s:]+)\)")
FIGURES = {"size_mb": ".1f", "p50_ms": ".2f", "ratio_p50": ".1f", "titles_per_s": ",.0f", "ratio_throughput": ".1f"}


@dataclass
class ReadmeConfig:
    """Knobs of the command."""

    check: bool = False
    """Only tell what is not as it should be."""


class Kind(NamedTuple):
    """A kind of table: the command that writes its file, the table in Markdown, and the picture where there is one."""

    command: str
    table: Callable[[dict[str, Any], Words], str]
    draw: Callable[[dict[str, Any], Path, Words], None] | None = None


def benchmark(report: dict[str, Any], words: Words) -> str:
    """The columns of the comparison of all models that a reader needs first, but for those that no model has."""

    def share(row: dict[str, Any], metric: str) -> str:
        if row[metric] is None:
            return "–"
        ends = [row.get(f"{metric}_{end}") for end in ("low", "high")]
        found = percent(row[metric])
        return found if None in ends else words["a share"].format(found, *(percent(end, 1) for end in ends))

    lines = []
    for row in report["rows"]:
        cells = [model_name(row, words)]
        cells += [words.get(row["runtime"], row["runtime"]), share(row, "accuracy"), share(row, "macro_f1")]
        for name, form in FIGURES.items():
            unit = "×" if name.startswith("ratio") else ""
            cells.append("–" if row[name] is None else f"{row[name]:{form}}{unit}")
        lines.append(cells)
    columns = zip(words["table benchmark"].split(" | "), *lines, strict=True)
    headers, *lines = zip(*(column for column in columns if set(column[1:]) != {"–"}), strict=True)
    return markdown(" | ".join(headers), lines)


def shortlist(report: dict[str, Any], words: Words) -> str:
    """The comparison of the few models that a newcomer chooses among."""
    rows = [row for row in report["rows"] if SHORTLIST.get(row["name"]) == row["runtime"]]
    return benchmark({**report, "rows": rows}, words)


def draw_benchmark(report: dict[str, Any], path: Path, words: Words) -> None:
    """The picture of the comparison of all models, called what they are in the tables."""

    def name_of(row: dict[str, Any]) -> str:
        return re.sub("`.*` ", "", model_name(row, words))

    benchmark_report.draw(report["rows"], path, say=words.__getitem__, name_of=name_of)


def ablation(report: dict[str, Any], words: Words) -> str:
    """The recipes on the test titles; on the dev titles, where none has come to the test."""
    tested = [row for row in report["rows"] if row["split"] == "test"]
    return ablation_report.table({**report, "rows": tested or report["rows"]}, words)


def teacher_once(report: dict[str, Any], words: Words) -> str:
    """Distillation with the teacher in every step, and judging each title once."""
    lines = []
    for row in report["rows"]:
        minutes = f"{100 * row['seconds_a_1000_titles'] / 60:,.0f}"
        lines.append([words.get(row["name"], row["name"]), minutes, f"{row['ratio']:.1f}×"])
    table = markdown(words["table teacher_once"].format(report["epochs"]), lines)
    return f"{table}\n\n{words['from one pass'].format(report['titles'])}"


KINDS = {
    "speed": Kind("python -m experiments.speed", speed.table),
    "benchmark": Kind("python benchmark.py", benchmark, draw_benchmark),
    "shortlist": Kind("python benchmark.py", shortlist, draw_benchmark),
    "rows": Kind("python -m experiments.rows", rows.table, rows.draw),
    "students": Kind("python -m experiments.students", students.table, students.draw),
    "teacher_once": Kind("git restore results/teacher_once", teacher_once),  # its command is gone, its figures stay
    "ablation": Kind("python -m experiments.ablation", ablation, ablation_report.draw),
    "serving": Kind("python -m experiments.serving", serving_report.table),
    "calibration": Kind("python -m experiments.calibration", calibration.table),
    "label_errors": Kind("python -m experiments.label_errors", label_errors.table),
    "least_sure": Kind("python -m experiments.least_sure", least_sure.table),
    "bulk": Kind("python -m experiments.bulk", bulk_report.table),
    "tuning": Kind("python -m experiments.tuning", tuning_report.table),
    "ner": Kind("python -m experiments.ner", ner.table, ner.draw),
    "aspects": Kind("python -m experiments.aspects", aspects.table),
    "qa": Kind("python -m experiments.qa", qa.table, qa.draw),
}


@contextmanager
def in_font(words: Words) -> Iterator[None]:
    """Draw with a font that has the characters of a language.

    Raises:
        UserError: there is none.
    """
    from matplotlib import rc_context

    if words is CHINESE and cjk_font() is None:
        raise UserError("pictures in Chinese need a Chinese font: install one, such as Noto Sans CJK")
    with rc_context(class_axis([])[2]):
        yield


def use(kind: Kind, source: Path, function: Callable[..., Any], *args: Any) -> Any:
    """The result of a function on the figures in a file.

    Raises:
        UserError: they are not what the command writes.
    """
    try:
        return function(json.loads(source.read_text(encoding="utf-8")), *args)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as fault:
        raise UserError(f"{source} is damaged, unfinished or not of this kind: run `{kind.command}` again") from fault


def remake(page: Path, found: re.Match[str], sources: dict[Path, Kind]) -> str:
    """A table as it should be, from its first comment on; its file is added to `sources`.

    Raises:
        UserError: its kind is unknown, or its file is gone, damaged or unfinished.
    """
    marker, name, file, shown = found.groups()
    if name not in KINDS:
        raise UserError(f"{page} has {marker}: there is no such kind, take one of {', '.join(KINDS)}")
    kind, source = KINDS[name], RESULTS / file
    sources[source] = kind
    if not source.exists():
        if shown.strip():
            raise UserError(f"{page} has figures at {marker}, but there is no {source}: bring it back")
        return f"{marker}\n"
    text = use(kind, source, kind.table, PAGES[page])
    if not re.search(r"^(\|---.*\n\||- )", text, re.MULTILINE):
        raise UserError(f"{source} holds no figures yet: run `{kind.command}` to its end")
    return f"{marker}\n\n{text}\n\n"


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(ReadmeConfig, argv, __doc__)
    fresh: dict[Path, str] = {}
    sources: dict[Path, Kind] = {}
    pictures: dict[Path, Path] = {}
    stale = []
    for page in PAGES:
        try:
            text = page.read_text(encoding="utf-8")
        except (OSError, ValueError) as fault:
            raise UserError(f"{page} cannot be read: run this in the folder of the project") from fault
        pairs = list(TABLE.finditer(text))
        whole = {line for found in pairs for line in (found.start(), found.end())}
        if stray := next((found for found in COMMENT.finditer(text) if found.start() not in whole), None):
            raise UserError(f"{page} has {stray[0]}, which is no half of <!-- table: KIND FILE --> … <!-- /table -->")
        fresh[page] = TABLE.sub(lambda found, page=page: remake(page, found, sources), text)
        for before, after in zip(pairs, TABLE.finditer(fresh[page]), strict=True):
            if before[0] != after[0]:
                file = RESULTS / before[3]
                stale.append(f"{page}: {before[1]} is not what {file} says: run `python -m experiments.readme`")
        pictures |= {Path(os.path.normpath(page.parent / link)): page for link in PICTURE.findall(text)}
    for source, kind in sources.items():
        if not source.exists():
            print(f"there is no {source} yet: its table stays empty until `{kind.command}` has written it")
    if not config.check:
        for source, kind in sources.items():
            for end, words in ((".png", ENGLISH), (".zh.png", CHINESE)):
                if kind.draw and source.is_file() and (picture := source.with_suffix(end)) in pictures:
                    with in_font(words):
                        use(kind, source, kind.draw, picture, words)
        for page, text in fresh.items():
            atomic_write(page, lambda file, text=text: file.write(text.encode("utf-8")))
        print(f"{len(stale)} table(s) changed in {', '.join(map(str, PAGES))}")
        stale = []
    stale += [f"{page} shows {path}, which does not exist" for path, page in pictures.items() if not path.is_file()]
    if stale:
        raise UserError("\n".join(stale))


if __name__ == "__main__":
    run(main)
