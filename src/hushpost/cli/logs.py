"""The server's log: one event a line on stderr, for people or as JSON. Never content, keys, names or ids."""

from __future__ import annotations

import logging
import sys

import structlog

from hushpost.settings import LogFormat


def configure_logs(log_format: LogFormat) -> None:
    """Send every event of `info` and above to stderr."""
    renderer: structlog.typing.Processor
    if log_format is LogFormat.JSON:
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
