"""Following other accounts: their manifests, whoever brings them, and the keys that a server hands out.

Nothing is used of an answer in which one thing is refused. What the checks find is written down as alarms.
Normative text: docs/spec/keys.md, "Believing a manifest", and docs/spec/delivery.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hushpost.client import journal
from hushpost.client.context import Context, device_account
from hushpost.client.link import Link
from hushpost.client.store import Tables
from hushpost.client.values import Alarm, Trust
from hushpost.crypto.identity import (
    NO_MANIFEST,
    AccountFingerprint,
    KeyReplaced,
    Manifest,
    ManifestFault,
    verify_chain,
)
from hushpost.crypto.prekeys import Bundle, Owner, PrekeyCheck, PrekeyFault
from hushpost.errors import ManifestError, PrekeyError, ProtocolError
from hushpost.ids import AccountId, DeviceId
from hushpost.wire.messages import DeviceKeys, GetKeys, Keys

MAX_PAGES = 50
"""Answers of one chain: more manifests than this client keeps of one account do not fit into them."""

_ALARMS: dict[str, Alarm] = {ManifestFault.FORK: Alarm.FORK, ManifestFault.ROLLBACK: Alarm.ROLLBACK}


@dataclass(frozen=True, slots=True)
class Followed:
    """What is known of an account after something new was shown; nothing of it is stored yet.

    Attributes:
        fresh: the manifests that are new, oldest first.
    """

    known: Manifest | None
    fresh: tuple[Manifest, ...]
    newest: Manifest
    replaced: tuple[KeyReplaced, ...]


def follow(t: Tables, pin: AccountFingerprint | AccountId, later: Sequence[bytes]) -> Followed:
    """Verify what comes after what is known of an account.

    Args:
        pin: where nothing is known yet: what the first manifest must fit.
        later: oldest first; they may begin with what is known.

    Raises:
        ManifestError: any of `ManifestFault`.
    """
    known = t.manifests.newest(_id(pin))
    if known is not None and isinstance(pin, AccountFingerprint) and known.account != pin:
        raise ManifestError(ManifestFault.WRONG_ACCOUNT)
    shown = [Manifest.decode(raw) for raw in later]
    verified = verify_chain(known or pin, later)
    fresh = tuple(each for each in shown if known is None or each.version > known.version)
    return Followed(known, fresh, verified.newest, verified.replaced)


def absorb(t: Tables, followed: Followed, now: int) -> Manifest:
    """Keep it, and write down what the user must see. The newest manifest is returned."""
    for each in followed.fresh:
        t.manifests.append(each)
    newest, known = followed.newest, followed.known
    person = t.people.get(newest.account.id)
    if person is None:
        return newest
    if followed.replaced and person.trust is Trust.VERIFIED:
        t.people.trusts(person.account, Trust.CHANGED, person.how)
        journal.alarm(t, Alarm.VERIFIED_KEY_REPLACED, now, person.account)
    elif followed.replaced:
        journal.alarm(t, Alarm.KEY_REPLACED, now, person.account)
    if known is not None and {each.id for each in newest.devices} - {each.id for each in known.devices}:
        t.people.knows(person.account, NO_MANIFEST)  # a device that has never heard of us
        t.people.untell(person.account)
    return newest


def absorb_keys(
    t: Tables, ctx: Context, manifest: Manifest, devices: Sequence[DeviceKeys], want: Sequence[DeviceId]
) -> None:
    """Check the keys of an account's devices and keep them; session keys open sessions at once.

    A device whose seal key has expired was not there for three months: that is no lie of the server, and
    nothing against the others. It is written to when it is back.

    Args:
        want: for these a session key was asked for. One that was not would push out a session that works.

    Raises:
        ProtocolError: a device that is not listed, or stands there twice; a session key too many.
        PrekeyError: one of them is not the device's; nothing of the answer may be kept.
    """
    account, now = manifest.account.id, ctx.clock.now()
    bundles: list[Bundle] = []
    if len({keys.device for keys in devices}) < len(devices):
        raise ProtocolError("the server gave out keys of a device twice")
    for keys in devices:
        device = manifest.device(DeviceId(keys.device))
        if device is None:
            raise ProtocolError("the server gave out keys of a device that is not listed")
        if keys.session_key and device.id not in want:
            raise ProtocolError("the server gave out a session key that nobody asked for")
        known = t.devices.get(account, device.id)
        check = PrekeyCheck(Owner(account, device), now, known.seal if known else None)
        try:
            bundles.append(check.bundle(keys.seal_key, keys.session_key))
        except PrekeyError as error:
            if error.reason is not PrekeyFault.EXPIRED:
                raise
    opener = device_account(t)
    for bundle in bundles:
        t.devices.keep_seal(account, bundle.owner.device.id, bundle.seal)
        if bundle.session is not None:
            session = opener.open_session(bundle)
            t.sessions.add(bundle.owner.device.id, session.hash, session.pickle(), now)


async def fetch(
    ctx: Context,
    link: Link,
    who: AccountFingerprint | AccountId | str,
    want: Sequence[DeviceId] = (),
) -> Manifest:
    """Ask the server for everything that is newer about an account, and for keys to begin sessions with.

    Args:
        who: whom a link pinned; or who is known already, or named by somebody; or the whole name.
        want: devices to begin a new session with. They may be given as an empty list for a new account: ask
            again when the devices are known.

    Raises:
        ManifestError, PrekeyError: the server lies, or the account's owner does. An alarm was written down.
        UnknownAccount: nobody of this name, or they have left.
    """
    pin = None if isinstance(who, str) else who
    for _ in range(MAX_PAGES):
        account = b"" if pin is None else bytes(_id(pin))
        known = await _known_version(ctx, pin)
        name = who if isinstance(who, str) and pin is None else ""
        question = GetKeys(0, account, name, known, [bytes(each) for each in want])
        answer = await link.ask(question, Keys)
        if pin is None:
            pin = AccountId(answer.account)  # trust on first use: the server says whose name it is
            if await _known_version(ctx, pin):
                continue  # a name is answered with the whole chain: ask for what follows the one we know
        elif answer.account != _id(pin):
            raise ProtocolError("the server answered about another account")
        manifest = await _absorb(ctx, pin, answer, want)
        if isinstance(who, str) and manifest.name != who:
            raise ManifestError(ManifestFault.WRONG_ACCOUNT)
        if not answer.more:
            return manifest
    raise ProtocolError("a chain of manifests without an end")


async def _known_version(ctx: Context, pin: AccountFingerprint | AccountId | None) -> int:
    def work(t: Tables) -> int:
        known = t.manifests.newest(_id(pin)) if pin is not None else None
        return known.version if known else 0

    return await ctx.db.reading(work)


async def _absorb(
    ctx: Context, pin: AccountFingerprint | AccountId, answer: Keys, want: Sequence[DeviceId]
) -> Manifest:
    def work(t: Tables) -> Manifest:
        manifest = absorb(t, follow(t, pin, answer.manifests), ctx.clock.now())
        absorb_keys(t, ctx, manifest, answer.devices, want)
        return manifest

    try:
        return await ctx.change(work)
    except (ManifestError, PrekeyError) as error:
        refused = error

    def alarm(t: Tables) -> None:
        what = Alarm.BAD_PREKEY if isinstance(refused, PrekeyError) else Alarm.BAD_MANIFEST
        what = _ALARMS.get(refused.reason, what)
        journal.alarm(t, what, ctx.clock.now(), _id(pin), str(refused))

    await ctx.change(alarm)
    raise refused


def _id(pin: AccountFingerprint | AccountId) -> AccountId:
    return pin.id if isinstance(pin, AccountFingerprint) else pin
