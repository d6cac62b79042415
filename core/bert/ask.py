"""What the hub says of the files of an encoder: addresses, sizes and hashes."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from core import fetch
from core.bert.folder import CONFIG_FILES, INDEX_FILES, VOCAB_FILES, WEIGHT_FILES, read_index
from core.fetch import FetchError, Remote

HUB, HUB_MIRROR = "https://huggingface.co", "https://hf-mirror.com"
NEEDED = (CONFIG_FILES[:1], VOCAB_FILES, (*WEIGHT_FILES, *INDEX_FILES))  # of each the first that is there
OPTIONAL = ("tokenizer.json", "tokenizer_config.json", "README.md")


def ask_hub(
    repo: str, mirror: str | None, names: Sequence[str] | None, optional: Sequence[str] = OPTIONAL
) -> dict[str, Remote]:
    """Addresses, sizes and hashes of files as the hub tells them; a mirror vouches for its own files.

    Args:
        repo: `owner/name`.
        mirror: host to ask in place of HF_ENDPOINT or the hub; "": the known mirror.
        names: the files; None: all that an encoder needs, and those of the optional ones that there are.
        optional: names of files that are of use.

    Raises:
        FetchError: there is no answer, no such repository, or a file is missing.
    """
    endpoint = address(HUB_MIRROR if mirror == "" else mirror or os.environ.get("HF_ENDPOINT") or HUB)
    remotes: dict[str, Remote] = {}

    def find(*others: str) -> str:
        for name in others:
            if remote := _head(repo, name, endpoint):
                remotes[name] = remote
                return name
        raise FetchError(f"{endpoint}/{repo}/resolve/main/{others[0]}", "the server answers 404")

    for each in NEEDED if names is None else ((name,) for name in names):
        found = find(*each)
    if names is None:
        if found in INDEX_FILES:
            with tempfile.TemporaryDirectory() as folder:
                fetch.fetch(remotes[found].url, index := Path(folder) / found, remotes[found].size)
                shards = read_index(index)
            for shard in shards:
                find(shard)
        remotes |= {name: remote for name in optional if (remote := _head(repo, name, endpoint))}
    return remotes


def _head(repo: str, name: str, endpoint: str) -> Remote | None:
    """What is known of a file; None: there is none."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repo, name, endpoint=endpoint)
    try:
        facts = get_hf_file_metadata(url, token=False, timeout=fetch.PATIENCE)
    except Exception as fault:  # the HTTP library underneath differs between the versions of huggingface_hub
        status = getattr(getattr(fault, "response", None), "status_code", None)
        if status == 404:
            return None
        if status in (401, 403):
            raise FetchError(url, f"there is no {repo}, or it asks for a login") from fault
        raise FetchError(url, fetch.reason(fault)) from fault
    etag = facts.etag or ""
    if len(etag) not in (40, 64):
        raise FetchError(url, "it comes without a hash: this is no mirror of the hub")
    return Remote(url, facts.size, (etag,))


def address(host: str) -> str:
    """`hf-mirror.com/` -> `https://hf-mirror.com`."""
    return (host if "://" in host else f"https://{host}").rstrip("/")
