"""The command line of a script: flags, UTF-8 output, one-sentence errors, exit codes."""

import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

MIN_COLUMNS = 40  # of a terminal
MAX_LISTED = 20  # faults
# What PyTorch says, on one device or system or another, when memory has run out.
OUT_OF_MEMORY = ("out of memory", "allocate memory", "not enough memory")


class UserError(Exception):
    """A fault that the user can mend. Its text is one sentence: what is wrong, where, and the next step."""


class Stopped(UserError):
    """A Ctrl-C, or a request to end, that waited for the step at hand: what was done is saved."""


def listed(faults: Sequence[str]) -> str:
    """The first 20 faults, a line each, and how many more there are; the end of an error's sentence."""
    more = f"\n  … and {len(faults) - MAX_LISTED} more" if len(faults) > MAX_LISTED else ""
    return "".join(f"\n  {fault}" for fault in faults[:MAX_LISTED]) + more


def shorten(text: str) -> str:
    """The beginning of a text, quoted, for a message."""
    text = text.strip()
    return repr(text if len(text) <= 40 else text[:40] + "…")


def quoted(word: object) -> str:
    """A path or another word of a command that is told: where it needs them in double quotes, which any shell takes."""
    text = str(word)
    return text if re.fullmatch(r"[\w./\\:+=-]+", text) else f'"{text}"'


def first_line(fault: BaseException) -> str:
    """What a fault says, its first line, or what kind it is where it says nothing; for a message."""
    return (str(fault).splitlines() or [type(fault).__name__])[0][:200]


def use_utf8() -> None:
    """Print Chinese on any console or pipe, a Windows code page included; what cannot be written becomes `?`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")


def run(main: Callable[[], object]) -> None:
    """Run a script's `main` and exit: 0 done, 1 a fault told in one sentence, 2 a wrong flag, 130 Ctrl-C."""
    use_utf8()
    try:
        main()
    except UserError as fault:
        sys.exit(f"error: {fault}")
    except KeyboardInterrupt:
        print("\nstopped by Ctrl-C", file=sys.stderr)
        sys.exit(130)
    except (MemoryError, RuntimeError) as fault:
        if not is_out_of_memory(fault):
            raise
        sys.exit("error: out of memory: close other programs, or try a smaller --batch-size")
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        sys.stderr.close()
        sys.exit(0)
    except OSError as fault:
        sys.exit(f"error: {fault}: check the path, its permissions and the disk space")


def is_out_of_memory(fault: BaseException) -> bool:
    """Whether memory has run out, of the machine or of its GPU."""
    return isinstance(fault, MemoryError) or any(words in str(fault) for words in OUT_OF_MEMORY)


def progress(rows: Iterable[Any] | None = None, **looks: Any) -> Any:
    """A progress bar (tqdm's) on a terminal, nothing where the output goes to a file or a pipe.

    Args:
        rows: what is gone through; None: the bar is updated by hand.
        looks: further arguments of tqdm.
    """
    from tqdm import tqdm

    return tqdm(rows, **{"mininterval": 1.0, "disable": None, **looks})


@contextmanager
def printing_to(path: Path) -> Iterator[None]:
    """Have what is printed, progress and warnings included, go to the end of a file."""
    with path.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        yield


def require_one_or_more(config: Any, *names: str) -> None:
    """Refuse a knob of a config that is set and below 1."""
    for name in names:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise UserError(f"{flag(name)} is {value}: it must be 1 or more")


def require_share(config: Any, *names: str) -> None:
    """Refuse a knob of a config that is set and no share, 0 to 1."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 <= value <= 1:
            raise UserError(f"{flag(name)} is {value}: it must be 0 to 1")


def flag(name: str) -> str:
    """`batch_size` -> `--batch-size`."""
    return "--" + name.replace("_", "-")


Parsed = TypeVar("Parsed")


def parse(config_class: type[Parsed], argv: Sequence[str] | None, description: str | None) -> Parsed:
    """Read a config from the command line, and from the file that its flag --config names, if it has that flag.

    Args:
        config_class: a dataclass; its fields are the flags, the strings under them the help.
        argv: the arguments, or None for those of the process.
        description: the script's docstring, shown above the flags.

    Raises:
        UserError: the file cannot be read, or holds what is no knob of this config.
    """
    import tyro

    if shutil.get_terminal_size().columns < MIN_COLUMNS:  # where tyro's help would never end
        os.environ["COLUMNS"] = str(MIN_COLUMNS)
    args = _join_dashed(config_class, sys.argv[1:] if argv is None else argv)
    args = [*_flags_of_file(config_class, args), *args]
    spec = sys.modules["__main__"].__spec__
    program = f"python -m {spec.name}" if spec else None  # else the help of a package's script shows where it lies
    only_off = (tyro.conf.FlagCreatePairsOff,)
    return tyro.cli(config_class, prog=program, args=args, description=description, config=only_off)


def split_flags(config_class: type, argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The flags of a config with their values, and all other flags with theirs."""
    own = {"--help", "-h", *(flag(each.name) for each in fields(config_class))}
    parts: tuple[list[str], list[str]] = ([], [])
    other = False
    for part in argv:
        if part.startswith("--") or part == "-h":
            other = part.partition("=")[0].replace("_", "-") not in own
        parts[other].append(part)
    return parts


def _join_dashed(config_class: type, argv: Sequence[str]) -> list[str]:
    """Arguments in which a text that begins with a dash is that of its flag: `--text --a--` -> `--text=--a--`."""
    flags = {flag(each.name): str(each.type) for each in fields(config_class)}
    joined: list[str] = []
    for part in argv:
        before = joined[-1] if joined else ""
        known = part.partition("=")[0] in flags or part in ("-h", "--help", "-")
        if part.startswith("-") and not known and "str" in flags.get(before, "") and "tuple" not in flags[before]:
            joined[-1] = f"{before}={part}"
        else:
            joined.append(part)
    return joined


def read_knobs(path: Path) -> dict[str, Any]:
    """Values by name from a JSON file, or from one in TOML whose name ends in .toml; of both the dashes do not matter.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        knobs = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except OSError as fault:
        raise UserError(f"--config {path} cannot be read ({fault.strerror}): check the path") from fault
    except (ValueError, RecursionError) as fault:
        raise UserError(f"--config {path} is neither JSON nor, by its name, TOML ({fault}): mend it") from fault
    if not isinstance(knobs, dict) or any(isinstance(value, dict) for value in knobs.values()):
        raise UserError(f'--config {path} must hold knobs by name, such as {{"learning_rate": 1e-4}}: mend it')
    return {name.replace("-", "_"): value for name, value in knobs.items()}


def _flags_of_file(config_class: type, args: Sequence[str]) -> list[str]:
    """The knobs in the file that --config names, as flags; without those that are given as flags, which win."""
    given = [part.partition("=")[0].replace("_", "-") for part in args]
    names = [each.name for each in fields(config_class) if each.init]
    defaults = {each.name: each.default for each in fields(config_class)}
    if "config" not in names or "--config" not in given:
        return []
    names.remove("config")
    at = len(given) - 1 - given[::-1].index("--config")
    path = args[at].partition("=")[2] or next(iter(args[at + 1 :]), "")
    flags: list[str] = []
    for name, value in read_knobs(Path(path)).items():
        if name not in names:
            raise UserError(f"--config {path} has a knob {name}, which is none here: take of {', '.join(names)}")
        if flag(name) in given or (value is not True and value is defaults[name]):
            continue
        if value is None:
            raise UserError(f"--config {path} has no value for {name}: give one, or leave it out for the default")
        if isinstance(value, list):
            flags += [flag(name), *map(str, value)]
        else:
            flags.append(flag(name) if value is True else f"{flag(name)}={value}")  # tyro refuses False where it is odd
    return flags
