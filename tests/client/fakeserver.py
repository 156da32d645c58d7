"""A server that does what a test says, behind real TLS and a real statement: for everything that an honest
server never does."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hushpost.client.link import ALPN, Address
from hushpost.crypto.identity import LeafKeyDigest, ServerSecret, ServerStatement
from hushpost.errors import ProtocolError
from hushpost.wire.connection import ServerConnection
from hushpost.wire.messages import EventMessage, Hello, HelloAnswer, RequestMessage, ResponseMessage

EPOCH = bytes(16)
NOW = 1_800_000_000

Reply = ResponseMessage | EventMessage | bytes
"""Bytes are sent as they are."""

Script = Callable[[RequestMessage], list[Reply]]


class Credentials:
    """A server's identity key, certificate and statement."""

    def __init__(
        self, folder: Path, serial: int = 1, secret: ServerSecret | None = None, now: int = NOW
    ) -> None:
        self.secret = secret or ServerSecret.random()
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hushpost")])
        day = datetime.timedelta(days=1)
        today = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(today - day)
            .not_valid_after(today + day)
            .sign(key, hashes.SHA256())
        )
        self.certificate = certificate.public_bytes(serialization.Encoding.DER)
        digest = LeafKeyDigest.of(self.certificate)
        statement = ServerStatement.by(self.secret, digest, serial, now - 86_400, now + 400 * 86_400)
        self.statement = statement.encode()
        pem = serialization.Encoding.PEM
        path = folder / f"server-{serial}.pem"
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(certificate.public_bytes(pem) + private)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self.tls.set_alpn_protocols([ALPN])
        self.tls.load_cert_chain(path)

    def hello(self, request: Hello) -> HelloAnswer:
        return HelloAnswer(request.number, bytes(32), NOW, EPOCH, self.statement, [], {})


class FakeServer:
    """Every request goes to the script, whose replies are sent in their order."""

    def __init__(self, credentials: Credentials, script: Script) -> None:
        self.credentials = credentials
        self.script = script
        self.seen: list[RequestMessage] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.address: Address
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = ServerConnection()
        self.writers.append(writer)
        try:
            while data := await reader.read(65536):
                wire.receive_data(data)
                while (event := wire.next_event()) is not None:
                    if not isinstance(event, RequestMessage):
                        return
                    self.seen.append(event)
                    for reply in self.script(event):
                        writer.write(reply if isinstance(reply, bytes) else wire.send(reply))
        except (OSError, ProtocolError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def serving(credentials: Credentials, script: Script) -> AsyncIterator[FakeServer]:
    """Such a server on a port of the loopback, for as long as the block lasts."""
    fake = FakeServer(credentials, script)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0, ssl=credentials.tls)
    host, port = server.sockets[0].getsockname()[:2]
    fake.address = Address(host, port, credentials.secret.public.fingerprint)
    try:
        yield fake
    finally:
        server.close()
        for writer in fake.writers:
            writer.close()
        await server.wait_closed()
        await asyncio.sleep(0)
