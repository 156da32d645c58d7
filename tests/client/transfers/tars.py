"""Tar streams as somebody hostile puts them together."""

from __future__ import annotations

import stat
import tarfile

from hushpost.client.transfers.tarstream import BLOCK, END, encode_header

ITSELF = encode_header("", stat.S_IFDIR | 0o755, 0, 0)
"""The folder's own header, with which every stream begins."""


def stream(*entries: bytes) -> bytes:
    """A whole one, with the folder's own header and the end."""
    return ITSELF + b"".join(entries) + bytes(END)


def blocks(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % BLOCK)


def file(name: str, content: bytes = b"", mode: int = 0o644) -> bytes:
    return encode_header(name, stat.S_IFREG | mode, 0, len(content)) + blocks(content)


def folder(name: str) -> bytes:
    return encode_header(name, stat.S_IFDIR | 0o755, 0, 0)


def header(name: str, kind: bytes, size: int = 0, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info.tobuf(tarfile.USTAR_FORMAT)


def extension(raw: bytes, kind: bytes = tarfile.XHDTYPE, size: int | None = None) -> bytes:
    """A header in front of another, with these bytes or only the claim of so many."""
    return header("././@PaxHeader", kind, len(raw) if size is None else size) + blocks(raw)


def pax(**said: str) -> bytes:
    return extension(b"".join(record(key.replace("_sparse_", ".sparse."), said[key]) for key in said))


def record(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode("utf-8", "surrogateescape")
    size = len(rest) + 1
    while len(str(size)) + len(rest) != size:
        size += 1
    return str(size).encode() + rest


def mended(raw: bytes) -> bytes:
    """With the right checksum in everything that looks like a header."""
    fixed = bytearray(raw)
    for at in range(0, len(fixed) - BLOCK + 1, BLOCK):
        if fixed[at + 257 : at + 265] == tarfile.POSIX_MAGIC:
            fixed[at + 148 : at + 156] = b" " * 8
            fixed[at + 148 : at + 155] = b"%06o\0" % sum(fixed[at : at + BLOCK])
    return bytes(fixed)
