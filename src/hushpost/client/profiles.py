"""Where profiles live: one folder each, below one home, for nobody else to read.

HOME/NAME/profile.db     the encrypted database, and SQLite's files beside it
HOME/NAME/profile.key    how its key is kept: see `vault`
HOME/NAME/receiver.lock  the lease: see `lease`
HOME/NAME/transfers/     who carries which file: see `transfers.claims`
HOME/NAME/spools/        what came from pipes, sealed: see `transfers.pipes`
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from hushpost.errors import ProfileError, UsageError
from hushpost.names import check_name

HOME_VARIABLE = "HUSH_HOME"
DEFAULT_PROFILE = "default"

MAX_NAME_BYTES = 64
"""Of a profile: short enough to leave room for SQLite's file names on every file system."""

FORBIDDEN = frozenset('/\\:*?"<>|~$')
"""Beside what no name may have: what means something in a path or to a shell, here or on another system."""


@dataclass(frozen=True, slots=True)
class ProfileFiles:
    """What a profile's folder holds."""

    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "profile.db"

    @property
    def key(self) -> Path:
        return self.folder / "profile.key"

    @property
    def lease(self) -> Path:
        return self.folder / "receiver.lock"

    @property
    def transfers(self) -> Path:
        """Locks of files that are carried."""
        return self.folder / "transfers"

    @property
    def spools(self) -> Path:
        """What came from pipes, sealed, until the server has it."""
        return self.folder / "spools"

    @property
    def exist(self) -> bool:
        """Whether anybody has begun to join with this profile."""
        return self.key.exists() or self.database.exists()

    def make_folder(self) -> None:
        """Make it, and the home above it, readable for nobody else.

        Raises:
            ProfileError: it cannot be made, or belongs to somebody else.
        """
        try:
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            if self.folder.stat().st_mode & 0o077:
                self.folder.chmod(0o700)
        except OSError as error:
            raise ProfileError(
                f"{self.folder} cannot be made: {os.strerror(error.errno or 0)}",
                hint=f"choose another place with --home or {HOME_VARIABLE}",
            ) from error


def home_folder(home: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of all profiles: as asked for, else `HUSH_HOME`, else the platform's place for data."""
    if home is not None:
        return home
    if named := environ.get(HOME_VARIABLE):
        return Path(named)
    return user_data_path("hushpost", appauthor=False)


def profile_folder(
    home: Path | None = None, name: str = DEFAULT_PROFILE, environ: Mapping[str, str] = os.environ
) -> Path:
    """The folder of one profile. It need not exist.

    Raises:
        UsageError: no profile may be called so.
    """
    check_profile_name(name)
    return home_folder(home, environ) / name


def profile_names(home: Path | None = None, environ: Mapping[str, str] = os.environ) -> list[str]:
    """The profiles that exist, in alphabetical order.

    Raises:
        ProfileError: the home cannot be read.
    """
    folder = home_folder(home, environ)
    try:
        found = sorted(entry.name for entry in folder.iterdir() if ProfileFiles(entry).exist)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ProfileError(
            f"{folder} cannot be read: {os.strerror(error.errno or 0)}", hint="check its permissions"
        ) from error
    return [name for name in found if _is_profile_name(name)]


def check_profile_name(name: str) -> None:
    """Accept what is a name like any other, and one folder below the home wherever it is used.

    Raises:
        UsageError: it is not; the text does not repeat it.
    """
    try:
        check_name(name)
    except ValueError as error:
        raise UsageError(f"no profile can be called so: {error}") from None
    if name[0] in ".-" or set(name) & FORBIDDEN or len(name.encode()) > MAX_NAME_BYTES:
        raise UsageError(
            "no profile can be called so: its name would be unsafe as a folder's",
            hint=f"use letters, digits, '-', '_' and '.', at most {MAX_NAME_BYTES} bytes",
        )


def _is_profile_name(name: str) -> bool:
    try:
        check_profile_name(name)
    except UsageError:
        return False
    return True
