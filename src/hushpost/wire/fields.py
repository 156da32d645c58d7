"""The types of single fields: what they are called in the specification, and what decoding accepts.

Ids and keys are plain bytes here, of exact sizes; who handles them makes types of its own of them.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from hushpost.wire import limits

U32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]

U63 = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A u64 whose top bit is zero: databases know signed numbers only, and nothing ever counts so far."""

Id16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Id16OrEmpty = Annotated[bytes, Meta(max_length=16, extra={"or_empty": 16})]
"""Empty where the field says what that means. Whoever holds one checks it with `exact_or_empty`."""

Nonce32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Hash32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Hash32OrEmpty = Annotated[bytes, Meta(max_length=32, extra={"or_empty": 32})]
Token32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Token32OrEmpty = Annotated[bytes, Meta(max_length=32, extra={"or_empty": 32})]
Signature64 = Annotated[bytes, Meta(min_length=64, max_length=64)]

BlobSize = Annotated[int, Meta(ge=1, le=limits.MAX_BLOB)]

Header = Annotated[bytes, Meta(min_length=limits.HEADER_SIZE, max_length=limits.HEADER_SIZE)]
Body = Annotated[bytes, Meta(min_length=1, max_length=limits.MAX_BODY)]
Manifest = Annotated[bytes, Meta(min_length=1, max_length=limits.MAX_MANIFEST)]
SignedKey = Annotated[bytes, Meta(min_length=1, max_length=limits.MAX_SIGNED_KEY)]
SignedKeyOrEmpty = Annotated[bytes, Meta(max_length=limits.MAX_SIGNED_KEY)]
OneTimeKeys = Annotated[list[SignedKey], Meta(max_length=limits.MAX_ONE_TIME_KEYS)]
SealKey = Annotated[bytes, Meta(min_length=1, max_length=limits.MAX_SEAL_KEY)]
SealKeyOrEmpty = Annotated[bytes, Meta(max_length=limits.MAX_SEAL_KEY)]
Statement = Annotated[bytes, Meta(min_length=1, max_length=limits.MAX_STATEMENT)]
Detail = Annotated[bytes, Meta(max_length=limits.MAX_MANIFEST)]

Name = Annotated[str, Meta(max_length=254)]
"""See `hushpost.names`; whoever holds one checks it with that rule."""

Word = Annotated[str, Meta(pattern=r"\A[a-z0-9]+([-_.][a-z0-9]+)*\Z", max_length=limits.MAX_WORD)]
Features = Annotated[list[Word], Meta(max_length=limits.MAX_FEATURES)]
Sentence = Annotated[str, Meta(max_length=limits.MAX_SENTENCE)]


def exact_or_empty(value: bytes, size: int) -> None:
    """What an `...OrEmpty` of exact size demands besides its bound.

    Raises:
        ValueError: another size.
    """
    if value and len(value) != size:
        raise ValueError(f"a field of {size} bytes or none has {len(value)}")


def distinct(values: list[bytes]) -> None:
    """Raises:
    ValueError: something stands there twice.
    """
    if len(set(values)) != len(values):
        raise ValueError("the same thing twice")
