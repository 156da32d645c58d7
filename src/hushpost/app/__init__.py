"""The server's composition root: settings to stores to listeners; signals; shutdown."""

from hushpost.app.classic import import_classic, run_classic
from hushpost.app.operate import operate
from hushpost.app.post import Announcement, run_post
from hushpost.server.operator import Backup, GetStats, Invite, ListAccounts, ListInvitations, Revoke

__all__ = [
    "Announcement",
    "Backup",
    "GetStats",
    "Invite",
    "ListAccounts",
    "ListInvitations",
    "Revoke",
    "import_classic",
    "operate",
    "run_classic",
    "run_post",
]
