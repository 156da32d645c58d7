"""The numbered guarantees of `stores.base`, for every implementation: accounts and mailboxes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hushpost.errors import (
    IdTaken,
    NameTaken,
    UnknownMailbox,
)
from hushpost.ids import AccountId, MailboxId
from hushpost.stores.base import (
    Account,
    DirectoryExtent,
    Usage,
)

from .conftest import World

Worlds = Callable[..., Awaitable[World]]


class TestDirectory:
    async def test_d1_an_account_and_its_mailbox_are_there_together(self, world: World) -> None:
        account, mailbox = Account(AccountId.random(), "Zoë \U0001f98a", b"record"), MailboxId.random()
        await world.store.register(account, mailbox)
        assert await world.store.account(account.id) == account
        assert await world.store.usage(mailbox) == Usage(0, 0)

    async def test_d1_a_refused_registration_leaves_neither(self, world: World) -> None:
        await world.store.register(Account(AccountId.random(), "taken", b""), MailboxId.random())
        account, mailbox = Account(AccountId.random(), "taken", b""), MailboxId.random()
        with pytest.raises(NameTaken):
            await world.store.register(account, mailbox)
        assert await world.store.account(account.id) is None
        with pytest.raises(UnknownMailbox):
            await world.store.usage(mailbox)

    async def test_d2_ids_are_never_given_twice(self, world: World) -> None:
        first, mailbox = Account(AccountId.random(), "first", b""), MailboxId.random()
        await world.store.register(first, mailbox)
        with pytest.raises(IdTaken):
            await world.store.register(Account(first.id, "second", b""), MailboxId.random())
        with pytest.raises(IdTaken):
            await world.store.register(Account(AccountId.random(), "third", b""), mailbox)
        assert await world.store.accounts_extent() == DirectoryExtent(1, 1)

    async def test_d2_of_two_at_once_one_gets_the_name(self, world: World) -> None:
        accounts = [Account(AccountId.random(), "name", b"") for _ in range(8)]
        answers = await asyncio.gather(
            *(world.store.register(account, MailboxId.random()) for account in accounts),
            return_exceptions=True,
        )
        assert answers.count(None) == 1
        assert sum(isinstance(answer, NameTaken) for answer in answers) == 7

    @pytest.mark.parametrize("other", ["Name", "name ", "name\n", "na\u0308me"])
    async def test_d2_names_are_compared_byte_for_byte(self, world: World, other: str) -> None:
        await world.store.register(Account(AccountId.random(), "name", b""), MailboxId.random())
        await world.store.register(Account(AccountId.random(), other, b""), MailboxId.random())

    async def test_d3_pages_go_in_the_order_of_registration(self, world: World) -> None:
        accounts = [Account(AccountId.random(), f"{9 - k}", b"") for k in range(9)]
        for account in accounts:
            await world.store.register(account, MailboxId.random())
        assert await world.store.accounts_extent() == DirectoryExtent(9, 9)
        assert await world.store.accounts_page(0, 9, 100) == list(enumerate(accounts, 1))
        assert await world.store.accounts_page(2, 7, 3) == list(enumerate(accounts, 1))[2:5]
        assert await world.store.accounts_page(5, 7, 3) == list(enumerate(accounts, 1))[5:7]
        assert await world.store.accounts_page(9, 9, 3) == []

    async def test_d3_an_empty_directory(self, world: World) -> None:
        assert await world.store.accounts_extent() == DirectoryExtent(0, 0)
        assert await world.store.accounts_page(0, 0, 10) == []
