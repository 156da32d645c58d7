"""The baseline server: bare uvloop TLS that answers each frame with as many bytes as `Stored` has."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import time
from pathlib import Path
from typing import cast

import uvloop

from hushpost.crypto.identity import LeafCertificate
from hushpost.wire.frames import Frame, FrameDecoder, Limits, RequestHeader, ResponseHeader

PAYLOAD = b"\x92\xce\x80\x00\x00\x00\x91\xce\x00\x00\x00\x00"
ANSWER = ResponseHeader(3, 1003, len(PAYLOAD)).encode() + PAYLOAD

_scratch = memoryview(bytearray(1 << 18))


class Echo(asyncio.BufferedProtocol):
    """Counts frames, and answers so many."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder(RequestHeader, Limits(1 << 20, 1 << 20))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _scratch

    def buffer_updated(self, nbytes: int) -> None:
        self._decoder.receive_data(_scratch[:nbytes])
        count = 0
        while isinstance(self._decoder.next_event(), Frame):
            count += 1
        if count:
            self._transport.write(ANSWER * count)


def write_certificate(path: Path) -> None:
    """A certificate of today with its key, as our server has one."""
    now = int(time.time())
    leaf = LeafCertificate.make(now, now + 86_400)
    path.write_text(leaf.secret.decode() + ssl.DER_cert_to_PEM_cert(leaf.certificate))


def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.set_alpn_protocols(["hushpost/3"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "certificate.pem"
        write_certificate(path)
        made.load_cert_chain(path)
    return made


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=context(), backlog=4096)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    stopped = asyncio.Event()
    loop.add_signal_handler(15, stopped.set)
    await stopped.wait()


if __name__ == "__main__":
    uvloop.run(main())
