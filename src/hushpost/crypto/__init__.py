"""Keys and bytes in, bytes out: no input or output, no clock, and randomness from one place only.

`identity` and `prekeys` hold what can be checked with public keys; the server imports nothing else of this
package. Normative text: docs/spec/keys.md, docs/spec/envelope.md, docs/spec/files.md,
docs/spec/auth.md.
"""
