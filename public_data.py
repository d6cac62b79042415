"""Public data sets: where their files are, the hashes of these, what is made of them, and a look at the whole."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core import fetch
from core.bert import ask
from core.console import UserError
from core.fetch import Remote

RAW = "https://raw.githubusercontent.com"
# The source's finance realty stocks education science society politics sports game entertainment.
THUCNEWS_CLASSES = "财经\n房产\n股票\n教育\n科技\n社会\n时政\n体育\n游戏\n娱乐\n".encode()
OFFICIAL = "official_"  # before the name of a file that another of this name is made from
CLUENER_DEV = slice(7, None, 8)  # lines of the official train


@dataclass(frozen=True)
class PublicData:
    """A data set in a repository of GitHub."""

    repo: str
    branch: str
    path: str
    hashes: Mapping[str, tuple[str, ...]]  # of each file, as git counts them, all versions that are whole
    make: Callable[[Path], dict[str, bytes]]  # a folder with these files -> those of ours
    look: Callable[[Path], None]  # reads a folder as training does
    next: str

    @property
    def page(self) -> str:
        """Where a person finds the files."""
        renamed = [f" (there {name.removeprefix(OFFICIAL)})" for name in self.hashes if name.startswith(OFFICIAL)]
        return f"https://github.com/{self.repo}/tree/{self.branch}/{self.path}{''.join(renamed)}"

    def ask(self, mirror: str | None, names: Sequence[str] | None = None) -> dict[str, Remote]:
        """Addresses and hashes of files, all known beforehand.

        Args:
            mirror: host to fetch from; None: GitHub.
            names: the files; None: all.

        Raises:
            UserError: a mirror is asked for and not named.
        """
        if mirror == "":
            raise UserError(f"which mirror of {RAW}? Name it: --mirror https://HOST")
        source = f"{ask.address(mirror or RAW)}/{self.repo}/{self.branch}/{self.path}"
        return {
            name: Remote(f"{source}/{name.removeprefix(OFFICIAL)}", None, self.hashes[name])
            for name in names or self.hashes
        }


def look_at_titles(folder: Path) -> None:
    """Read the titles, and report those that stand in two files."""
    from core.measure.data_faults import shared_titles
    from utils import read_labels, read_titles

    labels = read_labels(folder / "class.txt")
    splits = {name: read_titles(folder / f"{name}.txt", labels) for name in ("train", "dev", "test")}
    for name, titles in splits.items():
        print(f"{name}.txt: {'; '.join([f'{len(titles.texts):,} titles', *titles.warnings])}")
    for (one, other), shared in shared_titles(splits).items():
        print(f"{one}.txt and {other}.txt share {len(shared):,} title(s)")


def cut_cluener(folder: Path) -> dict[str, bytes]:
    """train.json and dev.json, cut from the official train, as the official dev is our test: its test is secret."""
    lines = (folder / f"{OFFICIAL}train.json").read_bytes().splitlines(keepends=True)
    dev = lines[CLUENER_DEV]
    del lines[CLUENER_DEV]
    return {"train.json": b"".join(lines), "dev.json": b"".join(dev)}


def look_at_entities(folder: Path) -> None:
    """Read the sentences and their entities."""
    from ner.data import read

    for name in ("train", "dev", "test"):
        split = read(folder / f"{name}.json")
        print(f"{name}.json: {'; '.join([f'{len(split):,} sentences', *split.warnings])}")


SETS = {
    "thucnews": PublicData(
        repo="649453932/Chinese-Text-Classification-Pytorch",
        branch="master",
        path="THUCNews/data",
        hashes={
            "class.txt": ("4c20bac1a8a6be2c207f0e97be4c279651d76d21", fetch.git_sha1(THUCNEWS_CLASSES)),
            "dev.txt": ("cf7f8de6fc3e3c72284ab59e7ed850f49b7185c0",),
            "test.txt": ("9c216ace7d0cf2c89fec1b4c9d49a92dc1791d0a",),
            "train.txt": ("ffe8979a12879da0747847aca49e9a6c1d29898f",),
        },
        make=lambda folder: {"class.txt": THUCNEWS_CLASSES},
        look=look_at_titles,
        next="python train.py --data-dir data/thucnews",
    ),
    "cluener": PublicData(
        repo="hemingkx/CLUENER2020",
        branch="main",
        path="BERT-CRF/data/clue",
        hashes={
            "official_train.json": ("313f699e302b015df92714c7eafcff86d93320aa",),
            "test.json": ("688707ef1b13c645c6561461f72b3413ac516257",),
        },
        make=cut_cluener,
        look=look_at_entities,
        next="python -m ner.train --data-dir data/cluener",
    ),
}
