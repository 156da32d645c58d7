"""What comes of a file: parts that are changed and cut on the way, offers, names."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from hushpost.crypto.faults import FileFault
from hushpost.crypto.filekeys import PartDigests
from hushpost.crypto.filelayout import FileLayout, Part
from hushpost.crypto.filestream import PartOpener
from hushpost.crypto.offer import FileOffer
from hushpost.errors import FileError
from hushpost.filenames import safe_name
from tests.crypto.files import BLOB, KEY, chunk, digests, sealed_parts, source
from tests.safety import check_name

SIZE = 150_000
"""Three chunks, the last one padded."""

PART: Part = FileLayout(SIZE).part(0)
SEALED = sealed_parts(SIZE)[0]
COMMAND = 5
"""Bytes of one change: what, and a u32 that says where."""


def files(data: bytes) -> None:
    """Only true bytes of a file come out; every change is noticed; names and offers do no harm."""
    variant, raw = data[:1] or b"\0", data[1:]
    (_part, _offer, _name)[variant[0] % 3](raw)


def _part(raw: bytes) -> None:
    """First the number of cuts, and a u32 for each; then changes."""
    count = (raw[:1] or b"\0")[0] % 16
    cuts, commands = raw[1 : 1 + 4 * count], raw[1 + 4 * count :]
    received = bytearray(SEALED)
    for at in range(0, min(len(commands), 8 * COMMAND), COMMAND):
        command = commands[at : at + COMMAND]
        CHANGES[command[0] % len(CHANGES)](received, int.from_bytes(command[1:], "little"))
    places = [
        int.from_bytes(cuts[at : at + 4], "little") % (len(received) + 1) for at in range(0, len(cuts), 4)
    ]
    at_once, piecewise = _read(received, []), _read(received, sorted(places))
    assert at_once == piecewise, "cutting changed the result"
    fault, released = at_once
    assert source(SIZE).startswith(released), "something was released that is not the file's"
    assert (fault is None) == (received == SEALED), "a change that nobody noticed"
    assert fault is not None or len(released) == SIZE, "a part of the file is missing"


def _read(received: bytearray, places: list[int]) -> tuple[FileFault | None, bytes]:
    """The check that failed, and what was released before."""
    opener, released, view = PartOpener(KEY, BLOB, PART), bytearray(), memoryview(received)

    def read() -> None:
        for begin, end in pairwise([0, *places, len(view)]):
            for true in opener.feed(view[begin:end]):
                released.extend(true)
        PartDigests(digests(SIZE)).confirm(0, opener.finish())

    fault = _fault(read)
    if fault not in {None, FileFault.PART_DIGEST}:
        assert _fault(lambda: list(opener.feed(SEALED))) == fault, "a failed part came back to life"
    return fault, bytes(released)


def _fault(call: Callable[[], object]) -> FileFault | None:
    try:
        call()
    except FileError as error:
        return FileFault(error.reason)
    return None


def _flip(received: bytearray, at: int) -> None:
    if received:
        received[at % len(received)] ^= 1 << (at >> 29)


def _cut(received: bytearray, at: int) -> None:
    del received[at % (len(received) + 1) :]


def _append(received: bytearray, count: int) -> None:
    received += bytes(count % 70_000)


def _remove(received: bytearray, at: int) -> None:
    begin = at % (len(received) + 1)
    del received[begin : begin + (at >> 24)]


def _double(received: bytearray, number: int) -> None:
    end = chunk(number % 3).stop
    received[end:end] = received[chunk(number % 3)]


def _swap(received: bytearray, number: int) -> None:
    one, other = chunk(number % 3), chunk(number // 3 % 3)
    received[one], received[other] = received[other], received[one]


CHANGES = (_flip, _cut, _append, _remove, _double, _swap)


def _offer(raw: bytes) -> None:
    try:
        offer = FileOffer.decode(raw)
    except ValueError:
        return
    assert offer.encode() == raw, "there are two spellings of one offer"
    check_name(safe_name(offer.name))


def _name(raw: bytes) -> None:
    there: set[str] = set()
    hostile = raw.decode("utf-8", "surrogateescape")
    for _ in range(3):
        name = safe_name(hostile, there.__contains__)
        check_name(name)
        assert name not in there, "it is there already"
        assert safe_name(name) == name, "a safe name is safe"
        there.add(name)
