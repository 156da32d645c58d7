"""What the public library offers for files: the part of `hushpost.Client` that carries them."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from hushpost.client.store import Automatic
from hushpost.client.transfers.naming import as_folder
from hushpost.client.transfers.porter import Porter
from hushpost.client.transfers.progress import Report, silent
from hushpost.client.values import Transfer
from hushpost.ids import AccountId, MessageId


class Files:
    """A profile's files. A file has the id of the message that offers it."""

    def __init__(self, porter: Porter) -> None:
        self._porter = porter

    async def send_file(
        self,
        contact: AccountId,
        source: Path | IO[bytes],
        *,
        name: str = "",
        caption: str = "",
        progress: Report = silent,
    ) -> Transfer:
        """Send a file, or a folder, or what a pipe holds. Its message is on its way when this returns.

        It is durable from the beginning: whatever ends this call, cancellation included, `resume` goes on. A
        pipe is read to its end first; before that, it cannot be resumed. What breaks the connection is tried
        again for as long as something moves, and for a minute without.

        Args:
            name: what the recipient is told; without it, what the file is called here.

        Raises:
            Blocked, UsageError: nothing was begun.
            SourceChanged: the file was written to meanwhile; `resume` begins again under new keys.
            Unreachable, StoreFull: later; `resume` goes on.
        """
        return await self._porter.send(contact, source, name, caption, progress)

    async def receive_file(
        self, message: MessageId, destination: Path, *, progress: Report = silent
    ) -> Transfer:
        """Fetch the file that a message offers. It has its name when it is whole, verified and durable.

        Args:
            destination: a folder, in which it is called what its sender said, made safe; or a name of its
                own, which must be free. Nothing is ever overwritten.

        Raises:
            UsageError: nobody offers this, it was fetched before, or the destination cannot be.
            FileError: the server does not have what was offered.
            NoRoom: nothing was written.
            Unreachable: later; `resume` goes on.
        """
        return await self._porter.receive(message, str(destination), progress)

    async def stream_file(self, message: MessageId, handle: int, *, progress: Report = silent) -> Transfer:
        """Write the file that a message offers to an open file descriptor, in order, each part verified.

        If it fails, what was written is the beginning. The server keeps the file: see `cancel`.

        Raises:
            As `receive_file`.
        """
        return await self._porter.stream(message, handle, progress)

    async def transfers(self) -> list[Transfer]:
        """Every file that was sent or offered, the oldest first."""
        return await self._porter.every()

    async def transfer(self, message: MessageId) -> Transfer:
        """One of them. Raises UsageError: there is none of this id."""
        return await self._porter.get(message)

    async def resume(self, *, progress: Report = silent) -> list[Transfer]:
        """Go on with everything that waits or has failed; how it stands then.

        Raises:
            Unreachable: there is no connection.
        """
        return await self._porter.resume(progress)

    async def cancel(self, message: MessageId) -> Transfer:
        """Nobody wants this file any more: what is here of it goes, and the server need not keep it.

        Raises:
            UsageError: there is no such file, it is through already, or another process carries it.
        """
        return await self._porter.cancel(message)

    async def fetch_unasked(self, *, below: int, folder: Path) -> None:
        """From now on, fetch files of contacts of at most so many bytes into a folder; 0: none.

        What strangers offer is never fetched unasked. It is fetched while `collect` runs.
        """
        await self._porter.wish(Automatic(below, as_folder(folder)))

    async def collect(self, *, progress: Report = silent) -> list[Transfer]:
        """Fetch what is to be fetched unasked and has come by now."""
        return await self._porter.fetch_unasked(progress)
