"""An honest server, as small as it can be: the store in memory, behind real TLS.

It has no limits and no deadlines. What it is for: a test gives it a `twist`, which sees every answer and
every push before it is sent and may change it, and so it does all that a server can do to its clients.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import msgspec

from hushpost.client.clock import Clock
from hushpost.client.link import Address
from hushpost.crypto.identity import (
    AccountFingerprint,
    CertificateDigest,
    ClientNonce,
    InviteToken,
    JoinLink,
    Login,
    Manifest,
    ServerNonce,
    Signature,
    verify_chain,
)
from hushpost.crypto.prekeys import SealPrekey, SessionPrekey
from hushpost.crypto.primitives import random_bytes, sha256
from hushpost.errors import (
    BlobConflict,
    BlobIncomplete,
    HushpostError,
    InviteInvalid,
    NameTaken,
    ProtocolError,
    RequestsFull,
    StaleDevices,
    StaleId,
    StaleManifest,
    StaleSeal,
    StoreFull,
    UnknownAccount,
    UnknownBlob,
)
from hushpost.ids import AccountId, DeviceId, EnvelopeId, MailboxId, TokenHash
from hushpost.stores.base import (
    Envelope,
    Invitation,
    KeyUpdate,
    NewAccount,
    SealedDelivery,
    SealedSend,
    SealKey,
    SessionKey,
    mailbox_of,
)
from hushpost.stores.memory import MemoryBlobs
from hushpost.stores.post.memory import MemoryPost
from hushpost.wire.connection import BadRequest, ServerConnection
from hushpost.wire.frames import Chunk, FrameEnd
from hushpost.wire.messages import (
    Acknowledge,
    Acknowledged,
    Authenticate,
    Authenticated,
    DeviceKeys,
    Envelopes,
    Error,
    ErrorCode,
    GetEnvelopes,
    GetKeys,
    GetUsage,
    Hello,
    HelloAnswer,
    Keys,
    KeysPublished,
    Leave,
    Left,
    ManifestPut,
    PublishKeys,
    Push,
    PutManifest,
    PutPart,
    Register,
    Registered,
    RequestMessage,
    ResponseMessage,
    RetiredSeal,
    SendEnvelope,
    Stored,
    Subscribe,
    Subscribed,
    UsageAnswer,
    WaitingEnvelope,
)
from tests.client.depot import BLOB_REQUESTS, Depot
from tests.client.fakeserver import Credentials

CODES: dict[type[HushpostError], ErrorCode] = {
    BlobConflict: ErrorCode.BLOB_CONFLICT,
    BlobIncomplete: ErrorCode.INCOMPLETE,
    InviteInvalid: ErrorCode.INVITE_INVALID,
    NameTaken: ErrorCode.NAME_TAKEN,
    RequestsFull: ErrorCode.REQUESTS_FULL,
    StaleDevices: ErrorCode.STALE_DEVICES,
    StaleId: ErrorCode.STALE_ID,
    StaleManifest: ErrorCode.STALE_MANIFEST,
    StaleSeal: ErrorCode.STALE_SEAL,
    StoreFull: ErrorCode.FULL,
    UnknownAccount: ErrorCode.UNKNOWN_ACCOUNT,
    UnknownBlob: ErrorCode.UNKNOWN_BLOB,
}

Twist = Callable[[RequestMessage, ResponseMessage], ResponseMessage]
PushTwist = Callable[[list[WaitingEnvelope]], list[WaitingEnvelope]]


class Denied(HushpostError):
    """Not let in."""


class SmallServer:
    """What it holds is in `store`; what it was asked, in `seen`."""

    def __init__(self, credentials: Credentials, clock: Clock) -> None:
        self.credentials = credentials
        self.clock = clock
        self.store = MemoryPost(MemoryBlobs(), clock=lambda: float(clock.now()))
        self.depot = Depot()
        self.seen: list[RequestMessage] = []
        self.twist: Twist = lambda _, answer: answer
        self.twist_push: PushTwist = list
        self.connections: set[Peer] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        """Until their sockets are closed."""
        self.address: Address
        self.port = 0
        self.listener: asyncio.Server
        self.forgets_acknowledgements = False
        self.fallback_keys: dict[DeviceId, bytes] = {}
        """As they were published first."""
        self.drop_answers = 0
        """So many registrations are carried out, and then the connection breaks."""

    async def invite(self, inviter: AccountFingerprint | None = None) -> str:
        """A link that is good for one account."""
        token = InviteToken.random()
        hashed = TokenHash(sha256(token))
        await self.store.invite(Invitation(hashed, 1, self.clock.now() + 86_400))
        pin = self.credentials.secret.public.fingerprint
        return str(JoinLink(self.address.host, self.address.port, pin, token, inviter))

    async def start(self) -> None:
        """Listen; at the same port as before."""
        self.listener = await asyncio.start_server(
            self.handle, "127.0.0.1", self.port, ssl=self.credentials.tls
        )
        self.port = self.listener.sockets[0].getsockname()[1]
        self.address = Address("127.0.0.1", self.port, self.credentials.secret.public.fingerprint)

    async def stop(self) -> None:
        """Nobody gets through any more, and no socket is left."""
        self.listener.close()
        for writer in self.serving.values():
            writer.transport.abort()
        await asyncio.gather(*self.serving, return_exceptions=True)
        await self.listener.wait_closed()
        for _ in range(3):  # turns in which sockets are closed that never came to a handler
            await asyncio.sleep(0)

    @property
    def registrations(self) -> list[Register]:
        """Every registration that came, under one number."""
        return [msgspec.structs.replace(each, number=0) for each in self.seen if isinstance(each, Register)]

    def push_to(self, device: DeviceId, envelopes: list[WaitingEnvelope]) -> None:
        """Push something to a device that is subscribed."""
        (peer,) = [each for each in self.connections if each.device == device]
        peer.writer.write(peer.wire.send(Push(envelopes)))

    def cut(self) -> None:
        """End every connection in the middle of whatever it is doing."""
        for peer in list(self.connections):
            peer.writer.transport.abort()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer, task = Peer(self, writer), cast("asyncio.Task[None]", asyncio.current_task())
        self.connections.add(peer)
        self.serving[task] = writer
        try:
            await peer.serve(reader)
        except (OSError, ProtocolError):
            return
        finally:
            self.connections.discard(peer)
            peer.end()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            del self.serving[task]


class Peer:
    """One connection."""

    def __init__(self, server: SmallServer, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.store = server.store
        self.writer = writer
        self.wire = ServerConnection()
        self.nonces = (b"", b"")
        self.account = AccountId(bytes(16))
        self.device = DeviceId(bytes(16))
        self.cursor = 0
        self.last: tuple[RequestMessage, bytearray]
        """A request of blobs, and its data so far."""
        self.unsubscribe: Callable[[], None] = lambda: None

    def end(self) -> None:
        self.unsubscribe()
        self.writer.close()

    async def serve(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(1 << 16):
            self.wire.receive_data(data)
            while (event := self.wire.next_event()) is not None:
                if isinstance(event, BadRequest):
                    self.writer.write(self.wire.send(event.answer))
                    continue
                if isinstance(event, BLOB_REQUESTS | Chunk | FrameEnd):
                    self.take_blob(event)
                    continue
                if not isinstance(event, RequestMessage):
                    return
                self.server.seen.append(event)
                answer = await self.answer(event)
                if self.server.drop_answers and isinstance(event, Register):
                    self.server.drop_answers -= 1
                    return
                self.writer.write(self.wire.send(self.server.twist(event, answer)))
                if isinstance(answer, Subscribed | Acknowledged):
                    await self.push()

    def take_blob(self, event: RequestMessage | Chunk | FrameEnd) -> None:
        """A request of blobs, or a piece of its data, which comes before the answer."""
        if isinstance(event, Chunk):
            self.last[1].extend(event.data)
            return
        if isinstance(event, RequestMessage):
            self.server.seen.append(event)
            self.last = (event, bytearray())
            if isinstance(event, PutPart):
                return
        request, data = self.last
        try:
            answer, part = self.server.depot.answer(request, bytes(data))
        except HushpostError as error:
            answer, part = Error(request.number, CODES[type(error)], "no"), b""
        answer = self.server.twist(request, answer)
        self.writer.write(self.wire.send(answer, len(part)) + part)
        self.wire.wrote(len(part))

    async def answer(self, request: RequestMessage) -> ResponseMessage:
        try:
            return await self.carried_out(request)
        except Denied:
            return Error(request.number, ErrorCode.DENIED, "")
        except HushpostError as error:
            detail: list[bytes] = []
            if isinstance(error, StaleDevices | StaleManifest):
                detail = [error.manifest]
            if isinstance(error, StaleSeal):
                detail = [device + (key or b"") for device, key in error.keys.items()]
            retry = 5 if isinstance(error, StoreFull) else None
            return Error(request.number, CODES[type(error)], "no", retry, detail)

    async def carried_out(self, request: RequestMessage) -> ResponseMessage:
        number = request.number
        answer: ResponseMessage
        match request:
            case Hello():
                self.nonces = random_bytes(32), request.client_nonce
                statement = self.server.credentials.statement
                now = self.server.clock.now()
                answer = HelloAnswer(number, self.nonces[0], now, self.store.epoch, statement, [], {})
            case Register():
                answer = await self.register(request)
            case Authenticate():
                answer = await self.authenticate(request)
            case GetKeys():
                answer = await self.keys(request)
            case SendEnvelope():
                answer = await self.send(request)
            case Subscribe():
                self.cursor = request.after if request.epoch == self.store.epoch else 0
                self.unsubscribe()
                self.unsubscribe = self.store.subscribe(mailbox_of(self.device), self.wake)
                answer = Subscribed(number, self.store.epoch)
            case Acknowledge():
                if not self.server.forgets_acknowledgements:
                    await self.store.ack(mailbox_of(self.device), request.sequences)
                answer = Acknowledged(number)
            case _:
                answer = await self.upkeep(request)
        return answer

    async def upkeep(self, request: RequestMessage) -> ResponseMessage:
        number = request.number
        match request:
            case PublishKeys():
                return await self.publish(request)
            case PutManifest():
                manifest = Manifest.decode(request.manifest)
                devices = [device.id for device in manifest.devices]
                await self.store.put_manifest(self.account, manifest.version, request.manifest, devices)
                return ManifestPut(number)
            case GetEnvelopes():
                after = request.after if request.epoch == self.store.epoch else 0
                found = await self.waiting(after, min(request.max_count, 400))
                return Envelopes(number, self.store.epoch, found, False)
            case GetUsage():
                return UsageAnswer(number, await self.store.account_usage(self.account))
            case Leave():
                await self.store.leave(self.account)
                return Left(number)
            case _:
                raise ProtocolError("not served here")

    async def register(self, request: Register) -> Registered:
        manifest = Manifest.decode(request.manifest)
        account, (device, *_) = manifest.account.id, manifest.devices
        seal = SealPrekey.decode(request.seal_key)
        keys = tuple(SessionKey(SessionPrekey.decode(each).key_id, each) for each in request.one_time_keys)
        token = TokenHash(request.delivery_token_hash)
        seal_key = SealKey(seal.key_id, request.seal_key)
        self.server.fallback_keys[device.id] = request.fallback_key
        new = NewAccount(
            account, manifest.name, request.manifest, device.id, seal_key, keys, request.fallback_key, token
        )
        if manifest.version == 1:
            await self.store.enroll(new, TokenHash(sha256(request.invite)))
            return Registered(request.number, bytes(account))
        known = (await self.store.manifests(account, 0, 1_000))[-1]
        if known != request.manifest:
            if manifest.previous != Manifest.decode(known).hash:
                raise StaleManifest("not the next", manifest=known)
            verify_chain(Manifest.decode(known), [request.manifest])
            await self.store.recover(new, manifest.version)
        return Registered(request.number, bytes(account))

    async def authenticate(self, request: Authenticate) -> Authenticated:
        account, device = AccountId(request.account), DeviceId(request.device)
        credentials = self.server.credentials
        known = await self.store.device(device)
        if known is None or known.account != account or not known.listed:
            raise Denied("no")
        manifest = Manifest.decode((await self.store.manifests(account, 0, 1_000))[-1])
        listed = manifest.device(device)
        login = Login(
            credentials.secret.public.fingerprint,
            CertificateDigest.of(credentials.certificate),
            ServerNonce(self.nonces[0]),
            ClientNonce(self.nonces[1]),
            account,
            device,
        )
        if listed is None or not login.is_signed(listed.signing_key, Signature(request.signature)):
            raise Denied("no")
        self.account, self.device = account, device
        position = await self.store.position(mailbox_of(device))
        state = await self.store.key_state(device)
        return Authenticated(request.number, position.acknowledged, position.highest, state.one_time_keys)

    async def keys(self, request: GetKeys) -> Keys:
        account = AccountId(request.account) if request.account else None
        if account is None:
            named = await self.store.account_named(request.name)
            if named is None:
                raise UnknownAccount("no such account")
            account = named.id
        manifests = await self.store.manifests(account, request.known_version, 24)
        listed = (await self.store.devices(account)).devices
        seals = await self.store.seal_keys(account)
        wanted = [DeviceId(each) for each in request.want_sessions]
        sessions = await self.store.take_session_keys(account, wanted)
        devices = [
            DeviceKeys(bytes(each), seals.keys[each].signed, sessions.get(each, b""))
            for each in sorted(listed)
            if each in seals.keys
        ]
        return Keys(request.number, bytes(account), manifests, devices)

    async def publish(self, request: PublishKeys) -> KeysPublished:
        keys = tuple(SessionKey(SessionPrekey.decode(each).key_id, each) for each in request.one_time_keys)
        seal = SealPrekey.decode(request.seal_key) if request.seal_key else None
        update = KeyUpdate(
            keys,
            request.replace_all,
            request.fallback_key or None,
            SealKey(seal.key_id, request.seal_key) if seal else None,
            TokenHash(request.delivery_token_hash) if request.delivery_token_hash else None,
        )
        state = await self.store.publish(self.device, update)
        retired = [RetiredSeal(each.id, each.up_to) for each in state.retired]
        return KeysPublished(request.number, state.one_time_keys, retired)

    async def send(self, request: SendEnvelope) -> Stored:
        deliveries = tuple(
            SealedDelivery(DeviceId(each.device), each.seal_key_id, each.header)
            for each in request.recipients
        )
        token = TokenHash(sha256(request.delivery_token)) if request.delivery_token else None
        send = SealedSend(
            AccountId(request.account), EnvelopeId(request.envelope), deliveries, request.body, token
        )
        return Stored(request.number, list(await self.store.append_sealed(send)))

    def wake(self, sequence: int) -> None:
        task = asyncio.get_running_loop().create_task(self.push())
        self.server.tasks.add(task)
        task.add_done_callback(self.server.tasks.discard)

    async def push(self) -> None:
        found = await self.waiting(self.cursor, 200)
        if found and not self.writer.is_closing():
            self.cursor = found[-1].sequence
            twisted = self.server.twist_push(found)
            if twisted:
                self.writer.write(self.wire.send(Push(twisted)))

    async def waiting(self, after: int, count: int) -> list[WaitingEnvelope]:
        mailbox = MailboxId(self.device)
        found: list[Envelope] = await self.store.read(
            mailbox, after=after, max_count=count, max_bytes=512 * 1024
        )
        return [
            WaitingEnvelope(
                each.sequence,
                bytes(each.envelope or b""),
                each.seal_key_id,
                each.header,
                each.body,
                each.is_request,
            )
            for each in found
        ]


@asynccontextmanager
async def small_server(folder: Path, clock: Clock) -> AsyncIterator[SmallServer]:
    """One on a port of the loopback, for as long as the block lasts."""
    server = SmallServer(Credentials(folder, now=clock.now()), clock)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
