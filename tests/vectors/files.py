"""The files of the vectors: what is done to them on the way, which check notices, what was released then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hushpost.crypto.content import Content, Part, Text, Unknown
from hushpost.crypto.filekeys import FileDigest, FileKey, PartDigest, ReadToken, ReleaseToken
from hushpost.crypto.filelayout import CHUNK, MAX_SIZE, NONCE_SIZE, PART, SEALED_CHUNK, FileLayout
from hushpost.crypto.layout import u32
from hushpost.crypto.offer import FileOffer, Mode
from hushpost.crypto.primitives import sha256
from hushpost.ids import BlobId
from tests.crypto.files import BLOB, KEY, Edit, Reader, Stored, digests, nonce, part_key
from tests.vectors.bodies import Case, flipped

SMALL, LARGE = 200_000, PART + 70_000
"""Four chunks in one part; and two parts, whose last has three chunks, of which one is padding alone."""

SIZES = (
    *(0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 100_000, SMALL, PART - 1, PART, PART + 1, LARGE, 2**23 + 1),
    *(2**28 + 1, 4 * 2**30, 100 * 10**9, MAX_SIZE),
)
SEALED = (0, 1, CHUNK, CHUNK + 1, SMALL, PART, LARGE)


def digest_of(size: int) -> FileDigest:
    return FileDigest.of(size, digests(size))


def case(
    title: str,
    size: int,
    *edits: Edit,
    offered: int | None = None,
    told: bytes | None = None,
    digest: FileDigest | None = None,
    key: FileKey = KEY,
    blob: BlobId = BLOB,
) -> Case:
    """`told`: the list of part digests that the server tells at the beginning, or nothing."""
    stored = Stored.of(size, edits)
    true_size, expected = size if offered is None else offered, digest_of(size) if digest is None else digest
    got = Reader(true_size, expected, told, key, blob).read(stored.parts)
    return {
        "case": title,
        "size": size,
        "edits": [list(edit) for edit in edits],
        "received": sha256(b"".join(stored.parts)).hex(),
        "offered_size": true_size,
        "file_digest": expected.hex(),
        "file_key": key.hex(),
        "blob": blob.hex(),
        "told": None if told is None else told.hex(),
        "fails_at": got.fault,
        "in_part": got.at,
        "released_size": got.released,
        "released": got.hash,
    }


def good_cases() -> Iterator[Case]:
    for size in SEALED:
        yield case(f"{size} bytes", size)
    yield case("with the server's list", LARGE, told=b"".join(digests(LARGE)))


def cut_cases() -> Iterator[Case]:
    end = NONCE_SIZE + 4 * SEALED_CHUNK
    cuts = {0, 1, NONCE_SIZE - 1, end - 1, end - 16, end - 17}
    for number in range(4):
        begin = NONCE_SIZE + number * SEALED_CHUNK
        cuts |= {begin, begin + 1, begin + CHUNK - 1, begin + CHUNK, begin + SEALED_CHUNK - 1}
    for at in sorted(cuts):
        yield case(f"cut after {at} bytes", SMALL, ("cut", 0, at))
    for part, sizes in (
        (0, (0, 16, 16 + 62 * SEALED_CHUNK, 16 + 63 * SEALED_CHUNK - 1)),
        (1, (0, 16, 16 + SEALED_CHUNK)),
    ):
        for at in sizes:
            yield case(f"part {part} cut after {at} bytes", LARGE, ("cut", part, at))
    yield case("the chunk of padding is missing", LARGE, ("drop", 1, 2))


def moved_cases() -> Iterator[Case]:
    yield case("two chunks swapped", SMALL, ("swap", 0, 1, 2))
    yield case("the first and the last chunk swapped", SMALL, ("swap", 0, 0, 3))
    yield case("a chunk doubled", SMALL, ("double", 0, 1))
    yield case("the last chunk doubled", SMALL, ("double", 0, 3))
    yield case("the first chunk dropped", SMALL, ("drop", 0, 0))
    yield case("a chunk over another", SMALL, ("put", 0, 2, 0, 1))
    yield case("the parts swapped", LARGE, ("swap_parts", 0, 1))
    yield case("the first part twice", LARGE, ("copy_part", 1, 0))
    yield case("the last part twice", LARGE, ("copy_part", 0, 1))
    yield case("a chunk of another part", LARGE, ("put", 1, 0, 0, 0))
    yield case("a byte behind the end", SMALL, ("append", 0, 1))
    yield case("a chunk's size behind the end", SMALL, ("append", 0, SEALED_CHUNK))
    yield case("a byte behind a part", LARGE, ("append", 0, 1))


def flipped_cases() -> Iterator[Case]:
    for at in (0, NONCE_SIZE - 1, NONCE_SIZE, NONCE_SIZE + CHUNK, NONCE_SIZE + SEALED_CHUNK - 1):
        yield case(f"a flipped bit in byte {at}", SMALL, ("flip", 0, at))
    yield case("a flipped bit in the third chunk", SMALL, ("flip", 0, NONCE_SIZE + 2 * SEALED_CHUNK + 9))
    yield case("a flipped bit in the last tag", SMALL, ("flip", 0, NONCE_SIZE + 4 * SEALED_CHUNK - 1))
    yield case("a flipped bit in the padding", LARGE, ("flip", 1, NONCE_SIZE + 2 * SEALED_CHUNK))
    yield case("another file key", SMALL, key=FileKey(bytes(32)))
    yield case("another blob", SMALL, blob=BlobId(bytes(16)))


def sealed_cases() -> Iterator[Case]:
    """Of a writer who has the key, and does not keep to the rules."""
    end = SMALL - 3 * CHUNK
    yield case("no last flag", SMALL, ("reseal", 0, 3, 0, end, 0))
    yield case("the last flag too early", SMALL, ("reseal", 0, 2, 1, 0, 0))
    yield case("a last flag on the first part", LARGE, ("reseal", 0, 62, 1, 0, 0))
    yield case("the first byte of padding is 1", SMALL, ("reseal", 0, 3, 1, end, 1))
    yield case("the last byte of padding is 1", SMALL, ("reseal", 0, 3, 1, CHUNK - 1, 1))
    yield case("a chunk of padding begins with 1", LARGE, ("reseal", 1, 2, 1, 0, 1))
    yield case("a chunk of padding ends with 128", LARGE, ("reseal", 1, 2, 1, CHUNK - 1, 128))
    yield case("a smaller true size", SMALL, offered=SMALL - 1)
    yield case("a larger true size", SMALL, offered=SMALL + 1)
    yield case("a true size of a chunk less", SMALL, offered=SMALL - CHUNK)
    yield case("a true size of a chunk more", SMALL, offered=SMALL + CHUNK)
    yield case("a true size of a part less", LARGE, offered=PART)


def digest_cases() -> Iterator[Case]:
    told = b"".join(digests(LARGE))
    other = PartDigest(bytes(32))
    yield case("a part of another attempt", LARGE, ("again", 1))
    yield case("a part of another attempt, with the server's list", LARGE, ("again", 0), told=told)
    yield case("another file digest", SMALL, digest=FileDigest(bytes(32)))
    yield case("a list with another digest", LARGE, told=flipped(told, 40))
    yield case("a list that lacks a part", LARGE, told=told[:32])
    yield case("a list with a part more", LARGE, told=told + other)
    yield case("a list that is cut short", LARGE, told=told[:-1])
    three = FileDigest.of(LARGE, [*digests(LARGE), other])
    yield case(
        "a list with a part more, of which the file digest was made", LARGE, told=told + other, digest=three
    )


OFFER = FileOffer(
    BLOB,
    KEY,
    SMALL,
    digest_of(SMALL),
    ReadToken(bytes(range(32, 64))),
    ReleaseToken(bytes(range(64, 96))),
    "Übersicht.pdf",
    "application/pdf",
)


def offer_cases() -> Iterator[Case]:
    folder = replace(OFFER, size=0, digest=digest_of(0), name="photos", media_type="", mode=Mode.FOLDER)
    good: dict[str, tuple[Part, ...]] = {
        "a file": (OFFER,),
        "a file with a caption": (Text("as promised"), OFFER),
        "a folder": (folder,),
        "an offer of version 2": (Unknown(16, b"\2later"),),
    }
    for title, parts in good.items():
        yield {"case": title, "content": Content.of(*parts).encode().hex(), "fails_at": None}
    raw = OFFER.encode()
    bad = {
        "an offer of nothing": b"",
        "a mode of later times": b"\1\2" + raw[2:],
        "a size above 2^44": raw[:50] + (MAX_SIZE + 1).to_bytes(8, "little") + raw[58:],
        "a part too many": raw[:58] + u32(2) + raw[62:],
        "a name that is not UTF-8": raw[:159] + b"\xff" + raw[160:],
        "cut short": raw[:-1],
        "a byte behind the end": raw + b"\0",
    }
    for title, each in bad.items():
        content = b"\1\1\x10\0" + u32(len(each)) + each
        yield {"case": title, "content": content.hex(), "fails_at": "CONTENT"}


def layout(size: int) -> Case:
    found = FileLayout(size)
    last = found.part(found.count - 1)
    return {
        "size": size,
        "padded": found.padded_size,
        "parts": found.count,
        "chunks_of_the_last": last.chunks,
        "sealed": found.sealed_size,
    }


def files() -> dict[str, object]:
    return {
        "source": "made by tests/vectors/make_v3.py; bytes are hexadecimal",
        "plaintext": "SHA-256 of u64(0), of u64(1), and so on, joined and cut to the size",
        "nonces": "15 times the part's number, then 1; after the edit `again`, then 2",
        "edits": "see class Stored in tests/crypto/files.py; chunks and parts are counted from 0",
        "layouts": [layout(size) for size in SIZES],
        "part_keys": [
            {"part": part, "nonce": nonce(part).hex(), "key": part_key(part).hex()} for part in (0, 1)
        ],
        "sealed": [
            {
                "size": size,
                "part_digests": [each.hex() for each in digests(size)],
                "file_digest": digest_of(size).hex(),
            }
            for size in SEALED
        ],
        "offers": list(offer_cases()),
        "cases": [
            *good_cases(),
            *cut_cases(),
            *moved_cases(),
            *flipped_cases(),
            *sealed_cases(),
            *digest_cases(),
        ],
    }
