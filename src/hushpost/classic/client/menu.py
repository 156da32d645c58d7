"""The interactive menu, with the original's numbers and meanings.

It works with piped input as well: every answer is one line, and the end of input ends the menu.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

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
from hushpost.classic.payloads import ClientId, ListedClient
from hushpost.errors import HushpostError
from hushpost.untrusted import printable

EXIT = "0"

WHO = "name or id of the client: "

ROWS = 50
"""Of one table: a list may be of any length, and is never held in memory."""


@dataclass(frozen=True, slots=True)
class Action:
    """A line of the menu.

    Attributes:
        asks: the prompts of its answers. All are read before anything is done: what is left over of a pipe
            when an action fails would be taken for the next choice.
        do: takes the answers; whether all of it succeeded.
    """

    meaning: str
    asks: tuple[str, ...]
    do: Callable[..., bool]


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
        self._actions = {
            "1": Action("register", ("your name: ",), self._register),
            "2": Action("list clients", (), self._list),
            "3": Action("ask for a public key", (WHO,), self._public_key),
            "4": Action("show waiting messages", (), self._fetch),
            "5": Action("send a text", (WHO, "text: "), self._send_text),
            "50": Action("send a file", (WHO, "path of the file: "), self._send_file),
            "51": Action("ask a client for a key", (WHO,), self._request_key),
            "52": Action("send a client a key", (WHO,), self._send_key),
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
                    action = self._actions[choice]
                    all_done &= self._do(action, [self._ask(prompt) for prompt in action.asks])
                elif choice:
                    all_done = False
                    self._say("that is not on the menu")
                    self._show_actions()
        return all_done

    def _do(self, action: Action, answers: list[str]) -> bool:
        try:
            return action.do(*answers)
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
        for number, action in self._actions.items():
            table.add_row(number, action.meaning)
        table.add_row(EXIT, "exit")
        self._console.print(table)

    def _register(self, name: str) -> bool:
        identity = register(self._profile, self._client, name.strip())
        return self._say(f"registered {identity.name} as {identity.client_id}")

    def _list(self) -> bool:
        clients = self._account().clients()
        if not (rows := list(islice(clients, ROWS))):
            return self._say("nobody else is registered")
        while rows:
            self._show_clients(rows)
            rows = list(islice(clients, ROWS))
        return True

    def _show_clients(self, rows: list[ListedClient]) -> None:
        """A table at a terminal, elsewhere a line each."""
        if not self._console.is_terminal:
            for client in rows:
                self._say(f"{client.client_id}  {client.name}")
            return
        table = Table("id", "name")
        for client in rows:
            table.add_row(str(client.client_id), Text(printable(client.name)))
        self._console.print(table)

    def _public_key(self, who: str) -> bool:
        account, peer = self._account_and_peer(who)
        return self._say(account.public_key(peer).hex())

    def _fetch(self) -> bool:
        account = self._account()
        with self._progress("receiving") as tell:
            summary = account.fetch(lambda received: self._lines(describe(received)), tell)
        if not summary.received and not summary.put_off:
            self._say("no messages")
        if summary.put_off:
            self._say(f"{summary.put_off} messages have no room on the disk, and wait in me.spool-*")
        if summary.repeats:
            self._say(f"{summary.repeats} messages came again and are not shown twice")
        return not summary.put_off and not summary.not_opened

    def _send_text(self, who: str, text: str) -> bool:
        account, peer = self._account_and_peer(who)
        return self._sent(account.send_text(peer, text))

    def _send_file(self, who: str, path: str) -> bool:
        account, peer = self._account_and_peer(who)
        path = os.path.expanduser(path.strip())
        if path == STDIN:  # it is where the answers come from
            path = "./-"
        with source(path) as (file, size), self._progress("sending") as tell:
            message_id = account.send_file(peer, file, size, tell)
        return self._sent(message_id)

    def _request_key(self, who: str) -> bool:
        account, peer = self._account_and_peer(who)
        return self._sent(account.request_key(peer))

    def _send_key(self, who: str) -> bool:
        account, peer = self._account_and_peer(who)
        return self._sent(account.send_key(peer))

    def _account(self) -> Account:
        return Account(self._profile, self._client)

    def _account_and_peer(self, who: str) -> tuple[Account, ClientId]:
        account = self._account()
        return account, account.find(who.strip())

    def _sent(self, message_id: int) -> bool:
        return self._say(f"sent as message {message_id}")

    def _say(self, sentence: str) -> bool:
        """True, since what ends with a sentence of its own has succeeded."""
        self._lines(printable(sentence))
        return True

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
