"""How a script meets the person at the keyboard: UTF-8 output, one-sentence errors, exit codes."""

import sys
from collections.abc import Callable

# What PyTorch says, on one device or system or another, when memory has run out.
OUT_OF_MEMORY = ("out of memory", "allocate memory", "not enough memory")


class UserError(Exception):
    """A fault that the user can mend. Its text is one sentence: what is wrong, where, and the next step."""


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
        if isinstance(fault, RuntimeError) and not any(words in str(fault) for words in OUT_OF_MEMORY):
            raise
        sys.exit("error: out of memory: close other programs, or try a smaller --batch-size")
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        sys.stderr.close()
        sys.exit(0)
    except OSError as fault:
        sys.exit(f"error: {fault}: check the path, its permissions and the disk space")
