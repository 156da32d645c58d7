"""Every recorded frame of the original client and server, built anew from its meaning, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hushpost.classic import payloads
from hushpost.classic.payloads import (
    KEY_ANSWER,
    NOBODY,
    PUBLIC_KEY_SIZE,
    REFUSAL,
    REGISTER_SIZE,
    STORED_ANSWER,
    ClientId,
    ListedClient,
    MessageHeader,
    MessageType,
    Registration,
    Request,
    Response,
    SendPrefix,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "classic.json").read_text())
ALICE, BOB = (ClientId.parse(VECTORS["client_ids"][name]) for name in ("alice", "bob"))
KEYS = {name: bytes.fromhex(key) for name, key in VECTORS["public_key_spki_der_hex"].items()}
OTHER_KEY = bytes.fromhex(VECTORS["frames"]["register_duplicate_9000"]["request_hex"])[-PUBLIC_KEY_SIZE:]
TEXTS = [bytes.fromhex(text["ciphertext_hex"]) for text in VECTORS["aes"]["texts"]]
SMALL_FILE, EMPTY_FILE = (
    bytes.fromhex(VECTORS["aes"][name]["ciphertext_hex"]) for name in ("file_small", "file_empty")
)
SEALED_KEY = bytes.fromhex(VECTORS["rsa"]["ciphertext_hex"])
FETCH_ALICE, FETCH_BOB = (payloads.request(who, Request.GET_MESSAGES) for who in (ALICE, BOB))
KEY_REQUEST, KEY, TEXT, FILE = MessageType


def sent(sender: ClientId, recipient: ClientId, kind: MessageType, content: bytes = b"") -> bytes:
    prefix = SendPrefix(recipient, kind, len(content)).encode()
    return payloads.request(sender, Request.SEND_MESSAGE, len(prefix) + len(content)) + prefix + content


def stored(recipient: ClientId, message_id: int) -> bytes:
    return payloads.response(Response.MESSAGE_STORED, STORED_ANSWER.pack(recipient, message_id))


def waiting(sender: ClientId, *given: tuple[int, MessageType, bytes]) -> bytes:
    return payloads.response(
        Response.MESSAGES,
        b"".join(
            MessageHeader(sender, number, kind, len(data)).encode() + data for number, kind, data in given
        ),
    )


def registration(name: str, key: bytes) -> bytes:
    return payloads.request(NOBODY, Request.REGISTER, REGISTER_SIZE) + Registration(name, key).encode()


def listing(*clients: tuple[ClientId, str]) -> bytes:
    return payloads.response(Response.CLIENTS, b"".join(ListedClient(*client).encode() for client in clients))


def key_question(target: ClientId) -> bytes:
    """As the C++ client asks: the target's id in the header too."""
    return payloads.request(target, Request.PUBLIC_KEY, 16) + target


def key_answer(client_id: ClientId, name: str) -> bytes:
    return payloads.response(Response.PUBLIC_KEY, KEY_ANSWER.pack(client_id, KEYS[name]))


OURS = {
    "register_alice": (registration("alice", KEYS["alice"]), payloads.response(Response.REGISTERED, ALICE)),
    "register_duplicate_9000": (registration("alice", OTHER_KEY), REFUSAL),
    "register_bob": (registration("bob", KEYS["bob"]), payloads.response(Response.REGISTERED, BOB)),
    "list_by_alice": (payloads.request(ALICE, Request.LIST_CLIENTS), listing((BOB, "bob"))),
    "list_by_bob": (payloads.request(BOB, Request.LIST_CLIENTS), listing((ALICE, "alice"))),
    "get_messages_empty": (FETCH_ALICE, waiting(BOB)),
    "public_key_of_bob_by_alice": (key_question(BOB), key_answer(BOB, "bob")),
    "public_key_of_alice_by_bob": (key_question(ALICE), key_answer(ALICE, "alice")),
    "send_type1": (sent(ALICE, BOB, KEY_REQUEST), stored(BOB, 1)),
    "get_messages_type1": (FETCH_BOB, waiting(ALICE, (1, KEY_REQUEST, b""))),
    "send_type2": (sent(BOB, ALICE, KEY, SEALED_KEY), stored(ALICE, 2)),
    "get_messages_type2": (FETCH_ALICE, waiting(BOB, (2, KEY, SEALED_KEY))),
    "send_text_1": (sent(ALICE, BOB, TEXT, TEXTS[0]), stored(BOB, 3)),
    "send_text_15_chars": (sent(ALICE, BOB, TEXT, TEXTS[1]), stored(BOB, 4)),
    "send_text_16_chars": (sent(BOB, ALICE, TEXT, TEXTS[2]), stored(ALICE, 5)),
    "get_messages_two_texts": (FETCH_BOB, waiting(ALICE, (3, TEXT, TEXTS[0]), (4, TEXT, TEXTS[1]))),
    "get_messages_one_text": (FETCH_ALICE, waiting(BOB, (5, TEXT, TEXTS[2]))),
    "send_file_small": (sent(ALICE, BOB, FILE, SMALL_FILE), stored(BOB, 6)),
    "send_file_empty": (sent(ALICE, BOB, FILE, EMPTY_FILE), stored(BOB, 7)),
    "get_messages_two_files": (FETCH_BOB, waiting(ALICE, (6, FILE, SMALL_FILE), (7, FILE, EMPTY_FILE))),
}


@pytest.mark.parametrize("name", VECTORS["frames"])
def test_recorded_frames_are_what_we_write(name: str) -> None:
    recorded = VECTORS["frames"][name]
    assert tuple(part.hex() for part in OURS[name]) == (recorded["request_hex"], recorded["response_hex"])
