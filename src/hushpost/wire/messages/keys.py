"""The keys that others need to write to a device."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from hushpost.names import check_name
from hushpost.wire import limits
from hushpost.wire.fields import (
    U32,
    U63,
    Hash32OrEmpty,
    Id16,
    Id16OrEmpty,
    Manifest,
    Name,
    OneTimeKeys,
    SealKey,
    SealKeyOrEmpty,
    SignedKeyOrEmpty,
    distinct,
    exact_or_empty,
)
from hushpost.wire.messages.base import Part, RequestMessage, ResponseMessage


class GetKeys(RequestMessage, frozen=True):
    """What is needed to write to an account. Exactly one of `account` and `name` is given.

    Attributes:
        account: empty where only the name is known.
        name: the whole name; empty where the account is given.
        known_version: of the manifest that the client has; 0: none.
        want_sessions: the devices of which a one-time key is to be handed out, each once.
    """

    CODE: ClassVar[int] = 102
    account: Id16OrEmpty
    name: Name
    known_version: U63
    want_sessions: Annotated[list[Id16], Meta(max_length=limits.MAX_DEVICES)]

    def __post_init__(self) -> None:
        if bool(self.account) == bool(self.name):
            raise ValueError("either an account or a name")
        exact_or_empty(self.account, 16)
        if self.name:
            check_name(self.name)
        distinct(self.want_sessions)


class DeviceKeys(Part, frozen=True):
    """The keys of one device.

    Attributes:
        seal_key: signed.
        session_key: a signed one-time key, or the fallback key where none is left; empty if not wanted.
    """

    device: Id16
    seal_key: SealKey
    session_key: SignedKeyOrEmpty


class Keys(ResponseMessage, frozen=True):
    """The manifests that the client lacks, and the keys of the devices in the newest.

    Attributes:
        manifests: every one after `known_version`, oldest first.
        devices: all of the newest manifest; none where `more` is set.
        more: the chain goes on: ask again from the last of these. Nothing was handed out yet.
    """

    CODE: ClassVar[int] = 1002
    account: Id16
    manifests: Annotated[list[Manifest], Meta(max_length=limits.MAX_MANIFESTS)]
    devices: Annotated[list[DeviceKeys], Meta(max_length=limits.MAX_DEVICES)]
    more: bool = False


class PublishKeys(RequestMessage, frozen=True):
    """Top up or replace what others need to write to this device. What is empty stays as it is.

    Attributes:
        one_time_keys: signed, each; those that the server has already are not counted twice.
        replace_all: forget the unused one-time keys first.
        fallback_key: signed.
        seal_key: signed; its id is above the present one's, or the very same key.
        delivery_token_hash: of the account's new token.
    """

    CODE: ClassVar[int] = 112
    one_time_keys: OneTimeKeys = msgspec.field(default_factory=list)
    replace_all: bool = False
    fallback_key: SignedKeyOrEmpty = b""
    seal_key: SealKeyOrEmpty = b""
    delivery_token_hash: Hash32OrEmpty = b""

    def __post_init__(self) -> None:
        exact_or_empty(self.delivery_token_hash, 32)


class RetiredSeal(Part, frozen=True):
    """No further envelope will be sealed to this key.

    Attributes:
        up_to: every envelope sealed to it has a sequence up to here.
    """

    seal_key_id: U63
    up_to: U63


class KeysPublished(ResponseMessage, frozen=True):
    """What the server has now.

    Attributes:
        one_time_keys: unused ones.
        retired: seal keys, oldest first, until they are told no more.
    """

    CODE: ClassVar[int] = 1112
    one_time_keys: U32
    retired: Annotated[list[RetiredSeal], Meta(max_length=limits.MAX_RETIRED)]
