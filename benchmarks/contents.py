"""1 GiB of content in and out, beside writing and reading the same bytes without a server; a client alone."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from statistics import median

from benchmarks.report import Row, at_least, at_most, show
from benchmarks.scale import scale
from harness.load import Address, exchange, fetch_request, register
from harness.process import NO_ADDRESS_LIMIT, ServerProcess, classic_server
from hushpost.classic import crypto, payloads
from hushpost.classic.client import link as client_link
from hushpost.classic.client.account import Account
from hushpost.classic.client.profile import Profile
from hushpost.classic.client.registration import register as register_client
from hushpost.classic.client.requests import ClassicClient
from hushpost.classic.payloads import ClientId, MessageType, Request, SendPrefix

PIECE = 1 << 20
SIZE = scale(payloads.MAX_PAYLOAD - payloads.SEND_PREFIX.size, 8 * PIECE)
FILE_SIZE = scale(256, 4) * PIECE
ROUNDS = scale(3, 1)


def main(folder: Path) -> None:
    piece = os.urandom(PIECE)
    figures: dict[str, list[float]] = {"send": [], "get": [], "write": [], "read": []}
    with ServerProcess(classic_server(folder, *NO_ADDRESS_LIMIT)) as ours:
        sender, reader = register(ours.address, "sender"), register(ours.address, "reader")
        for _ in range(ROUNDS):
            figures["write"].append(_write_raw(folder, piece))
            figures["read"].append(_read_raw(folder))
            figures["send"].append(_send(ours.address, sender, reader, piece))
            figures["get"].append(_get(ours.address, reader))
            exchange(ours.address, fetch_request(reader))  # when it answers, the content is deleted
        peak = ours.peak_mb()
        sealed, opened = _with_cipher(ours.address, folder, piece)
    rate = {name: SIZE / 1e6 / median(seconds) for name, seconds in figures.items()}
    show(
        "Classic: 1 GiB of already encrypted content",
        [
            at_least("send, accepted and durable", rate["send"], 500, "MB/s"),
            Row("raw: write the same bytes, fsync", rate["write"], "MB/s"),
            Row("send, share of raw", rate["send"] / rate["write"] * 100, "%"),
            at_least("get", rate["get"], 500, "MB/s"),
            Row("raw: read the same bytes", rate["read"], "MB/s"),
            Row("get, share of raw", rate["get"] / rate["read"] * 100, "%"),
            Row("client: a file encrypted and sent", sealed, "MB/s"),
            Row("client: fetched, decrypted and saved", opened, "MB/s"),
            Row("client: AES-128-CBC encryption alone", _encryption_rate(piece), "MB/s"),
            at_most("server memory, peak", peak, 128, "MB"),
        ],
        {"rounds": str(ROUNDS), "bytes": f"{SIZE:,}", "bytes of the client's file": f"{FILE_SIZE:,}"},
    )


def _write_raw(folder: Path, piece: bytes) -> float:
    begun = time.perf_counter()
    with (folder / "raw").open("wb", buffering=0) as file:
        for offset in range(0, SIZE, PIECE):
            file.write(piece[: SIZE - offset])
        os.fsync(file.fileno())
    return time.perf_counter() - begun


def _read_raw(folder: Path) -> float:
    buffer = bytearray(PIECE)
    begun = time.perf_counter()
    with (folder / "raw").open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    seconds = time.perf_counter() - begun
    (folder / "raw").unlink()
    return seconds


def _send(address: Address, sender: ClientId, recipient: ClientId, piece: bytes) -> float:
    begun = time.perf_counter()
    with socket.create_connection(address, 60) as sock:
        prefix = SendPrefix(recipient, MessageType.FILE, SIZE).encode()
        sock.sendall(payloads.request(sender, Request.SEND_MESSAGE, len(prefix) + SIZE) + prefix)
        for offset in range(0, SIZE, PIECE):
            sock.sendall(memoryview(piece)[: SIZE - offset])
        if len(sock.recv(100)) != 27:
            raise RuntimeError("the content was refused")
    return time.perf_counter() - begun


def _get(address: Address, reader: ClientId) -> float:
    buffer = bytearray(PIECE)
    received = 0
    begun = time.perf_counter()
    with socket.create_connection(address, 60) as sock:
        sock.sendall(fetch_request(reader))
        while count := sock.recv_into(buffer):
            received += count
        seconds = time.perf_counter() - begun
    if received != 7 + payloads.MESSAGE_ENTRY.size + SIZE:
        raise RuntimeError("the content was not complete")
    return seconds


def _with_cipher(address: Address, folder: Path, piece: bytes) -> tuple[float, float]:
    """What one client sends and fetches with everything that it does: MB/s each."""
    path = folder / "file"
    path.write_bytes(piece * (FILE_SIZE // PIECE))
    sender, reader = (_account(address, folder / name) for name in ("alice", "bob"))
    sender.send_key(reader.identity.client_id)
    with path.open("rb") as file:
        begun = time.perf_counter()
        sender.send_file(reader.identity.client_id, file, FILE_SIZE)
        sent = time.perf_counter()
    summary = reader.fetch(lambda received: None)
    fetched = time.perf_counter()
    if summary.not_opened or summary.put_off:
        raise RuntimeError("the file was not opened")
    return FILE_SIZE / 1e6 / (sent - begun), FILE_SIZE / 1e6 / (fetched - sent)


def _account(address: Address, folder: Path) -> Account:
    """Somebody who has just registered."""
    folder.mkdir()
    profile, client = Profile(folder), ClassicClient(client_link.Address(*address))
    register_client(profile, client, folder.name)
    return Account(profile, client)


def _encryption_rate(piece: bytes) -> float:
    """What the protocol's cipher allows one client, told separately."""
    pieces = FILE_SIZE // PIECE
    key = crypto.PairKey(os.urandom(16))
    begun = time.perf_counter()
    for _ in crypto.seal_pieces(key, (memoryview(piece) for _ in range(pieces))):
        pass
    return pieces * PIECE / 1e6 / (time.perf_counter() - begun)
