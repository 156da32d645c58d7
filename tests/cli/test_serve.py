"""`hush serve` and `hush server` as processes: first runs, refusals, stopping, being killed, asking."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest
import typer.main

from harness.process import HUSH, DidNotStart, ServerProcess, classic_server, post_server
from hushpost.cli import app
from hushpost.crypto.identity import JoinLink, parse_link
from hushpost.errors import ExitCode
from tests.cli.members import Member
from tests.cli.shells import Shell
from tests.server.serving import tls


def inner_command(name: str) -> object:
    """A subcommand of `hush`, as it is declared."""
    inner: dict[str, object] = getattr(typer.main.get_command(app), "commands", {})
    return inner[name]


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command to its end."""
    return subprocess.run(
        [HUSH, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def asked(data: Path, *arguments: str | Path) -> object:
    """The JSON that `hush server ...` answers."""
    done = run("server", *arguments, "--data", data, "--json")
    assert done.returncode == ExitCode.OK, done.stderr
    return json.loads(done.stdout)


def refusal(command: list[str], folder: Path) -> DidNotStart:
    with pytest.raises(DidNotStart) as caught:
        ServerProcess(command, folder, log=folder / "complaint")
    assert "Traceback" not in caught.value.complaint
    return caught.value


def certificate(address: tuple[str, int]) -> bytes:
    """What the server at this address shows in TLS."""
    with socket.create_connection(address, 10) as plain, tls().wrap_socket(plain) as secure:
        assert secure.version() == "TLSv1.3"
        assert secure.selected_alpn_protocol() == "hushpost/3"
        shown = secure.getpeercert(binary_form=True)
    assert shown
    return shown


def test_a_first_run_prints_one_link_and_later_ones_do_not(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(post_server(data)) as server:
        link = parse_link(server.next_line().rpartition(" ")[2])
        assert isinstance(link, JoinLink)
        assert (link.host, link.port) == server.address
        first = certificate(server.address)
        assert [each["uses"] for each in list_of(asked(data, "invitations"))] == [10]
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    with ServerProcess(post_server(data)) as server:
        assert certificate(server.address) == first
        assert server.stop() == ExitCode.OK


def test_an_open_server_prints_a_link_that_lets_everybody_in(tmp_path: Path, shell: Shell) -> None:
    data = tmp_path / "data"
    port = 0
    for name in ("ann", "ben"):
        with ServerProcess(post_server(data, "--open", port=port)) as server:
            port = server.address[1]
            link = server.next_line().rpartition(" ")[2]
            assert asked(data, "invitations") == [], "nobody needs one"
            Member(shell, tmp_path / name, name).join(link)
    assert len(list_of(asked(data, "accounts"))) == 2
    refused = run("server", "revoke", link, "--data", data)
    assert refused.returncode == ExitCode.USAGE
    assert "--open" in refused.stderr
    with ServerProcess(post_server(data, port=server.address[1])):
        late = Member(shell, tmp_path / "cat", "cat")("join", link, "--name", "cat")
        assert late.code == ExitCode.REFUSED
        assert "invitation" in late.err


def told(command: list[str], count: int) -> list[dict[str, object]]:
    """So many lines of JSON that a server prints; then it is stopped."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(count)]
        process.terminate()
        assert process.stdout.read() == "", "nothing else"
        assert process.wait(60) == ExitCode.OK
    return lines


def port_of(event: dict[str, object]) -> int:
    host, _, port = str(event["address"]).rpartition(":")
    assert host == "127.0.0.1"
    return int(port)


def test_for_programs(tmp_path: Path) -> None:
    post, classic, first = told(post_server(tmp_path / "data", "--json", "--classic", "127.0.0.1:0"), 3)
    assert (post["event"], classic["event"], first["event"]) == ("listening", "classic", "invitation")
    assert port_of(post) != port_of(classic)
    link = parse_link(str(first.pop("link")))
    assert isinstance(link, JoinLink)
    assert link.port == port_of(post)
    now = time.time()
    assert now < float(str(first.pop("expires"))) - 6 * 86_400 < now + 86_400
    assert first == {"event": "invitation", "uses": 10}
    assert set(post) == set(classic) == {"event", "address"}


def test_for_programs_by_the_settings_file(tmp_path: Path) -> None:
    """Also what the option is called differently inside."""
    config = tmp_path / "server.toml"
    config.write_text("json = true\nopen = true\n")
    listening, anybody = told(post_server(tmp_path / "data", "--config", str(config)), 2)
    assert (listening["event"], anybody["event"]) == ("listening", "open")
    assert isinstance(parse_link(str(anybody["link"])), JoinLink)


def test_the_classic_server_for_programs(tmp_path: Path) -> None:
    (event,) = told(classic_server(tmp_path, "--json"), 1)
    assert port_of(event) > 0
    assert event == {"event": "listening", "address": event["address"]}


def list_of(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping(tmp_path: Path, number: signal.Signals) -> None:
    log = tmp_path / "log"
    with ServerProcess(post_server(tmp_path / "data", "--log-format", "json"), log=log) as server:
        certificate(server.address)
        assert server.stop(number) == ExitCode.OK
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events == ["serving", "stopping", "stopped"]
    assert not (tmp_path / "data" / "operator.sock").exists()


def test_commands_find_a_running_server_a_killed_one_and_none(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(post_server(data)) as server:
        invited = asked(data, "invite", "--uses", "2", "--expires", "30m")
        server.kill()
        assert (data / "operator.sock").exists(), "a dead socket stays behind"
        assert len(list_of(asked(data, "invitations"))) == 2
    with ServerProcess(post_server(data, port=server.address[1])) as again:
        assert isinstance(invited, dict)
        assert asked(data, "revoke", invited["link"]) == {}
        assert len(list_of(asked(data, "invitations"))) == 1
        assert asked(data, "accounts") == []
        again.stop()
    offline = asked(data, "invite")
    assert isinstance(offline, dict)
    link = parse_link(offline["link"])
    assert (link.host, link.port) == server.address
    assert asked(data, "revoke", offline["invitation"]) == {}
    stats = asked(data, "stats")
    assert isinstance(stats, dict)
    assert (stats["accounts"], stats["invitations"]) == (0, 1)


def test_for_people(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(post_server(data)):
        link = run("server", "invite", "--data", data).stdout.strip()
        assert isinstance(parse_link(link), JoinLink)
        assert "uses left" in run("server", "invitations", "--data", data).stdout
        assert run("server", "revoke", link, "--data", data).stdout == "revoked\n"
        again = run("server", "revoke", link, "--data", data)
        assert again.returncode == ExitCode.REFUSED
        assert "no such invitation" in again.stderr
        assert "one time keys" in run("server", "stats", "--data", data).stdout
        saved = run("server", "backup", tmp_path / "copy.db", "--data", data)
        assert "identity.key" in saved.stdout
        assert (tmp_path / "copy.db").stat().st_size
        twice = run("server", "backup", tmp_path / "copy.db", "--data", data)
        assert twice.returncode == ExitCode.STORE_UNUSABLE
        nowhere = run("server", "backup", tmp_path / "no" / "copy.db", "--data", data)
        assert nowhere.returncode == ExitCode.STORE_UNUSABLE
        assert "cannot be written: No such file or directory\n" in nowhere.stderr


def test_a_folder_that_is_no_servers_is_said_and_left_alone(tmp_path: Path) -> None:
    done = run("server", "stats", "--data", tmp_path)
    assert done.returncode == ExitCode.PROFILE
    assert "not the data folder" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["invite", "--expires", "soon"],
        ["invite", "--expires", "3651d"],
        ["invite", "--expires", "999999w"],
        ["invite", "--uses", "0"],
        ["invite", "--uses", str(1 << 70)],
        ["revoke", "hush://x"],
    ],
)
def test_what_makes_no_sense_is_a_usage_error(tmp_path: Path, arguments: list[str]) -> None:
    assert run("server", *arguments, "--data", tmp_path).returncode == ExitCode.USAGE


def test_one_folder_one_server(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(post_server(data)) as server:
        failure = refusal(post_server(data), tmp_path)
        assert failure.code == ExitCode.STORE_UNUSABLE
        assert "another Hushpost server" in failure.complaint
        certificate(server.address)
        assert asked(data, "accounts") == []


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--listen", "nonsense"], "HOST:PORT"),
        (["--listen", "0.0.0.0:0", "--allow-root"], "--advertise"),
        (["--listen", "[::]:0", "--allow-root"], "--advertise"),
        (["--metrics", "0.0.0.0:0"], "127.0.0.1"),
        (["--rate", "sends=often"], "COUNT/SECONDS"),
        (["--rate", "speed=1/1"], "sends"),
        (["--per-device", "0"], ""),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, arguments: list[str], hint: str) -> None:
    failure = refusal([*post_server(tmp_path / "data"), *arguments], tmp_path)
    assert failure.code == ExitCode.USAGE
    assert hint in failure.complaint
    assert not (tmp_path / "data").exists()


LIMITS = {
    each.opts[0]: each.max
    for each in getattr(inner_command("serve"), "params", [])
    if each.rich_help_panel and each.rich_help_panel.startswith("Limits")
}


@pytest.mark.parametrize("option", LIMITS)
def test_no_limit_takes_what_is_no_number_of_anything(tmp_path: Path, option: str) -> None:
    for number in ("nan", "inf") if "deadline" in option else (str(1 << 70),):
        failure = refusal([*post_server(tmp_path / "data"), f"{option}={number}"], tmp_path)
        assert failure.code == ExitCode.USAGE
    assert not (tmp_path / "data").exists()


def test_the_most_of_every_limit_can_be_served(tmp_path: Path) -> None:
    most = [f"{option}={maximum}" for option, maximum in LIMITS.items()]
    data = tmp_path / "data"
    with ServerProcess(post_server(data, *most)) as server:
        certificate(server.address)
        assert asked(data, "accounts") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_root_on_a_public_address_is_refused(tmp_path: Path) -> None:
    public = ["--listen", "0.0.0.0:0", "--advertise", "post.example.org:4747"]
    failure = refusal([*post_server(tmp_path / "data"), *public], tmp_path)
    assert failure.code == ExitCode.USAGE
    assert "--allow-root" in failure.complaint
    with ServerProcess([*post_server(tmp_path / "data"), *public, "--allow-root"]) as server:
        link = parse_link(server.next_line().rpartition(" ")[2])
        assert (link.host, link.port) == ("post.example.org", 4747)


def test_settings_file_metrics_and_classic_beside(tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text(
        'metrics = "127.0.0.1:0"\nclassic = "127.0.0.1:0"\nrate = ["sends=5/60"]\nopen = true\n'
    )
    data = tmp_path / "data"
    with ServerProcess(post_server(data, "--config", str(config))) as server:
        line = server.next_line()
        assert line.startswith("classic protocol on 127.0.0.1:")
        assert (data / "classic" / "server.db").exists()
        certificate(server.address)
    config.write_text("rates = []\n")
    failure = refusal(post_server(data, "--config", str(config)), tmp_path)
    assert failure.code == ExitCode.USAGE
    assert "unknown key" in failure.complaint


def test_metrics_of_a_process(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/readyz"
    with (
        ServerProcess(post_server(tmp_path / "data", "--metrics", f"127.0.0.1:{port}")),
        urllib.request.urlopen(url, timeout=10) as answer,
    ):
        assert answer.status == 200


def test_a_damaged_key_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(post_server(data)):
        pass
    key = data / "identity.key"
    key.write_text(key.read_text().replace("1", "2"))
    damaged = key.read_text()
    assert refusal(post_server(data), tmp_path).code == ExitCode.PROFILE
    assert key.read_text() == damaged


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 3\0" + bytes(4096)])
def test_a_database_that_is_none_is_refused_with_a_way_out(tmp_path: Path, content: bytes) -> None:
    data = tmp_path / "data"
    with ServerProcess(post_server(data)):
        pass
    for each in data.glob("post.db*"):
        each.unlink()
    (data / "post.db").write_bytes(content)
    failure = refusal(post_server(data), tmp_path)
    assert failure.code == ExitCode.STORE_UNUSABLE
    assert "hint:" in failure.complaint
    assert (data / "post.db").read_bytes() == content


def test_a_lost_key_is_told_by_every_command(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(post_server(data)):
        pass
    (data / "identity.key").unlink()
    asked_for = run("server", "invite", "--data", data)
    assert asked_for.returncode == refusal(post_server(data), tmp_path).code == ExitCode.PROFILE
    assert "identity.key is missing" in asked_for.stderr
    assert "restore it" in asked_for.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may")
def test_root_asks_a_server_of_another_user_and_leaves_its_files_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(post_server(data)):
        os.chown(data, 4747, 4747)
        assert asked(data, "accounts") == []
    before = sorted(data.iterdir())
    refused = run("server", "accounts", "--data", data)
    assert refused.returncode == ExitCode.PROFILE
    assert "start the server" in refused.stderr
    assert sorted(data.iterdir()) == before


def test_that_links_carry_another_address_is_said(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "log"
    address = data / "address"

    def warnings() -> list[str]:
        with ServerProcess(post_server(data, "--log-format", "json"), log=log):
            pass
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        log.unlink()
        return [each["event"] for each in lines if each["level"] == "warning"]

    assert warnings() == []
    assert stat.S_IMODE(address.stat().st_mode) == 0o600
    address.write_text("post.example.org\n4747\n")
    assert warnings() == ["links carry another address now"]
    address.write_text("post.example.org\n0x1\n")
    damaged = run("server", "invite", "--data", data)
    assert damaged.returncode == ExitCode.PROFILE
    assert "damaged" in damaged.stderr
    assert warnings() == ["what links carried is not known any more"]


def test_a_server_keeps_its_certificate_through_kill_9(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(post_server(data)) as server:
        shown = certificate(server.address)
        server.kill()
    with ServerProcess(post_server(data)) as server:
        assert certificate(server.address) == shown


def test_clients_get_nothing_without_tls(tmp_path: Path) -> None:
    with ServerProcess(post_server(tmp_path / "data")) as server:
        with socket.create_connection(server.address, 10) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert plain.recv(100)[:1] in {b"", b"\x15"}  # closed, or an alert of TLS
        with pytest.raises(ssl.SSLError), socket.create_connection(server.address, 10) as plain:
            tls(version=ssl.TLSVersion.TLSv1_2).wrap_socket(plain)


def test_what_is_deployed_says_what_the_command_knows() -> None:
    known = {name for each in getattr(inner_command("serve"), "params", []) for name in each.opts}
    assert "--listen" in known
    folder = Path(__file__).parents[2] / "deploy"
    keys = tomllib.loads((folder / "server.toml").read_text())
    assert {f"--{key}" for key in keys} <= known
    for line in (folder / "hushpost.service").read_text().splitlines():
        if line.startswith("ExecStart="):
            assert {word for word in line.split() if word.startswith("--")} <= known
    entry = (folder / "Dockerfile").read_text().rpartition("ENTRYPOINT ")[2]
    assert {word for word in json.loads(entry) if word.startswith("--")} <= known
