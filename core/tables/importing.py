"""The import command: labelled tables become a data folder, or corrections become part of one.

    python utils.py import news.xlsx --to my_data                         # class.txt train.txt dev.txt test.txt
    python utils.py import a.csv b.csv --text 标题 正文 --label 栏目 --to my_data
    python utils.py import train.csv --dev dev.csv --test test.csv --to my_data
    python utils.py import --add corrections.csv --to my_data             # columns text and label

Tables are XLSX, CSV, TSV (a .txt with tabs too), JSONL or Parquet; columns are found by their names. Dev and test are a
tenth each of every class; a text, and what differs from it in punctuation, spaces or width only, is in one part.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from core.console import UserError, listed, parse, quoted
from core.files import atomic_write
from core.tables.labelled import (
    Labelled,
    clean_labels,
    find_faults,
    name_classes,
    numbers_of,
    read_labelled,
    require_classes,
)
from core.tables.looks import ASPECTS, QUESTIONS, looks_of
from core.tables.split import group_rows, near_key, split_rows
from core.text.decode import open_text
from core.text.names import check_names, name_key

PARTS = ("train", "dev", "test")


@dataclass
class ImportConfig:
    """Knobs of the import."""

    command: Positional[Literal["import"]]
    """import: make a data folder of tables."""
    files: Positional[Annotated[tuple[Path, ...], arg(metavar="FILE")]] = ()
    """Tables of labelled texts: .xlsx .csv .tsv .txt .jsonl .parquet."""
    to: Annotated[Path | None, arg(constructor=Path, metavar="PATH", help_behavior_hint="(required)")] = None
    """The data folder to write."""
    dev: tuple[Path, ...] = ()
    """Tables that are dev.txt, where it was chosen before."""
    test: tuple[Path, ...] = ()
    """Tables that are test.txt, where it was chosen before."""
    add: Annotated[Path | None, arg(constructor=Path, metavar="PATH", help_behavior_hint="")] = None
    """A table of corrections (columns text and label) to merge into train.txt of --to; dev and test stay."""
    text: tuple[str, ...] = ()
    """Column of the texts, or several to be joined. Not given: the first that is called 标题, title, text, 内容, …"""
    label: str | None = None
    """Column of the labels. Not given: the first that is called 类别, 分类, 标签, label, category, …"""
    join: str = " "
    """What stands between the texts of several columns."""
    sheet: str | None = None
    """Sheet of a workbook. Not given: the first one with such columns, else the first one."""
    skip_bad: bool = False
    """Leave out texts with two labels and classes of too few texts, instead of stopping."""
    seed: int = 42
    """Of the shuffle that chooses dev and test."""

    def __post_init__(self) -> None:
        if self.to is None:
            raise UserError("--to is missing: name the data folder, for example --to my_data")
        if (self.add is None) == (not self.files):
            raise UserError("give the tables to import, or --add with a table of corrections")
        if self.add and (self.dev or self.test):
            raise UserError("--dev and --test go with an import, not with --add")


def main(argv: Sequence[str], read_names: Callable[[Path], list[str]], others: Mapping[str, str]) -> None:
    """Run the command.

    Args:
        argv: its words.
        read_names: data folder -> its class names in the order of their ids.
        others: what another task reads (see core/tables/looks.py) -> the module of that task.
    """
    config = parse(ImportConfig, argv, __doc__)
    if config.add:
        assert config.to is not None  # it has been refused otherwise
        add_corrections(config, read_names(config.to))
    else:
        import_tables(config, others)


def import_tables(config: ImportConfig, others: Mapping[str, str]) -> None:
    """Make a data folder of tables; see `main`.

    Raises:
        UserError: the folder holds a data set, a table cannot be read, or what it holds cannot be trained on.
    """
    assert config.to is not None  # it has been refused otherwise
    for name in ("class", *PARTS):
        if (path := config.to / f"{name}.txt").exists():
            raise UserError(f"{path} is there already: choose another folder for --to, or delete it")
    given = {"train": config.files, "dev": config.dev, "test": config.test}
    try:
        rows = read_labelled(given, config.text, config.label, config.join, config.sheet)
        clean_labels(rows)
        require_classes(rows)
    except UserError as fault:
        raise _next_step(config, others, fault) from fault
    cut = [part for part in ("dev", "test") if not given[part]]
    bad, faults = find_faults(rows, 1 + len(cut))
    if faults and not config.skip_bad:
        raise UserError(
            f"{len(faults)} fault(s), and nothing is written: mend them in the table, or leave these {len(bad)} row(s) "
            f"out with --skip-bad:{listed(faults)}"
        )
    if bad:
        print(f"  {len(bad)} row(s) left out: two labels for a text, or too few texts of a class")
        rows.keep([row for row in range(len(rows.texts)) if row not in bad])
        require_classes(rows)
    if repeated := len(rows.texts) - len(group_rows(rows.texts)):
        print(f"  {repeated} row(s) repeat the text of another, punctuation, spaces and width aside: kept in one part")
    labels = check_names(name_classes(rows), config.to / "class.txt")
    split = _split(rows, cut, config.seed)
    for part in reversed(PARTS):
        _write_lines(config.to / f"{part}.txt", (f"{rows.texts[row]}\t{rows.labels[row]}" for row in split[part]))
    _write_lines(config.to / "class.txt", labels)
    counts = {part: Counter(rows.labels[row] for row in chosen) for part, chosen in split.items()}
    print("rows of each class\n" + "".join(f"{part:>8}" for part in PARTS) + "   id class")
    for index, label in enumerate(labels):
        print("".join(f"{counts[part][label]:8d}" for part in PARTS) + f"  {index:3d} {label}")
    print("".join(f"{len(split[part]):8d}" for part in PARTS) + "      all")
    print(f"wrote class.txt train.txt dev.txt test.txt to {config.to}")
    to = quoted(config.to)
    print(f"look it over: python utils.py check {to}\ntrain: python train.py --data-dir {to}")


def _next_step(config: ImportConfig, others: Mapping[str, str], fault: UserError) -> UserError:
    """What to do about a fault: with the command of another task, where the first file looks like its own."""
    looks, path = looks_of(config.files[0]), config.files[0]
    if not looks:
        return fault
    command = f"python -m {others[looks]}.data"
    if looks == ASPECTS:  # or a table whose labels stand in a column that nobody knows
        files, to = " ".join(map(quoted, config.files)), quoted(config.to)
        return UserError(f"{fault}; or, if columns of it are aspects: {command} import {files} --to {to}")
    suffix = ".json" if looks == QUESTIONS else path.suffix
    return UserError(
        f"{path} holds labelled {looks}, no texts with a class each: put it into {config.to} as train{suffix}, a "
        f"dev{suffix} beside it, and run {command} check {quoted(config.to)}"
    )


def _split(rows: Labelled, cut: Sequence[str], seed: int) -> dict[str, list[int]]:
    """The rows of each part: those given for it, or those cut from train."""
    own = {part: [row for row, given in enumerate(rows.parts) if given == part] for part in PARTS}
    taken: set[str] = set()
    for part in reversed(PARTS):  # a text stands in the last of the parts that it was given for
        fresh = [row for row in own[part] if near_key(rows.texts[row]) not in taken]
        if len(fresh) < len(own[part]):
            print(f"  {len(own[part]) - len(fresh)} row(s) of {part} left out: the text stands in dev or test too")
        own[part] = fresh
        taken.update(near_key(rows.texts[row]) for row in fresh)
    pool = own["train"]
    split = split_rows([rows.texts[row] for row in pool], [rows.labels[row] for row in pool], cut, seed)
    return own | {part: [pool[row] for row in chosen] for part, chosen in split.items()}


def add_corrections(config: ImportConfig, labels: Sequence[str]) -> None:
    """Merge corrections into train.txt: a text that stands there gets its new label, another one is added at the end.

    Texts are the same that differ in punctuation, spaces or width alone. One that stands in dev.txt or test.txt is left
    out: no model trains on what judges it. A label that is a number is what the import made of it, or else an id.

    Args:
        config: which corrections, and where to.
        labels: class names of the data folder in the order of their ids.

    Raises:
        UserError: the corrections cannot be read, or one has a label that is no class.
    """
    assert config.to is not None and config.add is not None
    rows = read_labelled({"train": [config.add]}, config.text, config.label, config.join, config.sheet)
    keys = {name_key(name) for name in labels}
    ids = {str(index): name for index, name in enumerate(labels)}
    train = list(_labelled_lines(config.to / "train.txt"))
    with_ids = any(label in ids for _, label in train)
    meant = ids if with_ids else numbers_of(labels) or ids
    rows.labels = [name if name_key(name) in keys else meant.get(name.strip(), name) for name in rows.labels]
    strange = [row for row, name in enumerate(rows.labels) if name_key(name) not in keys]
    if strange:
        first = strange[0]
        raise UserError(
            f"{len(strange)} correction(s) to a class that {config.to / 'class.txt'} does not name, the first "
            f"{rows.labels[first]!r} in {rows.places[first]}: mend it, or add the class there as the last line"
        )
    clean_labels(rows, labels)
    judged = {near_key(text) for part in ("dev", "test") for text, _ in _labelled_lines(config.to / f"{part}.txt")}
    # Of two corrections of a text the later one counts.
    right = {near_key(text): (text, label) for text, label in zip(rows.texts, rows.labels, strict=True)}
    new = {key: correction for key, correction in right.items() if key not in judged}
    lines, changed, known = [], 0, set()
    for text, label in train:
        key = near_key(text)
        known.add(key)
        lines.append(f"{text}\t{new[key][1] if key in new else label}")
        changed += key in new and name_key(ids.get(label, label)) != name_key(new[key][1])
    added = [correction for key, correction in new.items() if key not in known]
    lines += [f"{text}\t{label}" for text, label in added]
    _write_lines(config.to / "train.txt", lines)
    print(f"{config.to / 'train.txt'}: {changed} label(s) changed, {len(added)} text(s) added")
    if len(new) < len(right):
        print(f"  {len(right) - len(new)} text(s) left out: they stand in dev or test, which stay as they are")
    print(f"train again: python train.py --data-dir {quoted(config.to)}")


def _labelled_lines(path: Path) -> Iterable[tuple[str, str]]:
    """The text and the label of each line of a labelled file; nothing where there is no file."""
    if not path.exists():
        return
    with open_text(path) as file:
        for line in file.lines():
            text, _, label = line.rpartition("\t")
            if text.strip():
                yield text.strip(), label.strip()


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    content = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
    atomic_write(path, lambda file: file.write(content))
