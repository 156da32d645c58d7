"""The classic protocol's cryptography, as it must be to be understood, not as one would do it today.

    pair key   RSAES-OAEP (SHA-1, MGF1-SHA-1, no label) under RSA-1024, e = 17: 128 bytes
    contents   AES-128-CBC, IV of 16 zero bytes, PKCS#7; a text is UTF-8 and one NUL

None of it is authenticated: whoever can change a ciphertext can change the text, and a wrong key is
noticed only by its padding, which fits by chance once in 256 times. Nothing outside `classic` may
import this module, and no other module of `classic` imports `cryptography`.

Normative text: docs/spec/classic.md, section "Cryptography".
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from math import lcm

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from hushpost.classic.payloads import PUBLIC_KEY_SIZE
from hushpost.errors import ProtocolError, Undecryptable
from hushpost.ids import FixedBytes

RSA_BITS = 1024
RSA_EXPONENT = 17
"""With 65537 the public key's DER has 162 bytes and does not fit the 160 of the protocol."""

WRAPPED_KEY_SIZE = RSA_BITS // 8
BLOCK = 16
PIECE = 1 << 20
"""How much is encrypted or decrypted in one call: large enough that the call itself costs nothing."""

Bytes = bytes | bytearray | memoryview

_OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # noqa: S303
_ZERO_IV = bytes(BLOCK)


class PairKey(FixedBytes):
    """The AES-128 key of a pair of clients, for both directions. It never prints itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "PairKey(...)"

    __str__ = __repr__


class PrivateKey:
    """Our RSA key. `encode` gives PKCS#8 DER, `public_key` the 160 bytes that are registered."""

    __slots__ = ("_key",)

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> PrivateKey:
        """A fresh key.

        `cryptography` makes keys with e = 65537 (or 3) only, so its primes are taken and the exponents
        computed anew, where 17 has an inverse.
        """
        while True:
            numbers = rsa.generate_private_key(65537, RSA_BITS).private_numbers()
            p, q = numbers.p, numbers.q
            if (p - 1) % RSA_EXPONENT and (q - 1) % RSA_EXPONENT:
                break
        d = pow(RSA_EXPONENT, -1, lcm(p - 1, q - 1))
        return cls(
            rsa.RSAPrivateNumbers(
                p=p,
                q=q,
                d=d,
                dmp1=d % (p - 1),
                dmq1=d % (q - 1),
                iqmp=rsa.rsa_crt_iqmp(p, q),
                public_numbers=rsa.RSAPublicNumbers(RSA_EXPONENT, p * q),
            ).private_key()
        )

    @classmethod
    def decode(cls, der: bytes) -> PrivateKey:
        """Read PKCS#8 DER; zero bytes after it are padding.

        Raises:
            ValueError: not such a key, or one whose public key has not 160 bytes.
        """
        size = 4 + int.from_bytes(der[2:4], "big")
        if der[:2] != b"\x30\x82" or size > len(der) or any(der[size:]):
            raise ValueError("not PKCS#8 DER")
        try:
            key = serialization.load_der_private_key(der[:size], password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ValueError("not a readable private key") from None
        if not isinstance(key, rsa.RSAPrivateKey) or len(_spki(key.public_key())) != PUBLIC_KEY_SIZE:
            raise ValueError("not an RSA key of the classic protocol's size")
        return cls(key)

    def encode(self) -> bytes:
        """PKCS#8 DER, about 633 bytes, not padded."""
        return self._key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def public_key(self) -> bytes:
        """X.509 SubjectPublicKeyInfo DER: exactly 160 bytes."""
        return _spki(self._key.public_key())

    def unwrap(self, content: bytes) -> PairKey:
        """Open the content of a key message.

        Raises:
            Undecryptable: not sealed for this key, or not 16 bytes inside.
        """
        try:
            return PairKey(self._key.decrypt(content, _OAEP))
        except ValueError:
            raise Undecryptable("the key was not sealed for us, or is damaged") from None


def wrap(key: PairKey, their_public_key: bytes) -> bytes:
    """The content of a key message: 128 bytes.

    Raises:
        ProtocolError: the server keeps any 160 bytes as a public key, and these are none.
    """
    try:
        theirs = serialization.load_der_public_key(their_public_key)
    except (ValueError, UnsupportedAlgorithm):
        theirs = None
    if not isinstance(theirs, rsa.RSAPublicKey) or theirs.key_size != RSA_BITS:
        raise ProtocolError(
            "what this client registered is not a public key",
            hint="nothing can be sealed for it; it has to register anew, under another name",
        )
    return theirs.encrypt(key, _OAEP)


def new_pair_key() -> PairKey:
    """A fresh random key."""
    return PairKey(os.urandom(PairKey.SIZE))


def sealed_size(size: int) -> int:
    """How long the ciphertext of `size` bytes is: padded to whole blocks, and always padded."""
    return size - size % BLOCK + BLOCK


def seal_pieces(key: PairKey, pieces: Iterable[Bytes]) -> Iterator[memoryview]:
    """Encrypt a stream. What is yielded is a view that is valid until the next."""
    encryptor = _cipher(key).encryptor()
    out = bytearray(PIECE + BLOCK)
    view, size = memoryview(out), 0
    for piece in pieces:
        size += len(piece)
        for part in _parts(piece):
            yield view[: encryptor.update_into(part, out)]
    pad = BLOCK - size % BLOCK
    yield view[: encryptor.update_into(bytes([pad]) * pad, out)]


def open_pieces(key: PairKey, pieces: Iterable[Bytes]) -> Iterator[memoryview]:
    """Decrypt a stream. What is yielded is a view that is valid until the next.

    Only when the iterator has ended by itself was the whole in order: release nothing before.

    Raises:
        Undecryptable: at the end: the padding is wrong, or the size is no whole number of blocks.
    """
    decryptor = _cipher(key).decryptor()
    out = memoryview(bytearray(PIECE + 2 * BLOCK))
    held, size = 0, 0  # the last block stays at the front of `out`: it may be the padding
    for piece in pieces:
        size += len(piece)
        for part in _parts(piece):
            total = held + decryptor.update_into(part, out[held:])
            held = min(total, BLOCK)
            if total > held:
                yield out[: total - held]
            out[:held] = out[total - held : total]
    if size % BLOCK or not size:
        raise Undecryptable("the content is not a whole number of blocks")
    pad = _padding(out[:BLOCK])
    if not pad:
        raise Undecryptable("the content does not open with any key we have for this sender")
    if pad < BLOCK:
        yield out[: BLOCK - pad]


def padding_under(key: PairKey, previous: bytes, last: bytes) -> int:
    """How many bytes of padding (1-16) this key finds in the `last` block of a content, 0 for none.

    `previous` is the block of ciphertext before it, zeros where there is none. This tells a wrong key
    without decrypting the whole: n bytes of padding fit by chance once in 256**n.
    """
    decryptor = Cipher(algorithms.AES(key), modes.CBC(previous)).decryptor()
    return _padding(decryptor.update(last))


class OpenedText(msgspec.Struct, frozen=True):
    """A text as it came out, cut at its first NUL; bytes that are not UTF-8 show as U+FFFD.

    Attributes:
        strict: UTF-8 throughout and one NUL, at its end: what a client of this protocol sends.
        readable: UTF-8 up to the first NUL; if not, the key was probably a wrong one.
    """

    text: str
    strict: bool
    readable: bool


def seal_text(key: PairKey, text: str) -> bytes:
    """Raises:
    ValueError: a NUL (every reader would cut the text there), or a lone surrogate.
    """
    if "\0" in text:
        raise ValueError("a text cannot hold a NUL character")
    return b"".join(bytes(piece) for piece in seal_pieces(key, [text.encode() + b"\0"]))


def open_text(key: PairKey, content: bytes) -> OpenedText:
    """Raises:
    Undecryptable: the padding is wrong, or the size is no whole number of blocks.
    """
    raw = b"".join(bytes(piece) for piece in open_pieces(key, [content]))
    shown, _, rest = raw.partition(b"\0")
    try:
        text, readable = shown.decode(), True
    except UnicodeDecodeError:
        text, readable = shown.decode(errors="replace"), False
    return OpenedText(text, strict=readable and not rest and raw.endswith(b"\0"), readable=readable)


def _cipher(key: PairKey) -> Cipher[modes.CBC]:
    return Cipher(algorithms.AES(key), modes.CBC(_ZERO_IV))


def _spki(key: rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _parts(piece: Bytes) -> Iterator[memoryview]:
    view = memoryview(piece)
    for start in range(0, len(view), PIECE):
        yield view[start : start + PIECE]


def _padding(block: Bytes) -> int:
    pad = block[-1]
    return pad if 1 <= pad <= BLOCK and bytes(block[-pad:]) == bytes([pad]) * pad else 0
