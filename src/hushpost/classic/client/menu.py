"""The interactive menu, with the original's numbers and meanings.

It works with piped input as well: every answer is one line, and the end of input ends the menu.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from hushpost.classic.client.account import Account
from hushpost.classic.client.profile import Profile
from hushpost.classic.client.registration import register
from hushpost.classic.client.requests import ClassicClient
from hushpost.classic.client.requests import Progress as Tell
from hushpost.classic.client.show import describe
from hushpost.classic.client.sources import STDIN, source
from hushpost.classic.payloads import ClientId
from hushpost.errors import HushpostError
from hushpost.untrusted import printable

EXIT = "0"


class Menu:
    """Asks for a number, does it, and tells what happened, until 0 or the end of input.

    Every error is one sentence, and the menu goes on. `ask` is given a prompt and returns a line.
    """

    def __init__(
        self,
        profile: Profile,
        client: ClassicClient,
        *,
        console: Console | None = None,
        ask: Callable[[str], str] = input,
    ) -> None:
        self._profile = profile
        self._client = client
        self._console = console or Console(markup=False, highlight=False, emoji=False)
        self._ask = ask
        self._actions: dict[str, tuple[str, Callable[[], None]]] = {
            "1": ("register", self._register),
            "2": ("list clients", self._list),
            "3": ("ask for a public key", self._public_key),
            "4": ("show waiting messages", self._fetch),
            "5": ("send a text", self._send_text),
            "50": ("send a file", self._send_file),
            "51": ("ask a client for a key", self._request_key),
            "52": ("send a client a key", self._send_key),
        }

    def run(self) -> bool:
        """Until 0 or the end of input. Tells whether all that was chosen succeeded, for scripts.

        Ctrl-C passes through as `KeyboardInterrupt`.
        """
        self._show_actions()
        all_done = True
        with contextlib.suppress(EOFError):
            while (choice := self._ask("? ").strip()) != EXIT:
                if choice in self._actions:
                    all_done &= self._do(self._actions[choice][1])
                elif choice:
                    all_done = False
                    self._say("that is not on the menu")
                    self._show_actions()
        return all_done

    def _do(self, action: Callable[[], None]) -> bool:
        try:
            action()
            return True
        except HushpostError as error:
            self._say(f"error: {error}")
            if error.hint:
                self._say(f"  hint: {error.hint}")
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            self._say(f"error: {where}{error.strerror or error}")
        return False

    def _show_actions(self) -> None:
        self._say(f"Hushpost, classic client of {self._client.address}")
        table = Table(show_header=False)
        for number, (meaning, _) in self._actions.items():
            table.add_row(number, meaning)
        table.add_row(EXIT, "exit")
        self._console.print(table)

    def _register(self) -> None:
        identity = register(self._profile, self._client, self._ask("your name: ").strip())
        self._say(f"registered {identity.name} as {identity.client_id}")

    def _list(self) -> None:
        nobody = True
        for client in self._account().clients():
            nobody = False
            self._say(f"{client.client_id}  {client.name}")
        if nobody:
            self._say("nobody else is registered")

    def _public_key(self) -> None:
        account, peer = self._account_and_peer()
        self._say(account.public_key(peer).hex())

    def _fetch(self) -> None:
        account = self._account()
        with self._progress("receiving") as tell:
            summary = account.fetch(lambda received: self._lines(describe(received)), tell)
        if not summary.received and not summary.put_off:
            self._say("no messages")
        if summary.put_off:
            self._say(f"{summary.put_off} messages have no room on the disk, and wait in me.spool-*")
        if summary.repeats:
            self._say(f"{summary.repeats} messages came again and are not shown twice")

    def _send_text(self) -> None:
        account, peer = self._account_and_peer()
        self._sent(account.send_text(peer, self._ask("text: ")))

    def _send_file(self) -> None:
        account, peer = self._account_and_peer()
        path = os.path.expanduser(self._ask("path of the file: ").strip())
        if path == STDIN:  # it is where the answers come from
            path = "./-"
        with source(path) as (file, size), self._progress("sending") as tell:
            message_id = account.send_file(peer, file, size, tell)
        self._sent(message_id)

    def _request_key(self) -> None:
        account, peer = self._account_and_peer()
        self._sent(account.request_key(peer))

    def _send_key(self) -> None:
        account, peer = self._account_and_peer()
        self._sent(account.send_key(peer))

    def _account(self) -> Account:
        return Account(self._profile, self._client)

    def _account_and_peer(self) -> tuple[Account, ClientId]:
        account = self._account()
        return account, account.find(self._ask("name or id of the client: ").strip())

    def _sent(self, message_id: int) -> None:
        self._say(f"sent as message {message_id}")

    def _say(self, sentence: str) -> None:
        self._lines(printable(sentence))

    def _lines(self, text: str) -> None:
        """What is escaped already. Long lines are left to the terminal, so that ids stay whole."""
        self._console.print(Text(text), soft_wrap=True)

    @contextlib.contextmanager
    def _progress(self, what: str) -> Iterator[Tell]:
        """A bar while a file moves; nothing where the output is no terminal."""
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        hidden = not self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=hidden) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
