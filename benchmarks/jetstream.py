"""A peer to compare with: NATS JetStream, told to sync before it answers, over TLS as well.

It neither knows its clients nor looks at what they send; in common we have that an answer means that the
message is on the disk.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.tls_echo import write_certificate
from harness.lines import Line
from harness.process import ServerProcess

BINARY = str(Path(sys.executable).with_name("nats-server"))
STREAM = "post"
ANSWERS = "answers"

CONFIGURATION = """
listen: "127.0.0.1:{port}"
tls {{ cert_file: {certificate}, key_file: {certificate}, handshake_first: true }}
jetstream {{ store_dir: {store}, sync_interval: always }}
"""

START = 'echo "listening on 127.0.0.1:$1"; exec "$2" -c "$3"'
"""It does not say on stdout where it listens, nor when."""

PATIENCE = 30.0
"""Seconds for it to listen."""


@contextmanager
def jetstream(folder: Path) -> Iterator[ServerProcess]:
    """A server with its data in this folder, for as long as the block lasts."""
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = folder / "nats.conf"
    certificate = folder / "certificate.pem"
    write_certificate(certificate)
    paths = {"certificate": json.dumps(str(certificate)), "store": json.dumps(str(folder / "store"))}
    settings.write_text(CONFIGURATION.format(port=port, **paths))
    with ServerProcess(["sh", "-c", START, "sh", str(port), BINARY, str(settings)]) as server:
        _wait(server)
        yield server


def _wait(server: ServerProcess) -> None:
    """Until it listens."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(server.address).close()
        except ConnectionRefusedError:
            if time.monotonic() > until or not server.alive:
                raise
            time.sleep(0.05)
        else:
            return


class Publish:
    """One message, again and again, whose answers go to a place of their sender's."""

    def __init__(self, subject: str, sender: str, payload: bytes) -> None:
        self._frame = f"PUB {subject} {ANSWERS}.{sender} {len(payload)}\r\n".encode() + payload + b"\r\n"

    def frame(self, number: int) -> bytes:
        return self._frame


class StreamLine(Line):
    """One connection. What comes in are lines of text; an answer is one of JSON."""

    def buffer_updated(self, nbytes: int) -> None:
        self.count(nbytes)

    async def enter_as(self, sender: str, *, make: bool = False) -> None:
        """Have its answers sent here, after the stream was made where that is asked for."""
        self.transport.write(f'CONNECT {{"verbose": false}}\r\nSUB {ANSWERS}.{sender} 1\r\n'.encode())
        if make:
            stream = json.dumps({"name": STREAM, "subjects": [f"{STREAM}.>"], "storage": "file"})
            await self.load(Publish(f"$JS.API.STREAM.CREATE.{STREAM}", sender, stream.encode()), 1, 1)

    def answered(self, data: bytes) -> tuple[int, int]:
        end = data.rfind(b"\r\n") + 2 if b"\r\n" in data else 0
        lines = data[:end].split(b"\r\n")
        if refused := [line for line in lines if line.startswith(b"-ERR") or b'"error"' in line]:
            raise RuntimeError(f"a send was answered with {refused[0]!r}")
        if b"PING" in lines:
            self.transport.write(b"PONG\r\n")
        return sum(line.startswith(b"{") for line in lines), end
