"""Files as a stream of sealed chunks: each part by itself, in any order, in bounded memory.

    part = nonce 16 | chunk | chunk | ...
    part key = HKDF(file key, salt = nonce, blob id, part index)
    chunk nonce = number of the chunk in its part, 11 bytes | 1 for the last chunk of the file, else 0

A part that is sent again is sealed under a new nonce, and so under a new key: no pair of key and chunk nonce
serves twice, whatever the source holds by then. What is opened is released chunk by chunk, each after its
tag. Normative text: docs/spec/files.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from blake3 import blake3

from hushpost.crypto.faults import FileFault
from hushpost.crypto.filekeys import FileKey, PartDigest, PartNonce
from hushpost.crypto.filelayout import CHUNK, NONCE_SIZE, SEALED_CHUNK, Part
from hushpost.crypto.layout import u32
from hushpost.crypto.primitives import Buffer, ChunkCipher, Label, Secret, derive
from hushpost.errors import FileError, Undecryptable
from hushpost.ids import BlobId

STEP = 8 * CHUNK
"""Bytes that are sealed and then hashed before the next: a core's cache holds them, twice."""

_ZEROS = bytes(CHUNK)


class _Chunks:
    """What sealing and opening a part have in common: its key, and the count of its chunks."""

    def __init__(self, key: FileKey, blob: BlobId, part: Part, nonce: PartNonce) -> None:
        self.salt = nonce
        derived = derive(Label.FILE_PART, key, blob, u32(part.index), salt=nonce)
        self.cipher = ChunkCipher(Secret(derived))
        self.part = part
        self.done = 0

    @property
    def left(self) -> int:
        return self.part.chunks - self.done

    @property
    def sealed(self) -> int:
        """Bytes of the part before the next chunk."""
        return NONCE_SIZE + self.done * SEALED_CHUNK

    @property
    def true(self) -> int:
        """Bytes of the file in the next chunk."""
        return self.part.true_in(self.done)

    @property
    def nonce(self) -> bytes:
        """Of the next chunk."""
        last = self.part.last and self.left == 1
        return self.done.to_bytes(11, "little") + (b"\1" if last else b"\0")


@dataclass(frozen=True, slots=True)
class PartSealer:
    """Encrypts the parts of a blob, in any order. It keeps nothing between them: any thread may use it."""

    key: FileKey
    blob: BlobId

    def seal(
        self, part: Part, plain: Iterable[Buffer], into: Buffer, nonce: PartNonce | None = None
    ) -> PartDigest:
        """One attempt, under a nonce of its own.

        Args:
            plain: the part's `true` bytes, in pieces of whole chunks; the last may be shorter. Each is done
                with when the next is asked for. What a whole chunk lacks becomes zeros.
            into: gets the part: its `sealed_size` bytes are written over.
            nonce: serves once, so only vectors give one.

        Raises:
            ValueError: one of them has another size. What is in `into` then is no part.
        """
        target = memoryview(into)
        if len(target) != part.sealed_size:
            raise ValueError("the buffer has another size than the sealed part")
        nonce = nonce or PartNonce.random()
        chunks = _Chunks(self.key, self.blob, part, nonce)
        target[:NONCE_SIZE] = nonce
        digest = blake3(nonce)
        for piece in _whole(part, plain):
            begin = end = chunks.sealed
            for at in range(0, len(piece), CHUNK):
                begun, end = end, end + SEALED_CHUNK
                chunks.cipher.seal(chunks.nonce, piece[at : at + CHUNK], target[begun:end])
                chunks.done += 1
            digest.update(target[begin:end])
        return PartDigest(digest.digest())


def _whole(part: Part, plain: Iterable[Buffer]) -> Iterator[memoryview]:
    """The same bytes in whole chunks, a few at once, and zeros for what the part has no bytes for."""
    left, chunks = part.true, part.chunks
    for each in plain:
        piece = memoryview(each)
        left -= len(piece)
        rest = len(piece) % CHUNK
        if left < 0 or (left and rest):
            break
        whole = piece[: len(piece) - rest]
        chunks -= len(whole) // CHUNK
        for at in range(0, len(whole), STEP):
            yield whole[at : at + STEP]
        if rest:
            chunks -= 1
            yield memoryview(bytes(piece[-rest:]).ljust(CHUNK, b"\0"))
    if left:
        raise ValueError("the source gives more or less than this part holds")
    for _ in range(chunks):
        yield memoryview(_ZEROS)


@dataclass(frozen=True, slots=True)
class _Unbegun:
    """A part whose nonce has not come."""

    key: FileKey
    blob: BlobId
    part: Part


class PartOpener:
    """Decrypts one part as it comes in, and releases what is verified, chunk by chunk.

    However the stream is cut, the same is released and the same check fails. A failure is final: every later
    call raises it again. Less than a chunk of the stream is kept.

    Args:
        into: the chunks are put together here, `part.chunks` times 65,536 bytes; without it, each takes the
            place of the one before.
    """

    def __init__(self, key: FileKey, blob: BlobId, part: Part, into: memoryview | None = None) -> None:
        self._state: _Unbegun | _Chunks | FileFault = _Unbegun(key, blob, part)
        self._hash = blake3()
        self._held = bytearray(SEALED_CHUNK)
        self._held_size = 0
        self._plain = memoryview(bytearray(CHUNK)) if into is None else into
        self._step = 0 if into is None else CHUNK

    def feed(self, data: Buffer) -> Iterator[memoryview]:
        """The true bytes of each chunk that is complete now, in their order. Go through all of them.

        What is yielded can be used until the next one is asked for. A chunk of padding yields nothing.

        Raises:
            FileError: CHUNK, PADDING or TRAILING. Of the chunk that fails nothing has been yielded.
        """
        rest = memoryview(data)
        self._hash.update(rest)
        while True:
            state = self._state
            if isinstance(state, FileFault):
                raise FileError(state)
            if not rest:
                return
            if isinstance(state, _Chunks) and not state.left:
                self._fail(FileFault.TRAILING)
            piece, rest = self._cut(rest, NONCE_SIZE if isinstance(state, _Unbegun) else SEALED_CHUNK)
            if not piece:
                return
            if isinstance(state, _Unbegun):
                self._state = _Chunks(state.key, state.blob, state.part, PartNonce(bytes(piece)))
            elif chunk := self._open(state, piece):
                with chunk:
                    yield chunk

    def finish(self) -> PartDigest:
        """The stream is over.

        Raises:
            FileError: TRUNCATED, or what failed before.
        """
        if self._begun.left:
            self._fail(FileFault.TRUNCATED)
        return PartDigest(self._hash.digest())

    @property
    def nonce(self) -> PartNonce:
        """Under which the part was sealed. Ask when it is finished.

        Raises:
            FileError: as `finish`.
        """
        return self._begun.salt

    @property
    def _begun(self) -> _Chunks:
        state = self._state
        if not isinstance(state, _Chunks):
            self._fail(state if isinstance(state, FileFault) else FileFault.TRUNCATED)
        return state

    def _cut(self, rest: memoryview, size: int) -> tuple[memoryview, memoryview]:
        """The next `size` bytes of the stream, or none as long as they are not there; and what is behind."""
        if not self._held_size and len(rest) >= size:
            return rest[:size], rest[size:]
        begin, end = self._held_size, min(self._held_size + len(rest), size)
        self._held[begin:end] = rest[: end - begin]
        self._held_size = end % size
        return memoryview(self._held)[: 0 if self._held_size else size], rest[end - begin :]

    def _open(self, chunks: _Chunks, sealed: memoryview) -> memoryview:
        """Decrypt and check a chunk in its place; those of its bytes that are the file's."""
        true, begin = chunks.true, chunks.done * self._step
        plain = self._plain[begin : begin + CHUNK]
        try:
            chunks.cipher.unseal(chunks.nonce, sealed, plain)
        except Undecryptable:
            self._drop(plain, FileFault.CHUNK)
        if true < CHUNK and plain[true:].tobytes() != _ZEROS[true:]:
            self._drop(plain, FileFault.PADDING)
        chunks.done += 1
        return plain[:true].toreadonly()

    def _drop(self, plain: memoryview, fault: FileFault) -> NoReturn:
        """What did not pass is not left lying about."""
        plain[:] = _ZEROS
        self._fail(fault)

    def _fail(self, fault: FileFault) -> NoReturn:
        self._state = fault
        raise FileError(fault)
