"""me.info: who a client is, in the original's format, so that either client can take over.

    name | 32 hexadecimal digits, upper case | base64 of the PKCS#8 private key, zero-padded to 1000

One line each, ended by a newline. Normative text: docs/spec/classic.md, section "Files".
"""

from __future__ import annotations

import base64

import msgspec

from hushpost.classic.crypto import PrivateKey
from hushpost.classic.payloads import ClientId

PADDED_KEY_SIZE = 1000
"""The original writes the private key in a field of this size."""


class Identity(msgspec.Struct, frozen=True):
    """Who we are to the server: what me.info holds."""

    name: str
    client_id: ClientId
    private_key: PrivateKey

    def encode(self) -> bytes:
        """The original's format: name, upper-case id, base64 of the key padded to 1000 bytes."""
        key = base64.b64encode(self.private_key.encode().ljust(PADDED_KEY_SIZE, b"\0")).decode()
        return f"{self.name}\n{self.client_id.hex().upper()}\n{key}\n".encode()

    @classmethod
    def decode(cls, raw: bytes) -> Identity:
        """Read that, and what the original reads too: lower case, no padding, CRLF, no last newline.

        Raises:
            ValueError: with a sentence that says which line is wrong.
        """
        try:
            lines = raw.decode().rstrip("\r\n").split("\n")
        except UnicodeDecodeError:
            raise ValueError("it is not UTF-8") from None
        if len(lines) != 3:
            raise ValueError(f"it has {len(lines)} lines instead of 3")
        name, client_id, key = (line.removesuffix("\r") for line in lines)
        if not name:
            raise ValueError("its first line, the name, is empty")
        try:
            parsed_id = ClientId.parse(client_id.strip())
        except ValueError:
            raise ValueError("its second line is not an id of 32 hexadecimal digits") from None
        try:
            return cls(name, parsed_id, PrivateKey.decode(base64.b64decode(key.strip(), validate=True)))
        except ValueError:
            raise ValueError("its third line is not a private key in base64") from None
