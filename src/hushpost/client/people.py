"""Other people: found by link or by name, accepted, blocked, verified."""

from __future__ import annotations

import contextlib

from hushpost.client import journal
from hushpost.client.context import Context, known_me, own_manifest
from hushpost.client.following import fetch
from hushpost.client.link import Link
from hushpost.client.store import How, Person, Tables
from hushpost.client.store.me import DeliveryToken
from hushpost.client.values import Alarm, Contact, Standing, Trust
from hushpost.client.writing import say
from hushpost.crypto.identity import (
    Authority,
    ContactLink,
    Manifest,
    account_fingerprint,
    parse_link,
    safety_number,
)
from hushpost.errors import (
    LinkError,
    ManifestError,
    PrekeyError,
    Refused,
    StoreFull,
    UnknownAccount,
    Untrusted,
    UsageError,
)
from hushpost.ids import AccountId
from hushpost.names import check_name, check_name_part


async def add(ctx: Context, link: Link, pasted: ContactLink | str) -> Contact:
    """Somebody new, by contact link or by exact name: see `parse_contact`.

    Raises:
        LinkError, UsageError: the link is of another server, or our own.
        UnknownAccount, ManifestError: see `fetch`.
    """
    if isinstance(pasted, str):
        manifest = await fetch(ctx, link, pasted)
        return await ctx.change(lambda t: _added(t, ctx, manifest, How.NAME))
    home = ctx.me.home
    elsewhere = isinstance(home.pin, Authority) and pasted.host != home.host  # it vouches for names
    if pasted.server != home.pin or elsewhere:
        raise UsageError("this person is on another server", hint="join that server with another --profile")
    manifest = await fetch(ctx, link, pasted.account)
    if manifest.name != pasted.name:
        raise LinkError("this link names somebody else than the account that it pins")
    return await ctx.change(lambda t: _added(t, ctx, manifest, How.LINK))


def parse_contact(who: str) -> ContactLink | str:
    """A contact link, or a name. What looks like a link is none of the two with a slip in it: a name would be
    told to the server.

    Raises:
        LinkError, UsageError.
    """
    if "://" not in who and "#" not in who:
        try:
            check_name(who)
        except ValueError as error:
            raise UsageError(f"nobody is called so: {error}") from None
        return who
    pasted = parse_link(who)
    if not isinstance(pasted, ContactLink):
        raise LinkError("this link is an invitation, not a contact", hint="use it with hush join")
    return pasted


def _added(t: Tables, ctx: Context, manifest: Manifest, how: How) -> Contact:
    """They are a contact from now on. A link verifies whom we knew by name only, and never the reverse.

    It does not clear the alarm of a replaced key: whoever has the recovery phrase keeps the same link.
    """
    account = manifest.account.id
    if account == ctx.me.account.id:
        raise UsageError("this is yourself")
    trust = Trust.UNVERIFIED if how is How.NAME else Trust.VERIFIED
    known = t.people.get(account)
    if known is None and account_fingerprint(manifest.account_key, manifest.recovery_key) != manifest.account:
        journal.alarm(t, Alarm.KEY_REPLACED, ctx.clock.now(), account)
    if known is None:
        person = Person(manifest.account, manifest.name, "", Standing.CONTACT, trust, how, ctx.clock.now())
        t.people.add(person)
    else:
        t.people.stands(account, Standing.CONTACT)
        if trust is Trust.VERIFIED and known.trust is not Trust.CHANGED:
            t.people.trusts(account, trust, how)
    return shown(t, account)


async def meet_inviter(ctx: Context, link: Link) -> None:
    """Whoever invited us is a contact from the start, verified: their link brought their fingerprint.

    Where the server has somebody else under it, the link was changed on its way, or the server lies. That is
    shown once, and we go on without them: one person's keys must not keep everybody else away.
    """
    inviter = (await ctx.db.reading(known_me)).inviter
    if inviter is None or await ctx.db.reading(lambda t: t.people.get(inviter.id)) is not None:
        return
    try:
        manifest = await fetch(ctx, link, inviter)
    except (ManifestError, PrekeyError):  # `fetch` has written the alarm
        await ctx.db.transaction(lambda t: t.me.forget_inviter())
    except (UnknownAccount, Refused, StoreFull):
        return  # they may have left
    else:
        await ctx.change(lambda t: _added(t, ctx, manifest, How.INVITATION))


def known_person(t: Tables, account: AccountId) -> Person:
    """Raises:
    UsageError: nobody that we know.
    """
    person = t.people.get(account)
    if person is None:
        raise UsageError("this is nobody that you know")
    return person


def shown(t: Tables, account: AccountId) -> Contact:
    """As the library shows them. Raises UsageError: nobody that we know."""
    return journal.as_contact(t, known_person(t, account))


def find(t: Tables, who: str, *, among_all: bool = False) -> Contact:
    """By account id in hexadecimal, by alias, or by name.

    Names are chosen by their owners: one that reads like another's id never stands for it, and a stranger's
    never for a contact.

    Args:
        among_all: the choice is about strangers, too: where one of them is called so as well, it is not made.

    Raises:
        UsageError: nobody, or several.
    """
    with contextlib.suppress(ValueError):
        person = t.people.get(AccountId.parse(who))
        if person is not None:
            return journal.as_contact(t, person)
    called = t.people.called(who)
    contacts = () if among_all else tuple(each for each in called if each.standing is Standing.CONTACT)
    found = contacts or called
    if not found:
        raise UsageError("nobody that you know is called so", hint="see hush contacts list")
    if len(found) > 1:
        ids = ", ".join(f"{each.account} ({each.standing})" for each in found)
        raise UsageError("several people are called so", hint=f"use the account: {ids}")
    return journal.as_contact(t, found[0])


def accept(t: Tables, ctx: Context, account: AccountId) -> Contact:
    """A request becomes a contact, and gets our delivery token; one under a new key is unverified again."""
    person = known_person(t, account)
    if person.standing is not Standing.CONTACT:
        t.people.stands(account, Standing.CONTACT)
    if person.trust is Trust.CHANGED:
        t.people.trusts(account, Trust.UNVERIFIED, person.how)
    if not person.is_open:
        say(t, ctx, account)
    return shown(t, account)


def block(t: Tables, account: AccountId) -> Contact:
    """What they send is dropped, and the token that they have stops to serve."""
    known_person(t, account)
    t.people.stands(account, Standing.BLOCKED)
    t.outbox.withdraw(account)
    t.me.new_token(DeliveryToken.random())
    return shown(t, account)


def rename(t: Tables, account: AccountId, alias: str) -> Contact:
    """Call them so on this machine; empty: by their own name.

    Raises:
        UsageError: somebody else is called so, or nobody can be.
    """
    known_person(t, account)
    _check_alias(alias)
    if any(each.account != account for each in t.people.called(alias)):
        raise UsageError("somebody else is called so already")
    t.people.rename(account, alias)
    return shown(t, account)


def _check_alias(alias: str) -> None:
    try:
        check_name_part(alias)
    except ValueError as error:
        raise UsageError(f"nobody can be called so: {error}") from None
    if alias != alias.strip():
        raise UsageError("nobody can be called so: a name neither begins nor ends with a space")
    with contextlib.suppress(ValueError):
        AccountId.parse(alias)
        raise UsageError("nobody can be called so: it reads like an account")


def verify(t: Tables, ctx: Context, compared: tuple[Manifest, Manifest]) -> Contact:
    """The user has compared the safety number of these, ours and theirs.

    Raises:
        Untrusted: one of both has another account key by now.
    """
    account = compared[1].account.id
    if [each.account_key for each in safety_keys(t, ctx, account)] != [each.account_key for each in compared]:
        raise changed_number()
    t.people.trusts(account, Trust.VERIFIED, How.SAFETY_NUMBER)
    return shown(t, account)


def changed_number() -> Untrusted:
    """What the user compared is not what is true now."""
    return Untrusted(
        "this is not the safety number that you share with them now",
        hint="compare the numbers again: their key may have been replaced meanwhile",
    )


def safety_keys(t: Tables, ctx: Context, account: AccountId) -> tuple[Manifest, Manifest]:
    """Our newest manifest and theirs. Raises UsageError: nobody that we know."""
    manifest = t.manifests.newest(known_person(t, account).account)
    if manifest is None:
        raise UsageError("their keys are not known yet", hint="try again when connected")
    return own_manifest(t, ctx.me), manifest


def number_of(ours: Manifest, theirs: Manifest) -> str:
    """Sixty digits. It takes milliseconds: not in the store's thread, nor in the event loop."""
    return safety_number(ours.account_key, ours.account, theirs.account_key, theirs.account)
