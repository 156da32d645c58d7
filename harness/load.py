"""A load generator for protocols with one request per connection: one thread, one epoll, few calls each."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterable, Iterator

import msgspec

from hushpost.classic import payloads
from hushpost.classic.payloads import ClientId, MessageType, Registration, Request, SendPrefix

Address = tuple[str, int]

NON_BLOCKING_STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
"""Saves a call per connection."""

PATIENCE = 30
"""Seconds without any answer after which a server is believed to be stuck."""


class Result(msgspec.Struct):
    """What a run has shown. Latencies are from `connect` to the whole answer, in seconds, sorted."""

    seconds: float
    latencies: list[float]
    refused: int

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def check(self) -> None:
        """Raises:
        RuntimeError: not everything was answered as it should be.
        """
        if self.refused:
            raise RuntimeError(f"{self.refused} of {len(self.latencies)} requests were refused")

    def quantile_ms(self, share: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))] * 1e3


class _Call:
    __slots__ = ("begun", "received", "sock", "unsent")

    def __init__(self, address: Address, request: bytes) -> None:
        self.begun = time.perf_counter()
        self.sock = socket.socket(type=NON_BLOCKING_STREAM)
        self.received = 0
        self.unsent: bytes | None = request
        self.sock.connect_ex(address)  # on loopback it is done when it returns
        try:
            self.sock.send(request)
            self.unsent = None
        except BlockingIOError:
            pass


def run(address: Address, requests: Iterable[bytes], at_once: int, answer_size: int) -> Result:
    """Send every request on a connection of its own, `at_once` of them at any time."""
    poll = select.epoll()
    calls: dict[int, _Call] = {}
    latencies: list[float] = []
    refused = 0
    source: Iterator[bytes] = iter(requests)

    def begin() -> None:
        for request in source:
            call = _Call(address, request)
            calls[call.sock.fileno()] = call
            poll.register(call.sock, select.EPOLLIN if call.unsent is None else select.EPOLLOUT)
            return

    begun = time.perf_counter()
    for _ in range(at_once):
        begin()
    while calls:
        ready = poll.poll(PATIENCE)
        if not ready:
            raise TimeoutError(f"nothing was answered for {PATIENCE} s")
        for descriptor, _events in ready:
            call = calls[descriptor]
            if call.unsent is not None:
                call.sock.send(call.unsent)
                call.unsent = None
                poll.modify(descriptor, select.EPOLLIN)
                continue
            data = call.sock.recv(1 << 16)
            call.received += len(data)
            if call.received >= answer_size or not data:
                latencies.append(time.perf_counter() - call.begun)
                refused += call.received < answer_size
                del calls[descriptor]
                call.sock.close()
                begin()
    seconds = time.perf_counter() - begun
    poll.close()
    return Result(seconds, sorted(latencies), refused)


def exchange(address: Address, request: bytes) -> bytes:
    """One request, its whole answer, and an orderly leave."""
    with socket.create_connection(address, 60) as sock:
        sock.sendall(request)
        answer = bytearray()
        while piece := sock.recv(1 << 20):
            answer += piece
    return bytes(answer)


def register(address: Address, name: str) -> ClientId:
    """A new client with a key that nobody has."""
    payload = Registration(name, bytes(160)).encode()
    answer = exchange(address, payloads.request(payloads.NOBODY, Request.REGISTER, len(payload)) + payload)
    return ClientId(answer[7:])


def send_request(sender: ClientId, recipient: ClientId, content: bytes) -> bytes:
    payload = SendPrefix(recipient, MessageType.TEXT, len(content)).encode() + content
    return payloads.request(sender, Request.SEND_MESSAGE, len(payload)) + payload


def fetch_request(client: ClientId) -> bytes:
    return payloads.request(client, Request.GET_MESSAGES)
