"""`python -m benchmarks [NAME ...]`: run some or all."""

from __future__ import annotations

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import (
    accepts,
    contents,
    envelopes,
    fetches,
    files,
    filestream,
    first_message,
    idle,
    parts,
    post_store,
    sends,
    texts,
)


class Benchmark(StrEnum):
    ACCEPTS = "accepts"
    SENDS = "sends"
    FETCHES = "fetches"
    CONTENTS = "contents"
    IDLE = "idle"
    FIRST_MESSAGE = "first-message"
    ENVELOPES = "envelopes"
    FILESTREAM = "filestream"
    FILES = "files"
    PARTS = "parts"
    POST_STORE = "post-store"
    TEXTS = "texts"


MAINS = {
    Benchmark.ACCEPTS: accepts.main,
    Benchmark.SENDS: sends.main,
    Benchmark.FETCHES: fetches.main,
    Benchmark.CONTENTS: contents.main,
    Benchmark.IDLE: idle.main,
    Benchmark.FIRST_MESSAGE: first_message.main,
    Benchmark.ENVELOPES: envelopes.main,
    Benchmark.FILESTREAM: filestream.main,
    Benchmark.FILES: files.main,
    Benchmark.PARTS: parts.main,
    Benchmark.POST_STORE: post_store.main,
    Benchmark.TEXTS: texts.main,
}


def main(
    names: Annotated[list[Benchmark] | None, typer.Argument(help="Which; all without any.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where to keep the data: the disk to measure.")] = None,
) -> None:
    """Measure, and print a table and a line of JSON for each."""
    for name in names or list(Benchmark):
        with tempfile.TemporaryDirectory(dir=folder) as data:
            MAINS[name](Path(data))


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
