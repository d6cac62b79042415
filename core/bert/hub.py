"""Encoders of the hub by name: the repository and licence of each, and the folder that it lies in once fetched."""

import json
import re
from pathlib import Path
from typing import NamedTuple

from core.model_files.facts import UNKNOWN

FOLDER = Path("encoders")  # which holds what is fetched, but for bert-base-chinese
CARD = re.compile(r"---\n.*?\n---\n", re.DOTALL)
LICENCE = re.compile(r"^(license|license_name):[ \t]*(?:\n[ \t]*-[ \t]*)?[\"']?([^\"'\n#]+)", re.MULTILINE)
LONGEST_NAME = 200
JSON_FAULTS = (OSError, ValueError, AttributeError, RecursionError)
REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*")


class Encoder(NamedTuple):
    """A BERT of the hub: its repository, what its model card says of the licence, and what it is."""

    repo: str
    licence: str
    about: str


ENCODERS = {
    "bert-base-chinese": Encoder("google-bert/bert-base-chinese", "apache-2.0", "12 layers of 768, 412 MB"),
    "chinese-roberta-wwm-ext": Encoder("hfl/chinese-roberta-wwm-ext", "apache-2.0", "12 layers of 768, 412 MB"),
    "chinese-macbert-base": Encoder("hfl/chinese-macbert-base", "apache-2.0", "12 layers of 768, 412 MB"),
    "rbt3": Encoder("hfl/rbt3", "apache-2.0", "3 layers of 768, 156 MB"),
    "rbt4-h312": Encoder("hfl/rbt4-h312", "apache-2.0", "4 layers of 312, 46 MB"),
    "minirbt-h256": Encoder("hfl/minirbt-h256", "apache-2.0", "6 layers of 256"),
    "tinybert-4l-zh": Encoder("huawei-noah/TinyBERT_4L_zh", UNKNOWN, "4 layers of 312, 47 MB"),
    "tinybert-6l-zh": Encoder("huawei-noah/TinyBERT_6L_zh", UNKNOWN, "6 layers of 768, 244 MB"),
    "bert-base-cased": Encoder("google-bert/bert-base-cased", "apache-2.0", "English, 12 layers of 768"),
    "distilbert-base-cased": Encoder("distilbert/distilbert-base-cased", "apache-2.0", "English, 6 layers of 768"),
}


def name_of(text: str) -> str | None:
    """The name of an encoder that a person means, one of ENCODERS or `owner/name`; None: it cannot be one."""
    if text.lower() in ENCODERS:
        return text.lower()
    known = {encoder.repo.lower(): name for name, encoder in ENCODERS.items()}
    return known.get(text.lower(), text if REPO.fullmatch(text) else None)


def repo_of(name: str) -> str:
    """The repository of an encoder."""
    return ENCODERS[name].repo if name in ENCODERS else name


def folder_of(name: str) -> Path:
    """The folder that an encoder is fetched into."""
    return Path(name) if name == "bert-base-chinese" else FOLDER / name


def located(path: Path) -> Path:
    """The folder that a path means: itself, or where the encoder of this name lies; see `name_of`."""
    name = name_of(path.as_posix())
    return folder_of(name) if name and not path.exists() and folder_of(name).is_dir() else path


def table() -> str:
    """The encoders by name, a line each."""
    return "\n".join(
        f"  {name:<24} {encoder.repo:<33} {encoder.licence:<11} {encoder.about}" for name, encoder in ENCODERS.items()
    )


def read_licence(folder: Path) -> str:
    """The licence of an encoder: `license` in its config.json, or at the head of its README.md (a model card)."""
    try:
        found = json.loads((folder / "config.json").read_bytes()).get("license")
    except JSON_FAULTS:
        found = None
    try:
        card = CARD.match((folder / "README.md").read_bytes().decode("utf-8-sig", "replace").replace("\r\n", "\n"))
    except OSError:
        card = None
    if not found and card:
        said = dict(LICENCE.findall(card[0]))
        found = said.get("license_name") if said.get("license") in (None, "other") else said["license"]
    found = " ".join(found.split()) if isinstance(found, str) else ""
    return found if found and len(found) <= LONGEST_NAME and found.isprintable() else UNKNOWN
