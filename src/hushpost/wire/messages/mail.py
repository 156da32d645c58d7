"""Envelopes: sending, reading, acknowledging, and having them pushed."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from hushpost.wire import limits
from hushpost.wire.fields import U32, U63, Body, Header, Id16, Token32OrEmpty, distinct, exact_or_empty
from hushpost.wire.messages.base import EventMessage, Part, RequestMessage, ResponseMessage


class Recipient(Part, frozen=True):
    """One device of the account that is written to.

    Attributes:
        seal_key_id: the key that the header is sealed to.
        header: sealed.
    """

    device: Id16
    seal_key_id: U63
    header: Header


class SendEnvelope(RequestMessage, frozen=True):
    """One message to the devices of one account: all of them, or nothing is stored.

    Attributes:
        envelope: 4 bytes of server time, big-endian, and 12 random ones; makes the send repeatable.
        recipients: every device of the account, each once.
        body: encrypted, for all of them.
        delivery_token: the account's; empty: the requests lane.
    """

    CODE: ClassVar[int] = 103
    account: Id16
    envelope: Id16
    recipients: Annotated[list[Recipient], Meta(min_length=1, max_length=limits.MAX_DEVICES)]
    body: Body
    delivery_token: Token32OrEmpty = b""

    def __post_init__(self) -> None:
        exact_or_empty(self.delivery_token, 32)
        if len(self.recipients) > 1:
            distinct([recipient.device for recipient in self.recipients])


class Stored(ResponseMessage, frozen=True):
    """The send is durable.

    Attributes:
        sequences: one for each recipient, in their order.
    """

    CODE: ClassVar[int] = 1003
    sequences: Annotated[list[U63], Meta(min_length=1, max_length=limits.MAX_DEVICES)]


class GetEnvelopes(RequestMessage, frozen=True):
    """Waiting envelopes behind a cursor. Nothing is deleted.

    Attributes:
        epoch: of the cursor; another than the store's: the server reads from 0.
        after: the sequence of the cursor.
        max_count: at most so many; the server may send fewer.
        max_bytes: of headers and bodies, but always at least one envelope if there is one.
    """

    CODE: ClassVar[int] = 104
    epoch: Id16
    after: U63
    max_count: U32
    max_bytes: U32


class WaitingEnvelope(Part, frozen=True):
    """An envelope as it waits for one device.

    Attributes:
        is_request: it came without a delivery token.
    """

    sequence: U63
    envelope: Id16
    seal_key_id: U63
    header: Header
    body: Body
    is_request: bool


WaitingEnvelopes = Annotated[list[WaitingEnvelope], Meta(max_length=limits.MAX_PAGE_COUNT)]


class Envelopes(ResponseMessage, frozen=True):
    """A page of waiting envelopes.

    Attributes:
        epoch: of the store.
        envelopes: in the order of their sequences.
        more: there are envelopes behind the last of these.
    """

    CODE: ClassVar[int] = 1004
    epoch: Id16
    envelopes: WaitingEnvelopes
    more: bool


class Acknowledge(RequestMessage, frozen=True):
    """The device has committed these and the server may delete them.

    Attributes:
        epoch: of the sequences; another than the store's: nothing is deleted.
        sequences: exactly these.
        up_to: and everything up to here; 0: nothing.
    """

    CODE: ClassVar[int] = 105
    epoch: Id16
    sequences: Annotated[list[U63], Meta(max_length=limits.MAX_ACKNOWLEDGED)]
    up_to: U63 = 0


class Acknowledged(ResponseMessage, frozen=True):
    """They are deleted, durably."""

    CODE: ClassVar[int] = 1005


class Subscribe(RequestMessage, frozen=True):
    """From now on push what waits behind the cursor, and what comes.

    Attributes:
        epoch: of the cursor; another than the store's: the server reads from 0.
        after: the sequence of the cursor.
        window: bytes of pushed, unacknowledged headers and bodies; the server may use less.
    """

    CODE: ClassVar[int] = 106
    epoch: Id16
    after: U63
    window: U32


class Subscribed(ResponseMessage, frozen=True):
    """Pushes may follow.

    Attributes:
        epoch: of the store.
    """

    CODE: ClassVar[int] = 1006
    epoch: Id16


class Push(EventMessage, frozen=True):
    """Envelopes, in the order of their sequences."""

    CODE: ClassVar[int] = 2000
    envelopes: WaitingEnvelopes


class Taken(EventMessage, frozen=True):
    """Another connection of this device has subscribed; no push follows on this one."""

    CODE: ClassVar[int] = 2001
