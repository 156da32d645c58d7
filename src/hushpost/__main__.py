"""The way in of `hush` and of `python -m hushpost`: Ctrl-C is an exit code from the first moment on.

Loading the commands takes a fifth of a second, in which nothing of theirs can catch it yet.
"""

from __future__ import annotations

import signal
import sys

INTERRUPTED = 130
"""`errors.ExitCode.INTERRUPTED`, which is not loaded yet."""

try:
    from hushpost.cli import main as _main
except KeyboardInterrupt:
    sys.exit(INTERRUPTED)


def main() -> None:
    """Run the command line and leave with its exit code.

    When that is decided, Ctrl-C comes too late: the interpreter would only print what it disturbed.
    """
    try:
        _main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
