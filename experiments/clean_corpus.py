"""A pretraining corpus whose terms allow any use: hot lists that public repositories archive under MIT, and wiki text.

    git clone --depth 1 https://github.com/justjavac/weibo-trending-hot-search clones/weibo-trending-hot-search
    python -m experiments.clean_corpus --clones clones --without data/dev.txt data/test.txt --output corpus
    python pretrain_mlm.py --corpus corpus --minutes 120

SOURCES names the repositories; each that lies in --clones is read. --passages takes SQuAD-style JSON, such as the
training file of CMRC 2018 (Wikipedia, CC BY-SA 4.0). Texts of --without stay out, whatever their punctuation and width,
and so do passages that share text with the passages of a JSON file there. Writes a .txt file for each list,
and sources.json: texts, licence and commit of each.
"""

import json
import re
import subprocess
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.console import UserError, parse, progress, run
from core.files import atomic_write, write_json
from core.text.decode import open_text

SOURCES = {  # of which all have MIT in their LICENSE
    "justjavac/weibo-trending-hot-search": "topics of Weibo, since 2020",
    "justjavac/zhihu-trending-hot-questions": "questions of Zhihu, 2020 to 2025",
    "justjavac/zhihu-trending-top-search": "searches of Zhihu, since 2020",
    "lonnyzhang423/zhihu-hot-hub": "questions of Zhihu and how they begin, since 2021",
    "cxyfreedom/website-hot-hub": "titles of eight sites, since 2023",
}
LINK = re.compile(r"^\s*(?:[+*-]|\d+\.)\s*\[(.+?)\]\((?:\w+:|/)", re.MULTILINE)
HAN = re.compile(r"[\u4e00-\u9fff]")
MIN_HAN, MIN_HAN_SHARE, LONGEST = 4, 0.4, 480  # characters
SHARED = 13  # characters in a row that two passages share when one has the other's text
MAX_SHARED = 0.1  # of a passage


@dataclass
class CorpusConfig:
    """Where the clones lie, and what must not come in."""

    clones: Path = Path("clones")
    """Folder with clones of the repositories, each called by its name."""
    passages: tuple[Path, ...] = ()
    """SQuAD-style JSON files: their passages."""
    texts: tuple[Path, ...] = ()
    """Labelled files of one's own: their texts."""
    without: tuple[Path, ...] = ()
    """Labelled files, or SQuAD-style JSON, that a model will be judged by."""
    output: Path = Path("corpus")
    """Folder for the text files."""


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(CorpusConfig, argv, __doc__)
    here = {repo: config.clones / repo.partition("/")[2] for repo in SOURCES}
    here = {repo: folder for repo, folder in here.items() if folder.is_dir()}
    if not here and not config.passages:
        raise UserError(f"{config.clones} holds no clone of {', '.join(SOURCES)}: clone one with git")
    seen: set[str] = set()
    held: set[str] = set()
    for path in config.without:
        if path.suffix == ".json":
            held |= {run for passage in read_passages(path) for run in runs(key(passage))}
        else:
            seen |= {key(text) for text in read_texts(path)}
    counts: dict[str, Any] = {}

    def write(name: str, texts: Iterator[str], facts: dict[str, Any]) -> None:
        kept = list(keep(progress(texts, desc=name, unit="text"), seen))
        content = "".join(f"{text}\n" for text in kept)
        atomic_write(config.output / f"{name}.txt", lambda file: file.write(content.encode("utf-8", "replace")))
        counts[name] = {"texts": len(kept), "characters": sum(map(len, kept)), **facts}

    for repo, folder in here.items():
        facts = {"from": f"https://github.com/{repo}", "licence": "MIT", "commit": commit_of(folder)}
        for name, files in lists_of(folder, repo.partition("/")[2]).items():
            write(name, (text for file in files for text in read_list(file)), facts)
    for path in config.passages:
        passages = (passage for passage in read_passages(path) if share(key(passage), held) <= MAX_SHARED)
        write(path.stem, passages, {"from": path.name, "licence": "CC BY-SA 4.0"})
    for path in config.texts:
        write(f"{path.parent.name}_{path.stem}", iter(read_texts(path)), {"from": path.as_posix(), "licence": "own"})
    write_json(config.output / "sources.json", counts)
    print(f"{sum(source['texts'] for source in counts.values()):,} texts in {len(counts)} files of {config.output}")


def lists_of(folder: Path, name: str) -> dict[str, list[Path]]:
    """The files of each list in a clone: a folder for each site, or all of one site."""
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*")):
        parts = file.relative_to(folder).parts
        if file.suffix not in (".md", ".json") or len(parts) < 2 or parts[0] not in ("archives", "raw"):
            continue
        if file.suffix == ".json" and not file.name.startswith("hot-question-"):  # else the same titles as in Markdown
            continue
        site = parts[1] if len(parts) > 2 else ""
        found.setdefault("_".join(filter(None, (name, site))), []).append(file)
    return found


def read_list(file: Path) -> Iterator[str]:
    """The titles that a Markdown list links, or how the questions of a Zhihu JSON file begin."""
    content = file.read_text(encoding="utf-8", errors="replace")
    if file.suffix == ".md":
        yield from LINK.findall(content)
        return
    try:
        entries = json.loads(content)["data"]
        excerpts = [(entry.get("target") or {}).get("excerpt_area", {}).get("text", "") for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    yield from (text for text in excerpts if isinstance(text, str))


def read_passages(path: Path) -> Iterator[str]:
    """The passages of a SQuAD-style JSON file."""
    try:
        for article in json.loads(path.read_bytes())["data"]:
            yield from (paragraph["context"] for paragraph in article["paragraphs"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise UserError(f"{path} is no SQuAD-style JSON file: give one with data, paragraphs and context") from fault


def read_texts(path: Path) -> list[str]:
    """The texts of a labelled file."""
    with open_text(path) as text:
        return [line.rpartition("\t")[0] or line for line in text.lines()]


def keep(texts: Iterator[str], seen: set[str]) -> Iterator[str]:
    """Chinese texts that were not seen yet, on one line, their beginnings."""
    for raw in texts:
        text = " ".join(raw.replace("\\", "").split())
        han = len(HAN.findall(text))
        if han < MIN_HAN or han < MIN_HAN_SHARE * len(text) or (own := key(text)) in seen:
            continue
        seen.add(own)
        yield text[:LONGEST]


def key(text: str) -> str:
    """What two texts share that differ in punctuation, spaces, case and width alone."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).lower() if c.isalnum())


def runs(text: str) -> list[str]:
    """All runs of 13 characters."""
    return [text[start : start + SHARED] for start in range(max(0, len(text) - SHARED + 1))]


def share(text: str, held: set[str]) -> float:
    """The share of a text's runs that are among those held."""
    own = runs(text)
    return sum(run in held for run in own) / max(1, len(own))


def commit_of(folder: Path) -> str | None:
    """The commit of a clone; None where git does not tell."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


if __name__ == "__main__":
    run(main)
