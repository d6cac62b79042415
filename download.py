"""Fetch an encoder of the hub, or public data, titles or entities, and make sure that every file is whole.

python download.py bert                             google-bert/bert-base-chinese, 400 MB, into bert-base-chinese/
python download.py rbt3                             another encoder, into a folder of its own below encoders/
python download.py owner/name                       likewise, any BERT of the hub
python download.py bert --mirror                    from https://hf-mirror.com; HF_ENDPOINT is heeded too
python download.py thucnews                         200,000 titles of 10 classes into data/thucnews/
python download.py cluener                          12,091 sentences with entities of 10 types into data/cluener/
python download.py cluener --mirror https://HOST    the same from HOST instead of https://raw.githubusercontent.com
python download.py --from FOLDER_OR_ZIP bert        from files fetched by hand; any other likewise
python download.py --check bert                     open what is there, offline, and compare its hashes; any folder too

What broke off goes on when the command is run again. `train.py --bert-path rbt3` takes an encoder by its name.
"""

import argparse
import itertools
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import public_data
from config import Config
from core import fetch
from core.bert import ask, hub
from core.bert.folder import find_weights, read_index, require_files
from core.bert.sums import SUMS, write_sums
from core.console import UserError, quoted, run
from core.fetch import FetchError, Remote, fault_in


@dataclass(frozen=True)
class Target:
    """Something to fetch; `ask` raises FetchError, `check` UserError."""

    name: str  # on the command line
    folder: Path
    needed: tuple[Sequence[str], ...]  # what must be there, each name with those that may stand in for it
    page: str  # where a person finds the files
    ask: Callable[[str | None, Sequence[str] | None], dict[str, Remote]]  # (mirror, names or all) -> what is known
    check: Callable[[Path], None]  # opens and compares the files in a folder
    next: str  # the command that uses it
    optional: tuple[str, ...] = ()
    make: Callable[[Path], dict[str, bytes]] = lambda folder: {}  # a folder of fetched files -> those of ours
    is_encoder: bool = False

    def names(self) -> list[str]:
        """All names that are of use, the preferred ones first."""
        return list(dict.fromkeys([*itertools.chain(*self.needed), *self.optional]))

    def missing(self, present: Collection[str]) -> str:
        """The needed names that are not among those present, as text; of weights in several files it is silent."""
        lacking = [names for names in self.needed if not set(names) & set(present)]
        return ", ".join(" or ".join(name for name in names if "index" not in name) for names in lacking)

    def is_whole(self, remotes: Mapping[str, Remote]) -> bool:
        """Whether the folder has the files, and what is made of them."""
        if any(fault_in(self.folder / file, remote) for file, remote in remotes.items()):
            return False
        made = {self.folder / file: content for file, content in self.make(self.folder).items()}
        return all(path.is_file() and path.read_bytes() == content for path, content in made.items())


def target_of(name: str, check: bool = False) -> Target:
    """What a name on the command line means; to check also a folder.

    Raises:
        ValueError: nothing.
    """
    if data := public_data.SETS.get(name):
        return Target(
            name=name,
            folder=Path("data") / name,
            needed=tuple((file,) for file in data.hashes),
            page=data.page,
            ask=data.ask,
            check=partial(check_data, name),
            next=data.next,
            make=data.make,
        )
    here = check and name != "" and Path(name).is_dir()
    encoder = hub.name_of("bert-base-chinese" if name == "bert" else name) or (name if here else None)
    if encoder is None:
        raise ValueError(name)
    folder, repo = Path(name) if here else hub.folder_of(encoder), hub.repo_of(encoder)
    default = folder == Config.bert_path
    return Target(
        name=name if hub.name_of(name) else "bert",
        folder=folder,
        needed=ask.NEEDED,
        page=f"{ask.HUB}/{repo}/tree/main or {ask.HUB_MIRROR}/{repo}/tree/main",
        ask=partial(ask.ask_hub, repo, optional=(optional := ask.OPTIONAL[: -1 if default else None])),
        check=check_encoder,
        next="python train.py" if default else f"python train.py --bert-path {quoted(encoder)}",
        optional=optional,
        is_encoder=True,
    )


def check_data(name: str, folder: Path) -> None:
    """Compare the hashes of a data set, and read it; UserError where a file differs or is missing."""
    data = public_data.SETS[name]
    for file, remote in data.ask(None).items():
        if fault := fault_in(folder / file, remote):
            raise UserError(f"{folder / file} {fault}: run `python download.py {name}`")
    data.look(folder)


def check_encoder(folder: Path) -> None:
    """Open weights, vocabulary and config as training does, and see that they fit together and are what they were."""
    from core.bert.encoder import describe

    require_files(folder)
    print(describe(folder))


def download(target: Target, mirror: str | None) -> None:
    """Fetch what is not there whole; the files wait in `.part` until all of them are.

    Raises:
        UserError: a file cannot be fetched, or is not what was promised.
    """
    part = target.folder / ".part"
    try:
        remotes = target.ask(mirror, None)
        if target.is_whole(remotes):
            print(f"{target.folder} is whole already")
            if target.is_encoder:
                write_sums(target.folder, remotes)
            return target.check(target.folder)
        fetch.fetch_all(remotes, part, target.folder)
    except FetchError as fault:
        raise UserError(
            f"{fault}: run this again to go on, try --mirror{'' if target.is_encoder else ' https://HOST'}, or save "
            f"{target.missing(())} from {target.page} and run `python download.py --from FOLDER {target.name}`"
        ) from fault
    install(target, part, remotes, "what came")


def take(target: Target, source: Path, mirror: str | None) -> None:
    """Take files that were fetched by hand.

    Raises:
        UserError: files are missing, damaged, not the published ones, or do not fit together.
    """
    part = target.folder / ".taken"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, exist_ok=True)
    try:
        found = fetch.copy_files(source, target.names(), part)
        if missing := target.missing(found):
            raise UserError(f"{source} lacks {missing}: fetch it from {target.page}")
        if target.is_encoder and (index := find_weights(part)).suffix == ".json":
            found += fetch.copy_files(source, read_index(index), part)
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
        made = target.make(part)
        for file, content in made.items():
            (part / file).write_bytes(content)
        target.check(part)
    except UserError as fault:
        shutil.rmtree(part, ignore_errors=True)
        raise UserError(str(fault).replace(str(part), origin)) from fault
    for file in dict.fromkeys([*files, *made]):
        (part / file).replace(target.folder / file)
    shutil.rmtree(target.folder / ".part", ignore_errors=True)
    if target.is_encoder:
        write_sums(target.folder, files)
    print(f"{target.folder} is whole")


def check(target: Target) -> None:
    """Look at what is there, without the network; UserError where something is missing or damaged."""
    if missing := target.missing([file for file in target.names() if (target.folder / file).is_file()]):
        raise UserError(f"{target.folder} lacks {missing}: run `python download.py {target.name}`")
    target.check(target.folder)
    if target.is_encoder:
        known = (target.folder / SUMS).is_file()
        print("the hashes are those of" if known else "hashes are not compared: there is no", SUMS)
    print(f"{target.folder} is in order")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        usage="%(prog)s [-h] [--mirror [URL]] [--from FOLDER_OR_ZIP] [--check] "
        f"{{bert,{','.join(public_data.SETS)},NAME,OWNER/NAME}}",
        description=f"{__doc__}\nEncoders by name, with repository and licence:\n\n{hub.table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", nargs="?", help="what to fetch")
    parser.add_argument("--mirror", nargs="?", const="", metavar="URL", help="fetch from this host; see above")
    parser.add_argument("--from", dest="source", type=Path, metavar="FOLDER_OR_ZIP", help="take files fetched by hand")
    parser.add_argument("--check", action="store_true", help="only look at what is there, offline")
    args = parser.parse_args(argv)
    if args.target is None and args.mirror:  # `--mirror bert`: the flag has taken the target for its address
        args.target, args.mirror = args.mirror, ""
    try:
        args.target = target_of(args.target or "", args.check)
    except ValueError:
        known = ", ".join(["bert", *public_data.SETS, *hub.ENCODERS])
        parser.error(f"say what to fetch: {known}, or owner/name of the hub")
    if args.check and (args.source or args.mirror is not None):
        parser.error("--check looks at what is there: leave out --from and --mirror")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    target: Target = args.target
    try:
        if args.check:
            check(target)
        elif args.source:
            take(target, args.source, args.mirror)
        else:
            download(target, args.mirror)
    except OSError as fault:
        raise UserError(
            f"cannot read or write {fault.filename or target.folder} ({fault.strerror or fault}): "
            "free some disk space, check the permissions, or close the program that uses it"
        ) from fault
    if target.is_encoder:
        print(f"licence: {hub.read_licence(target.folder)}")
    if not args.check:
        print(f"next: {target.next}")


if __name__ == "__main__":
    run(main)
