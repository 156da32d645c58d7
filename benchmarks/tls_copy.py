"""The baseline: a process that takes bytes over TLS, or gives them, and does nothing else.

The first byte of a connection says which, `<` or `>`, and the eight behind it how many. What it took it
answers with one byte.
"""

from __future__ import annotations

import socket
import ssl
import threading

from benchmarks.tls_echo import context

PIECE = 1 << 20


def _serve(accepted: socket.socket, tls: ssl.SSLContext) -> None:
    buffer = memoryview(bytearray(PIECE))
    with tls.wrap_socket(accepted, server_side=True) as stream:
        head = stream.recv(9)
        left = int.from_bytes(head[1:], "little")
        while left and head[:1] == b"<":
            left -= stream.recv_into(buffer)
        while left:
            stream.sendall(buffer[: min(left, PIECE)])
            left -= min(left, PIECE)
        if head[:1] == b"<":
            stream.sendall(b".")


def main() -> None:
    tls = context()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            accepted, _ = listener.accept()
            threading.Thread(target=_serve, args=(accepted, tls), daemon=True).start()


if __name__ == "__main__":
    main()
