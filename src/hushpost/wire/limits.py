"""How much version 3 accepts: every limit of the format, with its reason.

These belong to the protocol and are the same on every server; decoding enforces them. What one server
chooses for itself (quotas, rates, deadlines) stands in its settings and is told in `hello`.
"""

from __future__ import annotations

MAX_PAYLOAD = 1 << 20
"""1 MiB: the largest send (150 headers and a body) and every page fit; a peer can make us keep no more."""

MAX_EARLY_PAYLOAD = 64 * 1024
"""Before authentication: a registration has at most 52 KiB, and a stranger shall not make us keep more."""

MAX_OPEN_REQUESTS = 256
"""Requests of one connection that await their answers: over a path of 200 ms that is 1,280 a second."""

HEADER_SIZE = 1_648
"""A sealed header: 1,120 bytes of X-Wing, 512 of plaintext, 16 of tag. One size, so that it tells nothing."""

MAX_ENVELOPE = 256 * 1024
"""A header and a body. Larger contents travel as files, where they delay no message."""

MAX_BODY = MAX_ENVELOPE - HEADER_SIZE

MAX_DEVICES = 150
"""Devices of one account, so headers of one send (242 KiB). Beyond it, an Olm message each costs too much."""

MAX_MANIFEST = 24 * 1024
"""A signed manifest: 150 devices of 136 bytes, and the account's own part, leave a tenth to spare."""

MAX_MANIFESTS = 24
"""In one answer: 576 KiB, which leaves room for the keys of 150 devices. Longer chains come in pages."""

MAX_SIGNED_KEY = 256
"""A signed Curve25519 key: 32 bytes, a signature of 64, and what they are bound to."""

MAX_SEAL_KEY = 2_048
"""A signed X-Wing key: 1,216 bytes, a signature of 64, and what they are bound to."""

MAX_ONE_TIME_KEYS = 100
"""In one upload: twice what a device keeps published, so that one upload always fills up."""

MAX_RETIRED = 64
"""Retired seal keys told at once: two months of daily rotation. The oldest are told first."""

MAX_STATEMENT = 1_024
"""The server identity's signed statement about its certificate: about 200 bytes today."""

MAX_DIRECTORY_PAGE = 200
"""Accounts in one page: 54 KiB with the longest names."""

MAX_PAGE_BYTES = MAX_PAYLOAD - 64 * 1024
"""Headers and bodies in one page or push. The 64 KiB pay for what MessagePack adds, 46 bytes an envelope."""

MAX_PAGE_COUNT = MAX_PAGE_BYTES // HEADER_SIZE
"""Envelopes in one page or push: more cannot fit, since each has a header."""

MAX_ACKNOWLEDGED = 1_000
"""Sequences in one acknowledgement: more than a page, so that a page needs one request."""

MAX_FEATURES = 32
MAX_WORD = 64
"""Characters of a machine-readable word: the name of a feature, an error, a limit, a kind of usage."""

MAX_TOLD = 64
"""Entries of `limits` in hello, and of what `usage` answers."""

MAX_SENTENCE = 1_024
"""Characters of a text for people."""

PART_SIZE = 4_129_792
"""A full sealed part of a file: a nonce of 16 bytes and 63 chunks of 65,552. All but the last are full."""

MAX_PART_HEAD = 256
"""The fields of a message that carries data: 130 bytes today."""

MAX_PART_PAYLOAD = 2 + MAX_PART_HEAD + PART_SIZE
"""Of a message that carries a part. It passes through and is nowhere kept whole."""

MAX_BLOB = 2**44 + 2**40
"""All sealed parts of the largest file, with padding, tags and nonces."""

MAX_RELEASES = 256
"""Accounts that one blob can be for."""

MAX_STATUS_PARTS = 16_384
"""Parts in one status: 64 GiB of a file, and 557,056 bytes."""
