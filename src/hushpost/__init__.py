"""Hushpost: a self-hosted post office for end-to-end encrypted messages and files."""

__version__ = "0.1.0"
