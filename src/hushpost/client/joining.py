"""Becoming somebody: a new account, or this device as the only one of an account that lost its others.

Everything is made and durable before anything is sent, and what is sent is durable as it is sent. So whatever
breaks, the same call goes on where it was, and sends the same bytes: a server that has the account already
answers as if it had just made it. Normative text: docs/spec/delivery.md, "Accounts".
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from hushpost.client.clock import Clock
from hushpost.client.context import device_account, known_me
from hushpost.client.link import Address, Greeting, Identity, Link, connect
from hushpost.client.refusals import Denied
from hushpost.client.store import Enrolment, Home, Me, StoreThread, Tables
from hushpost.client.store.joining import Begun
from hushpost.client.store.me import DeliveryToken
from hushpost.client.upkeep import SEAL_LIFETIME, note_unpublished, sign_prekeys
from hushpost.crypto.identity import (
    AccountFingerprint,
    AccountSecret,
    Device,
    InviteToken,
    JoinLink,
    Manifest,
    RecoverySeed,
    account_fingerprint,
    first_manifest,
)
from hushpost.crypto.prekeys import Owner, SealPrekey
from hushpost.crypto.primitives import SealSecret, sha256
from hushpost.crypto.ratchet import ONE_TIME_KEYS, DeviceAccount
from hushpost.errors import UsageError
from hushpost.names import check_name
from hushpost.wire.messages import Authenticated, Register, Registered


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for."""

    home: Home
    name: str
    invite: InviteToken | None
    inviter: AccountFingerprint | None

    @classmethod
    def of(cls, link: JoinLink, name: str) -> Wish:
        invite = link.token if isinstance(link.token, InviteToken) else None
        return cls(Home(link.host, link.port, link.server), name, invite, link.inviter)


def check_account_name(name: str) -> None:
    """Accept what an account may be called. Raises UsageError."""
    try:
        check_name(name)
    except ValueError as error:
        raise UsageError(f"nobody can be called so: {error}") from None


async def join(db: StoreThread, wish: Wish, clock: Clock) -> RecoverySeed | None:
    """Create the account; the seed of its recovery phrase, unless that was shown before.

    Raises:
        InviteInvalid, NameTaken: nothing was created; another call may ask for something else.
        UsageError: this profile is somebody already.
    """
    begun = await db.transaction(lambda t: _prepare(t, wish, clock.now()))
    await register(db, begun, clock)
    return begun.seed


def _prepare(t: Tables, wish: Wish, now: int) -> Begun:
    """The registration that was begun for this wish, or a new one."""
    me, begun = t.me.get(), t.joining.get()
    if me is not None and begun is not None and _same(me, wish):
        return begun
    if me is not None and me.enrolment is Enrolment.LEFT:
        raise UsageError(
            "this profile's account has left its server, and its history is here",
            hint="use another --profile",
        )
    if me is not None and me.enrolment is not Enrolment.PENDING:
        raise UsageError("this profile has joined already", hint="use --profile for another account")
    secret, seed = AccountSecret.random(), RecoverySeed.random()
    recovery_key = seed.secret.public
    fingerprint = account_fingerprint(secret.public, recovery_key)
    account = DeviceAccount.create()
    device = Device.consenting(account, fingerprint.id, account.signing_key, account.dh_key, now)
    manifest = first_manifest(secret, recovery_key, wish.name, [device])
    return keep(t, wish, Made(manifest, secret, account), seed, now)


def _same(me: Me, wish: Wish) -> bool:
    """Whether this is what was begun. The invitation is forgotten once it has served."""
    served = me.enrolment is not Enrolment.PENDING
    return (me.home, me.name) == (wish.home, wish.name) and (served or me.invite == wish.invite)


@dataclass(frozen=True, slots=True)
class Made:
    """An account as this device would have it: its secrets, and its next manifest with this device alone."""

    manifest: Manifest
    secret: AccountSecret
    account: DeviceAccount


def keep(t: Tables, wish: Wish, made: Made, seed: RecoverySeed | None, now: int) -> Begun:
    """Everything into the database: the registration is what can be sent again."""
    manifest, secret, account = made.manifest, made.secret, made.account
    device = manifest.devices[0]
    owner = Owner(manifest.account.id, device)
    before = t.me.get()
    if before is not None and before.home != wish.home:
        t.me.forget_server()
    t.me.forget_secrets()
    account.make_one_time_keys(t.prekeys.allow(ONE_TIME_KEYS, now))
    account.make_fallback_key()
    note_unpublished(t, account, now)
    t.olm.keep(account.pickle())
    seal = t.seals.add(SealSecret.random(), now + SEAL_LIFETIME, now)
    signed_seal = SealPrekey.by(account, owner, seal.key_id, seal.secret.public, seal.expires)
    one_time, fallback = sign_prekeys(account, owner)
    token = t.me.new_token(DeliveryToken.random())
    me = Me(
        account=manifest.account,
        device=device.id,
        name=wish.name,
        home=wish.home,
        enrolment=Enrolment.PENDING,
        account_secret=secret,
        invite=wish.invite,
        inviter=wish.inviter,
        created=now,
    )
    t.me.found(me)
    t.manifests.append(manifest, own=True)
    request = Register(
        0,
        bytes(wish.invite or b""),
        manifest.encode(),
        signed_seal.encode(),
        one_time,
        fallback,
        sha256(token.token),
    )
    begun = Begun(msgspec.msgpack.encode(request), seed)
    t.joining.begin(begun)
    return begun


async def register(db: StoreThread, begun: Begun, clock: Clock) -> None:
    """Send it, and note that the server has it. Nothing happens where that was noted before."""
    me = await db.reading(known_me)
    if me.enrolment is not Enrolment.PENDING:
        return
    link, _ = await meet(db, me, clock)
    try:
        await link.ask(msgspec.msgpack.decode(begun.request, type=Register), Registered)
    finally:
        await link.close()
    await db.transaction(lambda t: _enrolled(t, clock.now()))


def _enrolled(t: Tables, now: int) -> None:
    account = device_account(t)
    account.mark_published(account.unpublished)
    t.olm.keep(account.pickle())
    fallback, seal, token = t.prekeys.fallback(), t.seals.newest(), t.me.token()
    if fallback is not None:
        t.prekeys.fallback_published(fallback.key_id, now)
    if seal is not None:
        t.seals.published(seal.key_id, now)
    if token is not None:
        t.me.token_published(token.generation)
    t.me.enrolled(Enrolment.ENROLLED)


async def meet(db: StoreThread, me: Me, clock: Clock) -> tuple[Link, Greeting]:
    """Connect to the profile's server, check it, and keep what it said of itself.

    Raises:
        ServerUntrusted: somebody else is there. Unreachable: nobody is.
    """
    known = await db.reading(lambda t: t.me.statement())
    address = Address(me.home.host, me.home.port, me.home.pin)
    link, greeting = await connect(address, known, clock)
    if greeting.statement != known:
        await db.transaction(lambda t: t.me.keep_statement(greeting.statement))
    return link, greeting


@dataclass(frozen=True, slots=True)
class Entered:
    """A connection on which we have proved who we are. Whoever has it closes the link."""

    link: Link
    greeting: Greeting
    answer: Authenticated


async def enter(db: StoreThread, me: Me, clock: Clock) -> Entered:
    """Connect and log in; where the server does not let us in, once more, with fresh nonces.

    Raises:
        Denied: the server does not know this device.
        ServerUntrusted, Unreachable: see `meet`.
    """
    try:
        return await _log_in(db, me, clock)
    except Denied:
        return await _log_in(db, me, clock)


async def _log_in(db: StoreThread, me: Me, clock: Clock) -> Entered:
    """The device's secret stays in the store's thread."""
    link, greeting = await meet(db, me, clock)
    try:
        signer = await db.reading(device_account)
        answer = await link.authenticate(greeting, Identity(me.account.id, me.device, signer))
    except BaseException:
        await link.close()
        raise
    return Entered(link, greeting, answer)
