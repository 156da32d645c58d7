"""From the recovery phrase back to the account: this device becomes its only one, under a new account key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import msgspec

from hushpost.client.clock import Clock
from hushpost.client.context import Context, own_manifest
from hushpost.client.following import MAX_PAGES
from hushpost.client.joining import Made, Wish, keep, register
from hushpost.client.link import Link
from hushpost.client.refusals import Denied
from hushpost.client.store import Enrolment, Home, StoreThread, Tables
from hushpost.client.store.joining import Begun
from hushpost.crypto.identity import (
    NO_MANIFEST,
    AccountSecret,
    ContactLink,
    Device,
    Manifest,
    ManifestFault,
    RecoverySeed,
    next_manifest,
    verify_chain,
)
from hushpost.crypto.ratchet import DeviceAccount
from hushpost.errors import ManifestError, PhraseError, ProtocolError, StaleManifest, UsageError
from hushpost.wire.messages import GetKeys, Keys, Register

TRIES = 3
"""The first only asks what the newest manifest is; another device of ours may append one after the second."""


async def recover(db: StoreThread, link: ContactLink, seed: RecoverySeed, clock: Clock) -> None:
    """Make this device the only one of the account. Repeating it after a crash or a lost answer is safe.

    The server tells the newest manifest by refusing one that does not follow it. It gains nothing by showing
    another: contacts accept only what follows what they know, signed by the recovery key.

    Raises:
        PhraseError: the phrase is of another account.
        ManifestError: the server showed another account.
        UsageError: this profile is somebody already.
    """
    attempt = _Attempt(link, seed, clock.now())
    begun = await db.transaction(attempt.go_on)
    for _ in range(TRIES):
        try:
            return await register(db, begun, clock)
        except StaleManifest as stale:
            newest = attempt.checked(stale.manifest)
        except Denied:
            raise PhraseError(
                "this phrase is not the one of this account, or the account has left the server",
                hint="repeat this with the phrase and the link that belong together",
            ) from None
        begun = await db.transaction(partial(attempt.follow, newest=newest))
    raise ManifestError(ManifestFault.FORK)


@dataclass(frozen=True, slots=True)
class _Attempt:
    link: ContactLink
    seed: RecoverySeed
    now: int

    def go_on(self, t: Tables) -> Begun:
        """The registration that was begun, or one that follows nothing, to be told what there is."""
        me, begun = t.me.get(), t.joining.get()
        if me is not None and me.enrolment is not Enrolment.PENDING:
            raise UsageError("this profile has joined already", hint="recover with another --profile")
        if me is not None and begun is not None and me.account == self.link.account and self._is_ours(begun):
            return begun
        return self.follow(t, self._guess())

    def _is_ours(self, begun: Begun) -> bool:
        """Whether it was begun with this very phrase."""
        request = msgspec.msgpack.decode(begun.request, type=Register)
        return Manifest.decode(request.manifest).recovery_key == self.seed.secret.public

    def _guess(self) -> Manifest:
        """A first manifest with our name and recovery key, and nothing else that is true."""
        account = DeviceAccount.create()
        device = self._device(account)
        key, recovery_key = AccountSecret.random().public, self.seed.secret.public
        return Manifest(self.link.account, 1, NO_MANIFEST, key, recovery_key, self.link.name, (device,))

    def follow(self, t: Tables, newest: Manifest) -> Begun:
        """Make a device, a new account key and the manifest after this one; durable, and not sent yet."""
        account, secret = DeviceAccount.create(), AccountSecret.random()
        manifest = next_manifest(newest, self.seed.secret, [self._device(account)], account_key=secret.public)
        home = Home(self.link.host, self.link.port, self.link.server)
        return keep(t, Wish(home, manifest.name, None, None), Made(manifest, secret, account), None, self.now)

    def checked(self, raw: bytes) -> Manifest:
        """What the server says is the newest: of this account, and of this phrase.

        Raises:
            ManifestError.
        """
        newest = Manifest.decode(raw)
        if newest.account != self.link.account or newest.name != self.link.name:
            raise ManifestError(ManifestFault.WRONG_ACCOUNT)
        if newest.recovery_key != self.seed.secret.public:
            raise ManifestError(ManifestFault.KEY_CHANGED, hint="the recovery phrase is of another account")
        return newest

    def _device(self, account: DeviceAccount) -> Device:
        return Device.consenting(account, self.link.account.id, account.signing_key, account.dh_key, self.now)


async def complete_chain(ctx: Context, link: Link) -> None:
    """Fetch what came before the manifest that recovery began with: the whole chain is what we introduce."""
    account = ctx.me.account
    own = await ctx.db.reading(lambda t: (own_manifest(t, ctx.me), t.manifests.chain(account.id)))
    if own[0].version == len(own[1]):
        return
    chain: list[bytes] = []
    for _ in range(MAX_PAGES):
        answer = await link.ask(GetKeys(0, bytes(account.id), "", len(chain), []), Keys)
        chain += answer.manifests
        if not answer.more:
            break
    else:
        raise ProtocolError("a chain of manifests without an end")
    verified = verify_chain(account, chain)

    def work(t: Tables) -> None:
        for raw in chain:
            t.manifests.append(Manifest.decode(raw), own=True)

    if verified.newest != own[0]:
        raise ManifestError(ManifestFault.FORK)
    await ctx.db.transaction(work)
