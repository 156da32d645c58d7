"""A server process on loopback: started, watched, killed, started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

HUSH = str(Path(sys.executable).with_name("hush"))
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 60
"""Seconds for a server to end: far more than its own stop deadline."""


def obey_interrupts() -> None:
    """Have Ctrl-C do what it does at a terminal, in what this process starts as well.

    A shell's background jobs are started deaf to it, and hand that on.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


class DidNotStart(Exception):
    """The process ended before it listened.

    Attributes:
        code: its exit code.
        complaint: what it wrote to stderr, if that was kept.
    """

    def __init__(self, code: int, complaint: str) -> None:
        super().__init__(f"exit code {code}: {complaint.strip()}")
        self.code = code
        self.complaint = complaint


class ServerProcess:
    """A child whose first line on stdout ends in `:PORT`. As a context manager it ends with the block."""

    def __init__(
        self,
        command: list[str],
        folder: Path | None = None,
        *,
        environment: dict[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        """`log` gets its stderr."""
        self._log = log
        with (log or Path(os.devnull)).open("ab") as stderr:
            self._child = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            code = self._end(None)
            raise DidNotStart(code, log.read_text() if log else "")
        self.address = ("127.0.0.1", int(line.rpartition(":")[2]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def next_line(self) -> str:
        """What it prints on stdout next. Waits for it; empty if it has ended."""
        assert self._child.stdout is not None
        return self._child.stdout.readline().rstrip("\n")

    @property
    def host_port(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, and wait; its exit code. Harmless when it has ended."""
        return self._end(number)

    def _end(self, number: signal.Signals | None) -> int:
        if number is not None and self.alive:
            self._child.send_signal(number)
        code = self._child.wait(PATIENCE)
        if self._child.stdout:
            self._child.stdout.close()
        return code

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_mb(self) -> float:
        """Memory now."""
        return self._status("VmRSS")

    def own_mb(self) -> float:
        """Memory now, without what it maps of files."""
        return self._status("RssAnon")

    @property
    def pid(self) -> int:
        return self._child.pid

    def peak_mb(self) -> float:
        """The most memory so far."""
        return self._status("VmHWM")

    def _status(self, key: str) -> float:
        for line in Path(f"/proc/{self._child.pid}/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) / 1000
        raise LookupError(key)


def classic_server(data: Path, *options: str, port: int = 0) -> list[str]:
    """The command of our classic server."""
    listen = f"127.0.0.1:{port}"
    return [HUSH, "classic", "serve", "--listen", listen, "--data", str(data), *options]


def post_server(data: Path, *options: str, port: int = 0) -> list[str]:
    """The command of our server of version 3. On a new folder, the second line it prints ends in a link."""
    listen = f"127.0.0.1:{port}"
    return [HUSH, "serve", "--listen", listen, "--data", str(data), *options]


def with_descriptors(command: list[str], limit: int) -> list[str]:
    """The same command with a hard limit of open files."""
    return ["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *command]


NO_ADDRESS_LIMIT = ("--per-address", "1000000")
"""For load tests: all of the load comes from one address."""
