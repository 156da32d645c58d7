"""What nobody can have meant ends with one plain sentence, and leaves no traces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shells import Shell

JARGON = ("Value error", "Input should", "iterable", "_or_", "Errno", "pars")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ["--home", "", "whoami"],
        ["--profile", "", "whoami"],
        ["get", "00" * 16, "--output", ""],
        ["serve", "--data", ""],
        ["serve", "--data", "data", "--listen", ""],
        ["serve", "--data", "data", "--advertise", ""],
        ["serve", "--data", "data", "--classic", ""],
        ["serve", "--data", "data", "--metrics", ""],
        ["serve", "--data", "data", "--config", ""],
        ["server", "invite", "--data", ""],
        ["classic", "serve", "--data", "", "--listen", "127.0.0.1:0"],
        ["classic", "serve", "--listen", ""],
        ["classic", "import", "old", "--data", ""],
        ["classic", "list", "--dir", ""],
        ["classic", "list", "--server", ""],
    ],
)
def test_an_empty_option_is_refused(shell: Shell, here: Path, command: list[str]) -> None:
    refused = shell(*command)
    assert (refused.code, refused.out) == (2, "")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("variable", ["HUSH_HOME", "HUSH_SERVER_DATA", "HUSH_SERVER_LISTEN", "HUSH_KEY"])
def test_an_empty_variable_is_refused(
    shell: Shell, here: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "")
    refused = shell("server", "stats", "--data", str(here))
    assert refused.code == 2
    assert variable in refused.err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["serve", "--directory", "never"], "'never' is not one of 'open', 'closed'"),
        (["serve", "--max-connections", "x"], "this is no integer"),
        (["serve", "--max-connections", "0"], "the least is 1"),
        (["serve", "--entry-deadline", "100000"], "the most is 86400"),
        (["contacts", "add"], "LINK|NAME"),
        (["serve", "--max-connections"], "requires an argument"),
    ],
)
def test_what_is_wrong_is_said_plainly(shell: Shell, here: Path, command: list[str], said: str) -> None:
    refused = shell(*command)
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    assert [word for word in JARGON if word in refused.err] == []
    assert "hint: ;" not in refused.err


def test_a_phrase_in_a_file_that_is_not_there(shell: Shell, here: Path) -> None:
    link = f"hush://h:1/u/ann#{'a' * 52}.{'a' * 52}"
    refused = shell("recover", link, "--phrase-file", "nowhere")
    assert (refused.code, refused.out) == (3, "")
    assert "No such file" in refused.err
    assert "hint:" in refused.err


def test_ctrl_c_after_the_end_says_nothing() -> None:
    code = (
        "import atexit, os, signal, sys; from hushpost.__main__ import main; sys.argv[1:] = ['--version'];"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT); main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("hush ")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('rate = "sends=5/60"', "rate is not a list"),
        ("listen = 4747", "listen is not a text"),
        ("listen = 1979-05-27", "listen is not a text"),
        ('listen = ["127.0.0.1:0"]', "listen is not a text"),
        ("[data]", "data is not a text"),
        ('max-connections = "many"', "max-connections is not a number"),
        ("max-connections = true", "max-connections is not a number"),
        ("open = 1", "open is not true or false"),
        ('directory = "never"', "'never' is not one of"),
    ],
)
def test_a_settings_file_is_told_plainly_what_it_should_hold(
    shell: Shell, here: Path, line: str, said: str
) -> None:
    (here / "server.toml").write_text(line)
    refused = shell("serve", "--config", "server.toml")
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    assert "hint:" in refused.err
    assert [word for word in JARGON if word in refused.err] == []
