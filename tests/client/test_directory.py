"""A server that lists what was not asked for, or without end, is not listened to."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from hushpost.client.directory import listed
from hushpost.errors import ProtocolError
from hushpost.wire.messages import Accounts, ListAccounts, ListedAccount


@dataclass
class Pages:
    """A server that answers with these pages, the last of them for ever."""

    pages: list[Accounts]
    asked: list[ListAccounts] = field(default_factory=list)

    async def ask(self, request: ListAccounts) -> Accounts:
        self.asked.append(request)
        return self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]


def page(*names: str, more: bool = False) -> Accounts:
    return Accounts(1, [ListedAccount(bytes(16), name) for name in names], more)


async def all_of(pages: Pages, prefix: str = "", after: str = "") -> list[str]:
    return [each.name async for part in listed(pages.ask, prefix, after) for each in part]


async def test_pages_follow_each_other() -> None:
    pages = Pages([page("al", "bo", more=True), page("cy")])
    assert await all_of(pages) == ["al", "bo", "cy"]
    assert [each.after for each in pages.asked] == ["", "bo"]


@pytest.mark.parametrize(
    ("pages", "prefix", "after"),
    [
        ([page("al", more=True)], "", ""),
        ([page("al", "al")], "", ""),
        ([page("bo", "al")], "", ""),
        ([page("al")], "", "al"),
        ([page("al")], "", "bo"),
        ([page("bo")], "al", ""),
        ([page(more=True)], "", ""),
    ],
)
async def test_a_server_that_lists_something_else(pages: list[Accounts], prefix: str, after: str) -> None:
    with pytest.raises(ProtocolError):
        await all_of(Pages(pages), prefix, after)
