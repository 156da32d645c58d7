"""Parts of files on their way through a server: from connections to the store, and back.

All connections share a few buffers, and few of them are read at once: a part is one *turn*, and a peer that
sends little for a moment loses it to another. Nobody keeps a buffer while waiting for a peer: what has come
is written when the turn ends, and what is read was asked for by a peer that takes it. So slow peers hold up
nobody, uploads hold up no envelope for long, and memory does not grow with the number of transfers.
"""
