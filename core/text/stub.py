"""What lies in place of a file that was never fetched: a git-lfs pointer, a web page."""

from pathlib import Path

from core.console import UserError

POINTER = b"version https://git-lfs"
PAGES = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<!--")


def describe_stub(path: Path) -> str | None:
    """What a file is in place of its content; None where it may be what its name says.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            beginning = file.read(1024)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: check the path") from None
    except OSError as fault:
        raise UserError(f"cannot read {path} ({fault.strerror}): check the path and its permissions") from fault
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(POINTER):
        return "a git-lfs pointer"
    return "a web page (HTML)" if text.startswith(PAGES) else None


def refuse_stub(path: Path) -> None:
    """Refuse a file that is a git-lfs pointer or a web page.

    Raises:
        UserError: it is, or it cannot be read.
    """
    if stub := describe_stub(path):
        raise UserError(
            f"{path} is {stub}, not the file itself: fetch it again, by `git lfs pull` or its download link"
        )
