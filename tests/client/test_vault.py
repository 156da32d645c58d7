"""A profile's key: kept in one of three ways, never in one that was not chosen; failures say what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from keyring.backend import KeyringBackend

from hushpost.client.profiles import ProfileFiles
from hushpost.client.store import Store, StoreKey
from hushpost.client.vault import Ask, Asking, Automatic, ByPassphrase, InFile, KeySource, Vault, key_source
from hushpost.errors import ExitCode, ProfileError, ProfileLocked, UsageError, WrongPassphrase
from tests.client import keyrings

GOOD = ByPassphrase("correct horse")


@pytest.fixture
def files(tmp_path: Path) -> ProfileFiles:
    return ProfileFiles(tmp_path / "home" / "default")


@pytest.fixture(autouse=True)
def no_keyring() -> Iterator[None]:
    """Whatever the machine has that runs the tests."""
    with keyrings.using(keyrings.NoBackend()):
        yield


def created(files: ProfileFiles, source: KeySource = GOOD, ask: Ask | None = None) -> StoreKey:
    return Vault(files, source, ask).create()


class TestInFile:
    def test_opens_again(self, files: ProfileFiles) -> None:
        key = created(files, InFile())
        assert Vault(files, Automatic()).open() == key
        assert created(files, GOOD) == key, "a profile that exists keeps its key"
        assert "0600" in Vault(files, Automatic()).describe()

    def test_modes(self, files: ProfileFiles) -> None:
        before = os.umask(0)
        try:
            Store.open(files.database, created(files, InFile())).close()
        finally:
            os.umask(before)
        modes = {path.name: path.stat().st_mode & 0o777 for path in files.folder.iterdir()}
        assert modes == dict.fromkeys(modes, 0o600)
        assert {files.folder.stat().st_mode & 0o777, files.folder.parent.stat().st_mode & 0o777} == {0o700}

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
    def test_that_others_may_read_is_refused(self, files: ProfileFiles, mode: int) -> None:
        created(files, InFile())
        files.key.chmod(mode)
        with pytest.raises(ProfileError, match="other users") as refusal:
            Vault(files, Automatic()).open()
        assert "chmod 600" in refusal.value.hint

    def test_only_when_asked_for(self, files: ProfileFiles) -> None:
        with pytest.raises(ProfileLocked, match="no keyring") as refusal:
            created(files, Automatic())
        assert refusal.value.exit_code is ExitCode.PROFILE_LOCKED
        assert all(way in refusal.value.hint for way in ("pass:", "fd:", "file"))
        assert not files.exist


class TestPassphrase:
    def test_opens_again(self, files: ProfileFiles) -> None:
        key = created(files)
        assert Vault(files, GOOD).open() == key
        assert bytes(key) not in files.key.read_bytes()
        assert "passphrase" in Vault(files, GOOD).describe()

    @pytest.mark.parametrize("wrong", ["correct horsE", "correct horse ", "something else"])
    def test_a_wrong_one(self, files: ProfileFiles, wrong: str) -> None:
        created(files)
        with pytest.raises(WrongPassphrase) as refusal:
            Vault(files, ByPassphrase(wrong)).open()
        assert refusal.value.exit_code is ExitCode.PROFILE_LOCKED
        assert wrong not in f"{refusal.value!r}{refusal.value.hint}"

    def test_that_is_too_short(self, files: ProfileFiles) -> None:
        with pytest.raises(UsageError, match="at least 8"):
            created(files, ByPassphrase("seven77"))
        assert not files.exist

    def test_in_another_normal_form(self, files: ProfileFiles) -> None:
        """The same word, typed on a keyboard that sends accents apart."""
        key = created(files, ByPassphrase("caf\u00e9 caf\u00e9"))
        assert Vault(files, ByPassphrase("cafe\u0301 cafe\u0301")).open() == key

    def test_is_asked_for_where_nobody_gave_it(self, files: ProfileFiles) -> None:
        asked: list[Asking] = []

        def answer(asking: Asking) -> str:
            asked.append(asking)
            return GOOD.passphrase

        key = created(files, Automatic(), answer)
        assert Vault(files, Automatic(), answer).open() == key
        assert asked == [Asking.NEW, Asking.EXISTING, Asking.EXISTING]

    def test_and_nobody_to_ask(self, files: ProfileFiles) -> None:
        created(files)
        with pytest.raises(ProfileLocked, match="nobody can be asked") as refusal:
            Vault(files, Automatic()).open()
        assert "HUSH_KEY" in refusal.value.hint

    def test_every_changed_byte_is_noticed(self, files: ProfileFiles) -> None:
        """The kind, too: a file that was turned into one of another kind does not open."""
        created(files)
        whole = files.key.read_bytes()
        for place in (0, 7, 8, 9, 25, 41, 57, 69, len(whole) - 1):
            changed = bytearray(whole)
            changed[place] ^= 1
            files.key.write_bytes(changed)
            with pytest.raises(ProfileError):
                Vault(files, GOOD).open()

    def test_is_shown_nowhere(self) -> None:
        assert "horse" not in repr(GOOD)


class TestKeyring:
    def test_is_taken_where_there_is_one(self, files: ProfileFiles) -> None:
        with keyrings.using(keyrings.InMemory()):
            key = created(files, Automatic())
            assert Vault(files, Automatic()).open() == key
            assert bytes(key) not in files.key.read_bytes()
            assert "InMemory" in Vault(files, Automatic()).describe()

    def test_of_another_machine(self, files: ProfileFiles) -> None:
        """The folder was copied, the keyring was not."""
        with keyrings.using(keyrings.InMemory()):
            created(files, Automatic())
        with (
            keyrings.using(keyrings.InMemory()),
            pytest.raises(ProfileLocked, match="not in the keyring"),
        ):
            Vault(files, Automatic()).open()

    def test_with_another_key(self, files: ProfileFiles) -> None:
        with keyrings.using(backend := keyrings.InMemory()):
            created(files, Automatic())
            for entry in backend.kept:
                backend.kept[entry] = "A" * 43 + "="
            with pytest.raises(ProfileLocked, match="not this profile's"):
                Vault(files, Automatic()).open()

    @pytest.mark.parametrize("text", ["", "no base64!", "QUJD"])
    def test_with_something_else(self, files: ProfileFiles, text: str) -> None:
        with keyrings.using(backend := keyrings.InMemory()):
            created(files, Automatic())
            for entry in backend.kept:
                backend.kept[entry] = text
            with pytest.raises(ProfileLocked, match="not in the keyring"):
                Vault(files, Automatic()).open()

    @pytest.mark.parametrize("backend", [keyrings.Locked, keyrings.Raising, keyrings.NoBackend])
    def test_that_is_locked_or_gone(self, files: ProfileFiles, backend: type[KeyringBackend]) -> None:
        with keyrings.using(keyrings.InMemory()):
            created(files, Automatic())
        with keyrings.using(backend()), pytest.raises(ProfileLocked, match="does not give") as refusal:
            Vault(files, Automatic()).open()
        assert "unlock" in refusal.value.hint

    @pytest.mark.parametrize(
        "backend",
        [
            keyrings.Locked,
            keyrings.Raising,
            keyrings.Forgetful,
            keyrings.Plaintext,
            keyrings.NoBackend,
            keyrings.Null,
        ],
    )
    def test_one_that_does_not_keep_it_well_is_not_taken(
        self, files: ProfileFiles, backend: type[KeyringBackend]
    ) -> None:
        with keyrings.using(backend()):
            with pytest.raises(ProfileLocked, match="no keyring"):
                created(files, Automatic())
            assert created(files, Automatic(), lambda _: GOOD.passphrase) == Vault(files, GOOD).open()

    def test_two_profiles_have_two_entries(self, files: ProfileFiles) -> None:
        other = ProfileFiles(files.folder.parent / "other")
        with keyrings.using(backend := keyrings.InMemory()):
            assert created(files, Automatic()) != created(other, Automatic())
            assert len(backend.kept) == 2
            Vault(other, Automatic()).destroy()
            assert len(backend.kept) == 1
            assert not other.exist


class TestFiles:
    def test_no_profile(self, files: ProfileFiles) -> None:
        with pytest.raises(ProfileError, match="no profile") as refusal:
            Vault(files, GOOD).open()
        assert "hush join" in refusal.value.hint
        assert not files.folder.exists()

    def test_a_database_without_its_key_file(self, files: ProfileFiles) -> None:
        """A second key must not be made: it would look as if the database were damaged."""
        Store.open(files.database, created(files)).close()
        files.key.unlink()
        for attempt in (Vault(files, GOOD).open, Vault(files, GOOD).create):
            with pytest.raises(ProfileError, match="without it the database does not open"):
                attempt()
        assert not files.key.exists()

    @pytest.mark.parametrize("content", [b"", b"HUSHKEY", b"HUSHKEY\2" + bytes(33), os.urandom(300)])
    def test_damaged(self, files: ProfileFiles, content: bytes) -> None:
        created(files)
        files.key.write_bytes(content)
        with pytest.raises(ProfileError, match="damaged"):
            Vault(files, GOOD).open()

    def test_a_crash_while_it_is_written(self, files: ProfileFiles) -> None:
        files.make_folder()
        files.key.with_name("profile.key.new").write_bytes(b"half")
        created(files)
        assert sorted(path.name for path in files.folder.iterdir()) == ["profile.key", "profile.key.lock"]

    def test_two_processes_make_one_key(self, files: ProfileFiles) -> None:
        program = (
            "import sys; from pathlib import Path\n"
            "from hushpost.client.profiles import ProfileFiles\n"
            "from hushpost.client.vault import *\n"
            "print(Vault(ProfileFiles(Path(sys.argv[1])), InFile()).create().hex())"
        )
        command = [sys.executable, "-c", program, str(files.folder)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        assert len({process.communicate()[0] for process in running}) == 1


class TestSource:
    @pytest.mark.parametrize(
        ("text", "source"),
        [
            ("", Automatic()),
            ("file", InFile()),
            ("pass:correct horse", GOOD),
            ("pass:a:b", ByPassphrase("a:b")),
        ],
    )
    def test_what_it_may_say(self, text: str, source: KeySource) -> None:
        assert key_source({"HUSH_KEY": text}) == source
        assert key_source({}) == Automatic()

    @pytest.mark.parametrize(
        "text", ["pass:", "FILE", "secret", "fd:", "fd:x", "fd:-1", "fd:9999", f"fd:{10**20}", "keyring"]
    )
    def test_what_it_may_not(self, text: str) -> None:
        with pytest.raises(UsageError) as refusal:
            key_source({"HUSH_KEY": text})
        assert "secret" not in f"{refusal.value} {refusal.value.hint}"

    def test_an_empty_one_is_called_so(self) -> None:
        with pytest.raises(UsageError, match="is empty"):
            key_source({"HUSH_KEY": "pass:"})

    @pytest.mark.parametrize("written", [b"correct horse", b"correct horse\n", b"correct horse\r\nmore"])
    def test_a_descriptor(self, written: bytes) -> None:
        reading, writing = os.pipe()
        os.write(writing, written)
        os.close(writing)
        # A number that no other test has used: what came from one is remembered.
        number = os.dup2(reading, 700 + len(written))
        assert [key_source({"HUSH_KEY": f"fd:{number}"}) for _ in range(2)] == [GOOD, GOOD]
        os.close(reading)
        os.close(number)
