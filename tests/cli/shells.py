"""How a test types a command: in this process, where that shows the same, or in one of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from harness.process import HUSH
from hushpost.cli import main


class Outcome:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def lines(self) -> list[dict[str, Any]]:
        assert self.code == 0, self.err
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Shell:
    """Runs `hush` in this process, with this environment besides."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Outcome:
        self.monkeypatch.setattr(sys, "argv", ["hush", *arguments])
        self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        with self.monkeypatch.context() as inside:
            for name, value in self.environment.items():
                inside.setenv(name, value)
            with pytest.raises(SystemExit) as leaving:
                main()
        printed = self.capsys.readouterr()
        assert isinstance(leaving.value.code, int)
        return Outcome(leaving.value.code, printed.out, printed.err)


def apart(
    *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None, timeout: float = 60
) -> Outcome:
    """In a process of its own, without a terminal."""
    done = subprocess.run(
        [HUSH, *arguments],
        input=stdin,
        capture_output=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())
