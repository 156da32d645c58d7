"""`python -m benchmarks [NAME ...]`: run some or all."""

from __future__ import annotations

import tempfile
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.scale import begin_smoke


class Benchmark(StrEnum):
    """The modules with a `main(folder)`."""

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


def main(
    names: Annotated[list[Benchmark] | None, typer.Argument(help="Which; all without any.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where to keep the data: the disk to measure.")] = None,
    *,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Only see whether they work: little of all.")
    ] = False,
) -> None:
    """Measure, and print a table and a line of JSON for each.

    What is missed is told and ends nothing; what breaks ends it with another exit code than 0.
    """
    if smoke:
        begin_smoke()
    for name in names or list(Benchmark):
        benchmark = import_module(f"benchmarks.{name.replace('-', '_')}")  # now that its size is known
        with tempfile.TemporaryDirectory(dir=folder) as data:
            benchmark.main(Path(data))


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
