"""The recorded envelopes, and the parts that come out the same each time: read from the files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hushpost.crypto.body import BodyDigest, BodyKey, open_body
from hushpost.crypto.content import Content
from hushpost.crypto.envelope import Arrived, Opened, open_letter, open_seal
from hushpost.crypto.faults import EnvelopeFault
from hushpost.crypto.identity import Manifest
from hushpost.crypto.inner import Inner, Party
from hushpost.crypto.olm import PrekeyMessage, SessionHash
from hushpost.crypto.padding import pad, padded_size
from hushpost.crypto.primitives import SealOpener, SealSecret
from hushpost.crypto.ratchet import DeviceAccount, Session
from hushpost.crypto.seal import Binding
from hushpost.errors import EnvelopeError
from hushpost.ids import DeviceId, EnvelopeId, MessageId
from tests.vectors import make_v3, record_v3

BODIES: Any = json.loads((make_v3.HERE / "v3-body.json").read_text())
ENVELOPES: Any = json.loads((make_v3.HERE / "v3-envelope.json").read_text())
CASES: Any = {case["case"]: case for case in ENVELOPES["cases"]}
un = bytes.fromhex


def fault(name: str) -> EnvelopeFault:
    return EnvelopeFault[name]


@pytest.mark.parametrize("case", BODIES["padding"], ids=lambda case: str(case["size"]))
def test_padding(case: Any) -> None:
    assert padded_size(case["size"]) == case["padded"]
    assert pad(bytes(case["size"])) == (bytes(case["size"]) + b"\x80").ljust(case["padded"], b"\0")


@pytest.mark.parametrize("case", BODIES["contents"], ids=lambda case: case["case"])
def test_contents(case: Any) -> None:
    raw = un(case["content"])
    if case["fails_at"] is None:
        content = Content.decode(raw)
        assert [part.kind for part in content.parts] == case["kinds"]
        assert content.encode() == raw
        return
    with pytest.raises(ValueError, match=r"."):
        Content.decode(raw)


@pytest.mark.parametrize("case", BODIES["bodies"], ids=lambda case: case["case"])
def test_bodies(case: Any) -> None:
    key, message, raw = BodyKey(un(case["key"])), MessageId(un(case["message"])), un(case["body"])
    assert BodyDigest.of(raw) == un(case["digest"])
    if case["fails_at"] is None:
        assert open_body(key, message, raw) == un(case["content"])
        return
    with pytest.raises(EnvelopeError) as caught:
        open_body(key, message, raw)
    assert caught.value.reason is fault(case["fails_at"])


def test_inner_record_and_binding() -> None:
    case = BODIES["inner"]
    inner = Inner.decode(un(case["encoded"]))
    assert (inner.key, inner.body) == (un(case["key"]), un(case["body"]))
    assert inner.sender.encode() == un("".join(case["sender"]))
    assert inner.recipient.encode() == un("".join(case["recipient"]))
    assert (inner.message.hex(), inner.counter, inner.sent_at) == (
        case["message"],
        case["counter"],
        case["sent_at"],
    )
    case = BODIES["header"]
    ids = DeviceId(un(case["recipient"])), case["seal_key_id"], EnvelopeId(un(case["envelope"]))
    assert Binding(*ids, BodyDigest(un(case["body"]))).info == un(case["info"])
    assert SessionHash.of(un(case["session_id"])) == un(case["session_hash"])


class Reader:
    """One of the recorded devices, as new."""

    def __init__(self, name: str) -> None:
        device = ENVELOPES["devices"][name]
        self.manifest = Manifest.decode(un(device["manifest"]))
        self.account = DeviceAccount.unpickle(device["account"].encode())
        pickles = [un(each["their_key"]) + each["session"].encode() for each in device["sessions"]]
        self.sessions = {session.hash: session for session in map(Session.unpickle, pickles)}
        self.remembered: set[SessionHash] = set()
        self.opener = SealOpener(SealSecret(un(device["seal_secret"])))
        self.us = Party(self.manifest.account, self.account.id, self.manifest.hash)
        self.released = "nothing"

    def open(self, case: Any, sender: Manifest) -> Opened:
        self.released = "nothing"
        raw = Arrived(
            EnvelopeId(un(case["envelope"])), case["seal_key_id"], un(case["header"]), un(case["body"])
        )
        claim = open_seal(raw, self.opener, self.us.device)
        self.released = "claim"
        if (session := self.sessions.get(claim.session)) is not None:
            proof = session.decrypt(claim.message)
        elif isinstance(claim.message, PrekeyMessage):
            session, proof = self.account.accept(claim.message, remembered=self.remembered)
            self.sessions[session.hash] = session
            self.remembered.add(session.hash)
        else:
            raise EnvelopeError(EnvelopeFault.NO_SESSION)
        self.released = "key"
        unplaced = open_letter(claim, proof, self.us)
        self.released = "content"
        opened = unplaced.place(sender)
        self.released = "all"
        return opened


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case["case"])
def test_envelopes(case: Any) -> None:
    reader = Reader(case["to"])
    sender = Reader("alice" if case["to"] == "bob" else "bob").manifest
    for title in case["first"]:
        if title == record_v3.DROPPED:
            reader.sessions.clear()
        else:
            reader.open(CASES[title], sender)
    if case["fails_at"] is None:
        assert reader.open(case, sender).sender.account == sender.account
    else:
        with pytest.raises(EnvelopeError) as caught:
            reader.open(case, sender)
        assert caught.value.reason is fault(case["fails_at"])
    assert reader.released == case["released"]


def test_every_way_to_refuse_an_envelope_has_a_vector() -> None:
    every = [*ENVELOPES["cases"], *BODIES["bodies"]]
    assert {case["fails_at"] for case in every} - {None} == set(EnvelopeFault.__members__)


def test_the_recorder_still_records_the_same_cases() -> None:
    made: Any = record_v3.record()
    assert [(case["case"], case["fails_at"]) for case in made["cases"]] == [
        (case["case"], case["fails_at"]) for case in ENVELOPES["cases"]
    ]
