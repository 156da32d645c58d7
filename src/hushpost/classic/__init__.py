"""The classic protocol (versions 1 and 2), whole, in one room.

It protects little: docs/threat-model-classic.md. Nothing outside this package knows RSA-1024 or AES-128-CBC;
nothing in version 3 falls back to it.
"""
