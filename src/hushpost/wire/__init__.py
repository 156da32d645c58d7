"""Bytes to messages and back. Sans-I/O: no socket, no file, no clock, no randomness."""
