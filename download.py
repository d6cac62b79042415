"""Fetch bert-base-chinese, or the public news titles of THUCNews, and make sure that every file is whole.

python download.py bert                             google-bert/bert-base-chinese, 400 MB, into bert-base-chinese/
python download.py bert --mirror                    the same from https://hf-mirror.com; HF_ENDPOINT is heeded too
python download.py thucnews                         200,000 titles of 10 classes into data/thucnews/
python download.py thucnews --mirror https://HOST   the same from HOST instead of https://raw.githubusercontent.com
python download.py --from FOLDER_OR_ZIP bert        from files fetched by hand; thucnews likewise
python download.py --check bert                     open what is there, offline; thucnews likewise, with its hashes

What broke off goes on when the command is run again.
"""

import argparse
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from config import Config
from core import fetch
from core.console import UserError, run
from core.fetch import FetchError, Remote, fault_in

HUB, HUB_MIRROR = "https://huggingface.co", "https://hf-mirror.com"
BERT_REPO = "google-bert/bert-base-chinese"

RAW = "https://raw.githubusercontent.com"
THUCNEWS_REPO = "649453932/Chinese-Text-Classification-Pytorch"
THUCNEWS_SHA1 = {  # as git counts them
    "class.txt": "4c20bac1a8a6be2c207f0e97be4c279651d76d21",
    "dev.txt": "cf7f8de6fc3e3c72284ab59e7ed850f49b7185c0",
    "test.txt": "9c216ace7d0cf2c89fec1b4c9d49a92dc1791d0a",
    "train.txt": "ffe8979a12879da0747847aca49e9a6c1d29898f",
}
# The source's finance realty stocks education science society politics sports game entertainment.
THUCNEWS_CLASSES = "财经\n房产\n股票\n教育\n科技\n社会\n时政\n体育\n游戏\n娱乐\n".encode()


@dataclass(frozen=True)
class Target:
    """Something to fetch; `ask` raises FetchError, `check` UserError."""

    folder: Path
    files: tuple[str, ...]  # what is fetched
    needed: tuple[tuple[str, ...], ...]  # what must be there, each name with those that may stand in for it
    page: str  # where a person finds the files
    mirror_flag: str
    ask: Callable[[str | None, Iterable[str]], dict[str, Remote]]  # (mirror, names) -> what is known of the files
    check: Callable[[Path], None]  # opens and compares the files in a folder
    replaced: dict[str, bytes]  # our content of a file in place of the one fetched
    next: str  # the command that uses it

    def names(self) -> list[str]:
        """All names that are of use, the preferred ones first."""
        return list(dict.fromkeys([*self.files, *sum(self.needed, ())]))

    def missing(self, present: Collection[str]) -> str:
        """The needed names that are not among those present, as text."""
        return ", ".join(" or ".join(names) for names in self.needed if not set(names) & set(present))


def ask_hub(mirror: str | None, names: Iterable[str]) -> dict[str, Remote]:
    """Addresses, sizes and hashes as the hub tells them; a mirror vouches for its own files."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    endpoint = address(HUB_MIRROR if mirror == "" else mirror or os.environ.get("HF_ENDPOINT") or HUB)
    remotes = {}
    for name in names:
        url = hf_hub_url(BERT_REPO, name, endpoint=endpoint)
        try:
            facts = get_hf_file_metadata(url, token=False, timeout=fetch.PATIENCE)
        except Exception as fault:  # the HTTP library underneath differs between the versions of huggingface_hub
            raise FetchError(url, fetch.reason(fault)) from fault
        if len(facts.etag or "") not in (40, 64):
            raise FetchError(url, "it comes without a hash: this is no mirror of the hub")
        remotes[name] = Remote(url, facts.size, (facts.etag,))
    return remotes


def ask_github(mirror: str | None, names: Iterable[str]) -> dict[str, Remote]:
    """Addresses and hashes, all known beforehand."""
    if mirror == "":
        raise UserError(f"which mirror of {RAW}? Name it: python download.py thucnews --mirror https://HOST")
    folder = f"{address(mirror or RAW)}/{THUCNEWS_REPO}/master/THUCNews/data"
    hashes = {name: (THUCNEWS_SHA1[name],) for name in names}
    if "class.txt" in hashes:
        hashes["class.txt"] += (fetch.git_sha1(THUCNEWS_CLASSES),)
    return {name: Remote(f"{folder}/{name}", None, hashes[name]) for name in names}


def address(host: str) -> str:
    """`hf-mirror.com/` -> `https://hf-mirror.com`."""
    return (host if "://" in host else f"https://{host}").rstrip("/")


def check_bert(folder: Path) -> None:
    """Open weights, vocabulary and config as training does, and see that they fit together."""
    from bert_classifer_model import BertClassifier
    from core.bert.folder import read_tokenizer

    tokenizer = read_tokenizer(folder, Config.max_length)
    # Mapped to the file until this returns: Windows would not let the file be moved while the model is in use.
    bert = BertClassifier.from_pretrained(folder, num_labels=2).bert
    rows, width = bert.embeddings.word_embeddings.weight.shape
    print(f"the weights open; vocabulary: {len(tokenizer.vocab):,} tokens, embedding: {rows:,} rows of {width}")


def check_thucnews(folder: Path) -> None:
    """Compare the hashes, read the titles, and report those that stand in two files."""
    from core.measure.data_report import shared_titles
    from utils import read_labels, read_titles

    for name, remote in ask_github(None, THUCNEWS_SHA1).items():
        if fault := fault_in(folder / name, remote):
            raise UserError(f"{folder / name} {fault}: run `python download.py thucnews`")
    labels = read_labels(folder / "class.txt")
    splits = {name: read_titles(folder / f"{name}.txt", labels) for name in ("train", "dev", "test")}
    for name, titles in splits.items():
        print(f"{name}.txt: {'; '.join([f'{len(titles.texts):,} titles', *titles.warnings])}")
    for (one, other), shared in shared_titles(splits).items():
        print(f"{one}.txt and {other}.txt share {len(shared):,} title(s)")


TARGETS = {
    "bert": Target(
        folder=Config.bert_path,
        files=("config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json", "model.safetensors"),
        needed=(("config.json",), ("vocab.txt", "tokenizer.json"), ("model.safetensors", "pytorch_model.bin")),
        page=f"{HUB}/{BERT_REPO}/tree/main or {HUB_MIRROR}/{BERT_REPO}/tree/main",
        mirror_flag="--mirror",
        ask=ask_hub,
        check=check_bert,
        replaced={},
        next="python train.py",
    ),
    "thucnews": Target(
        folder=Path("data/thucnews"),
        files=tuple(THUCNEWS_SHA1),
        needed=tuple((name,) for name in THUCNEWS_SHA1),
        page=f"https://github.com/{THUCNEWS_REPO}/tree/master/THUCNews/data",
        mirror_flag="--mirror https://HOST",
        ask=ask_github,
        check=check_thucnews,
        replaced={"class.txt": THUCNEWS_CLASSES},
        next="python train.py --data-dir data/thucnews",
    ),
}


def download(name: str, mirror: str | None) -> None:
    """Fetch what is not there whole; the files wait in `.part` until all of them are.

    Raises:
        UserError: a file cannot be fetched, or is not what was promised.
    """
    target = TARGETS[name]
    part = target.folder / ".part"
    try:
        remotes = target.ask(mirror, target.files)
        if not any(fault_in(target.folder / file, remote) for file, remote in remotes.items()):
            print(f"{target.folder} is whole already")
            return target.check(target.folder)
        fetch.fetch_all(remotes, part, target.folder)
    except FetchError as fault:
        raise UserError(
            f"{fault}: run this again to go on, try {target.mirror_flag}, or save "
            f"{', '.join(target.files)} from {target.page} and run `python download.py --from FOLDER {name}`"
        ) from fault
    install(target, part, target.files, "what came")


def take(name: str, source: Path, mirror: str | None) -> None:
    """Take files that were fetched by hand.

    Raises:
        UserError: files are missing, damaged, not the published ones, or do not fit together.
    """
    target = TARGETS[name]
    part = target.folder / ".taken"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, exist_ok=True)
    try:
        found = fetch.copy_files(source, target.names(), part)
        if missing := target.missing(found):
            raise UserError(f"{source} lacks {missing}: fetch it from {target.page}")
        for preferred, *_ in target.needed:
            if preferred not in found and (target.folder / preferred).exists():
                raise UserError(f"{target.folder / preferred} would be read in place of what {source} has: delete it")
        try:
            remotes = target.ask(mirror, found)
        except FetchError as fault:
            print(f"{fault}: sizes and hashes are not compared")
            remotes = dict.fromkeys(found, Remote())
        for file, remote in remotes.items():
            fault = fault_in(part / file, remote)
            if fault and Path(file).suffix in (".txt", ".json"):  # git on Windows may have changed the line ends
                (part / file).write_bytes((part / file).read_bytes().replace(b"\r\n", b"\n"))
                fault = fault_in(part / file, remote)
            if fault:
                raise UserError(f"{file} of {source} {fault}: fetch it again from {target.page}")
        install(target, part, found, str(source))
    finally:
        shutil.rmtree(part, ignore_errors=True)


def install(target: Target, part: Path, files: Iterable[str], origin: str) -> None:
    """Check the files in `part` together and move them to their place."""
    try:
        for file, content in target.replaced.items():
            (part / file).write_bytes(content)
        target.check(part)
    except UserError as fault:
        shutil.rmtree(part, ignore_errors=True)
        raise UserError(str(fault).replace(str(part), origin)) from fault
    for file in files:
        os.replace(part / file, target.folder / file)
    shutil.rmtree(target.folder / ".part", ignore_errors=True)
    print(f"{target.folder} is whole")


def check(name: str) -> None:
    """Look at what is there, without the network; UserError where something is missing or damaged."""
    target = TARGETS[name]
    if missing := target.missing([file for file in target.names() if (target.folder / file).is_file()]):
        raise UserError(f"{target.folder} lacks {missing}: run `python download.py {name}`")
    target.check(target.folder)
    print(f"{target.folder} is in order")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        usage="%(prog)s [-h] [--mirror [URL]] [--from FOLDER_OR_ZIP] [--check] {bert,thucnews}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", nargs="?", choices=TARGETS, help="what to fetch")
    parser.add_argument("--mirror", nargs="?", const="", metavar="URL", help="fetch from this host; see above")
    parser.add_argument("--from", dest="source", type=Path, metavar="FOLDER_OR_ZIP", help="take files fetched by hand")
    parser.add_argument("--check", action="store_true", help="only look at what is there, offline")
    args = parser.parse_args(argv)
    if args.target is None and args.mirror in TARGETS:  # `--mirror bert`: the flag has taken the target for its address
        args.target, args.mirror = args.mirror, ""
    if args.target is None:
        parser.error(f"say what to fetch: {' or '.join(TARGETS)}")
    if args.check and (args.source or args.mirror is not None):
        parser.error("--check looks at what is there: leave out --from and --mirror")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        if args.check:
            return check(args.target)
        if args.source:
            take(args.target, args.source, args.mirror)
        else:
            download(args.target, args.mirror)
        print(f"next: {TARGETS[args.target].next}")
    except OSError as fault:
        raise UserError(
            f"cannot read or write {fault.filename or TARGETS[args.target].folder} ({fault.strerror or fault}): "
            "free some disk space, check the permissions, or close the program that uses it"
        ) from fault


if __name__ == "__main__":
    run(main)
