"""Who is let in: the limit of handshakes, and TLS itself."""

from __future__ import annotations

import asyncio
import socket

from hushpost.server import net
from hushpost.server.office import Office
from hushpost.server.refusals import Refusal

SHUTDOWN_SECONDS = 5.0
"""For the peer to answer our end of TLS."""


class TlsTransport(asyncio.Transport):
    """What is agreed on, with what the type stubs leave out."""

    def set_read_buffer_limits(self, high: int | None) -> None:
        """Take nothing more from the socket while so many bytes wait to be decrypted."""


def is_welcome(office: Office, host: str) -> bool:
    """Unless too many come from its address: a handshake costs us more than them."""
    try:
        office.budgets.connections.take(net.origin(host))
    except Refusal:
        office.counts["connections-refused"] += 1
        return False
    return True


async def shake_hands(office: Office, accepted: socket.socket, protocol: asyncio.BaseProtocol) -> bool:
    """Agree on TLS; whether that was possible."""
    try:
        await office.loop.connect_accepted_socket(
            lambda: protocol,
            accepted,
            ssl=office.identity.shown.context,
            ssl_handshake_timeout=office.limits.entry_deadline + net.SWEEP_SECONDS,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )
    except OSError:  # garbage, another protocol, an older TLS, or gone: TLS errors are of this kind, too
        office.counts["handshakes-failed"] += 1
        return False
    return True
