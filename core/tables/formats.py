"""The formats that a table can have, told by the suffix of its file."""

from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from core.console import UserError, quoted

WRITTEN = (".csv", ".tsv", ".xlsx", ".jsonl", ".parquet")
SHEETS = (".xlsx", ".xlsm")
TABLES = (*WRITTEN, ".xlsm")
SHEET_ROWS = 1_048_576  # of a sheet at most, its header included
SAVE_AS = {
    ".xls": "an old Excel workbook: open it and save it as .xlsx",
    ".et": "a WPS workbook: open it and save it as .xlsx",
    ".ods": "an OpenDocument sheet: open it and save it as .xlsx",
    ".numbers": "a Numbers sheet: export it as .xlsx or .csv",
    ".json": "JSON: write a .jsonl file, one object a line",
}


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name, one that can be read or not."""
    return path.suffix.lower() in (*TABLES, *SAVE_AS)


def refuse_tables(data_dir: Path) -> None:
    """Refuse a table, or a folder with tables alone, where a data folder is wanted.

    Raises:
        UserError: it is one; the message names the import command.
    """
    tables = [data_dir] if data_dir.is_file() else sorted(filter(is_table, data_dir.glob("*")))
    if tables and not (data_dir / "class.txt").exists():
        into = data_dir if data_dir.is_dir() else "my_data"
        command = f"python utils.py import {quoted(tables[0])} --to {quoted(into)}"
        raise UserError(f"{data_dir} is no data folder; make one: {command}")


def require_suffix(path: Path, known: Collection[str]) -> str:
    """The suffix of a file, in small letters.

    Raises:
        UserError: none of the known ones.
    """
    suffix = path.suffix.lower()
    if suffix in known:
        return suffix
    if suffix in SAVE_AS:
        raise UserError(f"{path} is {SAVE_AS[suffix]}")
    raise UserError(f"{path} ends in none of {' '.join(known)}: its name must say what kind of table it is")


def need(library: str) -> None:
    """Refuse a format whose library is not there.

    Raises:
        UserError: the library is not installed.
    """
    if not find_spec(library):
        raise UserError(f"this format needs {library}: run `pip install {library}`, or use a .csv file")
