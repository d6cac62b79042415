"""SHA256SUMS: the hashes of the files of an encoder, compared before the files are used.

    python -m core.bert.sums FOLDER     # write them anew, where the files were changed on purpose

The format is that of `sha256sum`, which compares them too: `sha256sum --check SHA256SUMS`.
"""

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

from core.console import UserError, quoted, run
from core.files import atomic_write, sha256

SUMS = "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\\]+)")
KINDS = (".safetensors", ".bin", ".json", ".txt")
FREE = ("finetune.json",)  # for people to change


def write_sums(folder: Path, names: Iterable[str] | None = None) -> None:
    """Write the hashes of weights, config and vocabulary in a folder: of the files named, or of all that lie there.

    Raises:
        UserError: there is no such file.
    """
    if names is None:
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if not (names := sorted(name for name in names if name.endswith(KINDS) and name not in FREE)):
        raise UserError(f"{folder} holds no file of an encoder: give the folder with its config.json and weights")
    lines = "".join(f"{sha256(folder / name)}  {name}\n" for name in names)
    atomic_write(folder / SUMS, lambda file: file.write(lines.encode("utf-8")))


def check_sums(folder: Path) -> bool:
    """Compare the files of a folder with its SHA256SUMS; returns whether it has one.

    Raises:
        UserError: a file is not the one that the hash was taken of.
    """
    path = folder / SUMS
    if not path.is_file():
        return False
    lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    sums = [found for line in lines if (found := LINE.fullmatch(line))]
    if not sums or len(sums) < len(lines):
        raise UserError(f"{path} is damaged: fetch it again, or run `python -m core.bert.sums {quoted(folder)}`")
    for found in sums:
        file = folder / found[2]
        if file.is_file() and sha256(file) != found[1]:
            raise UserError(
                f"{file} is not the file that {SUMS} tells of (damaged, or changed): fetch it again, or, where it was "
                f"changed on purpose, run `python -m core.bert.sums {quoted(folder)}`"
            )
    return True


def main() -> None:
    parser = argparse.ArgumentParser("python -m core.bert.sums", description=f"Write {SUMS} of an encoder anew.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    write_sums(folder)
    print((folder / SUMS).read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    run(main)
