"""The server's log: one event a line on stderr, for people or as JSON. Never content, keys, names or ids."""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import suppress

import structlog

from hushpost.settings import LogFormat


class _Lines:
    """Lines on stderr, which may be full, broken or closed: a server goes on when nobody listens."""

    def msg(self, line: str) -> None:
        if sys.stderr is not None:
            with suppress(OSError, ValueError):
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()

    info = warning = error = critical = msg


def announce(text: str, *, err: bool = False) -> None:
    """Say something once; whether anybody hears it must not end the server."""
    stream = sys.stderr if err else sys.stdout
    if stream is None:
        return
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except (OSError, ValueError):
        # What the stream still holds would be tried again when the process ends, and be an error then.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


def announce_event(sentence: str, *, as_json: bool, **fields: object) -> None:
    """What a server says once it serves: a sentence for people, or the fields as one line of JSON."""
    announce(json.dumps(fields) if as_json else sentence)


def configure_logs(log_format: LogFormat) -> None:
    """Send every event of `info` and above to stderr."""
    renderer: structlog.typing.Processor
    if log_format is LogFormat.JSON:
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr is not None and sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _Lines(),
    )
