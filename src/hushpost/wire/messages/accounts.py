"""Who is who: hello, authentication, registration, the directory, manifests, leaving."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from hushpost.names import check_name, check_name_part
from hushpost.wire import limits
from hushpost.wire.fields import (
    U32,
    U63,
    Features,
    Hash32,
    Id16,
    Id16OrEmpty,
    Manifest,
    Name,
    Nonce32,
    OneTimeKeys,
    SealKey,
    Sentence,
    Signature64,
    SignedKey,
    Statement,
    Word,
    exact_or_empty,
)
from hushpost.wire.messages.base import Part, RequestMessage, ResponseMessage


class Hello(RequestMessage, frozen=True):
    """The first request: proves the server's identity before anything is told to it.

    Attributes:
        client_nonce: fresh; signed in `Authenticate`.
        features: what the client understands beyond this text.
    """

    CODE: ClassVar[int] = 110
    client_nonce: Nonce32
    features: Features = msgspec.field(default_factory=list)


class HelloAnswer(ResponseMessage, frozen=True):
    """Who the server is, and its terms.

    Attributes:
        server_nonce: for one authentication, within 30 seconds.
        server_time: seconds since 1970; envelope ids carry it.
        epoch: of the store. A client that knew another one reads from 0.
        certificate_statement: the server identity's signature over its TLS certificate.
        features: what the server understands beyond this text.
        limits: this server's own numbers, by name.
    """

    CODE: ClassVar[int] = 1110
    server_nonce: Nonce32
    server_time: U32
    epoch: Id16
    certificate_statement: Statement
    features: Features
    limits: Annotated[dict[Word, U63], Meta(max_length=limits.MAX_TOLD)]


class Authenticate(RequestMessage, frozen=True):
    """A device proves who it is; from the answer on, every header carries its id.

    Attributes:
        signature: of the device's Ed25519 key, over the text in auth.md.
    """

    CODE: ClassVar[int] = 111
    account: Id16
    device: Id16
    signature: Signature64


class Authenticated(ResponseMessage, frozen=True):
    """What the server holds for this device.

    Attributes:
        acknowledged: the highest sequence that this device ever acknowledged; 0: none.
        highest: the highest sequence ever stored for it; 0: none.
        one_time_keys: unused ones that are left.
    """

    CODE: ClassVar[int] = 1111
    acknowledged: U63
    highest: U63
    one_time_keys: U32


class Register(RequestMessage, frozen=True):
    """An account and its first device, all or nothing; using up the invitation is part of it.

    With a later manifest, which the recovery key signed, this device becomes the account's only one.

    Attributes:
        invite: the token of an invitation; empty on a server that is open, and for a recovery.
        manifest: signed; version 1, which names the account and its first device, or the next one.
        seal_key: signed.
        one_time_keys: signed, each.
        fallback_key: signed.
        delivery_token_hash: of the token that contacts will send with.
    """

    CODE: ClassVar[int] = 100
    invite: Id16OrEmpty
    manifest: Manifest
    seal_key: SealKey
    one_time_keys: OneTimeKeys
    fallback_key: SignedKey
    delivery_token_hash: Hash32

    def __post_init__(self) -> None:
        exact_or_empty(self.invite, 16)


class Registered(ResponseMessage, frozen=True):
    """The account exists; the device authenticates next."""

    CODE: ClassVar[int] = 1000
    account: Id16


class ListAccounts(RequestMessage, frozen=True):
    """A page of the directory, ordered by the bytes of the names.

    Attributes:
        prefix: what the names begin with; empty: all.
        after: the last name of the page before; empty: the first page.
        limit: how many at most; the server may send fewer.
    """

    CODE: ClassVar[int] = 101
    prefix: Name
    after: Name
    limit: U32

    def __post_init__(self) -> None:
        check_name_part(self.prefix)
        check_name_part(self.after)


class ListedAccount(Part, frozen=True):
    """One entry of the directory."""

    account: Id16
    name: Name

    def __post_init__(self) -> None:
        check_name(self.name)


class Accounts(ResponseMessage, frozen=True):
    """A page of the directory.

    Attributes:
        more: there are names behind the last of these.
    """

    CODE: ClassVar[int] = 1001
    accounts: Annotated[list[ListedAccount], Meta(max_length=limits.MAX_DIRECTORY_PAGE)]
    more: bool


class PutManifest(RequestMessage, frozen=True):
    """Change the devices of one's account: the manifest that follows the present one."""

    CODE: ClassVar[int] = 113
    manifest: Manifest


class ManifestPut(ResponseMessage, frozen=True):
    """It is the present one now, durably."""

    CODE: ClassVar[int] = 1113


class GetUsage(RequestMessage, frozen=True):
    """What does the server store about me?"""

    CODE: ClassVar[int] = 114


class UsageAnswer(ResponseMessage, frozen=True):
    """Everything, by name, as text for people.

    Attributes:
        stored: hostile text like any other from outside.
    """

    CODE: ClassVar[int] = 1114
    stored: Annotated[dict[Word, Sentence], Meta(max_length=limits.MAX_TOLD)]


class Leave(RequestMessage, frozen=True):
    """Delete my account and everything that waits for it. Its name is never given out again.

    Attributes:
        account: one's own, against a slip.
    """

    CODE: ClassVar[int] = 115
    account: Id16


class Left(ResponseMessage, frozen=True):
    """It is gone, durably; the server closes."""

    CODE: ClassVar[int] = 1115
