"""`hush classic serve` and `hush classic import`: the server of the classic protocol."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hushpost.cli.options import AsJson, folder, written
from hushpost.cli.settings_file import LONGEST, limit_of, read_config
from hushpost.settings import ClassicSettings, ListenLimits, LogFormat, parse_address, read_port_file
from hushpost.stores.base import StoreLimits

WARNING = (
    "warning: the classic protocol authenticates nobody and hides neither names nor who writes to whom: "
    "whoever reaches this port can read and delete any inbox, so keep it on a network you trust"
)

LIMITS = "Limits (docs/reference/classic-server.md gives the reasons)"


_limit = partial(limit_of, LIMITS)
_LISTEN = ListenLimits()
_STORE = StoreLimits()


def serve(
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            envvar="HUSH_CLASSIC_LISTEN",
            help="Where to listen. Without it, 127.0.0.1 and the port in the file port.info.",
        ),
    ] = None,
    data: Annotated[
        Path,
        typer.Option(
            parser=folder,
            metavar="DIR",
            envvar="HUSH_CLASSIC_DATA",
            help="Folder of the database and of large contents.",
        ),
    ] = Path(),
    config: Annotated[
        Path | None,
        typer.Option(
            is_eager=True,
            callback=read_config,
            envvar="HUSH_CLASSIC_CONFIG",
            help="TOML file with any of these options as keys; flags and environment win over it.",
        ),
    ] = None,
    relayed: Annotated[
        bool,
        typer.Option(
            "--relayed",
            help="Clients come through a relay (ssh -L, a TCP proxy): delete only after a second delivery.",
        ),
    ] = False,
    log_format: Annotated[LogFormat, typer.Option(help="How events are written to stderr.")] = (
        LogFormat.CONSOLE
    ),
    as_json: AsJson = False,
    max_connections: Annotated[int, _limit("Open connections.", 1)] = _LISTEN.max_connections,
    per_address: Annotated[int, _limit("Open connections of one address.", 1)] = _LISTEN.per_address,
    request_deadline: Annotated[
        float, _limit("Seconds for a whole request of up to 64 KiB.", 0.1, LONGEST)
    ] = _LISTEN.request_deadline,
    min_rate: Annotated[
        int, _limit("Bytes per second that larger contents must keep up.", 1)
    ] = _LISTEN.min_rate,
    stop_deadline: Annotated[
        float, _limit("Seconds to finish what was begun when stopping.", 0, LONGEST)
    ] = _LISTEN.stop_deadline,
    mailbox_count: Annotated[int, _limit("Messages in one inbox.", 1)] = _STORE.mailbox_count,
    mailbox_bytes: Annotated[int, _limit("Bytes in one inbox.", 1)] = _STORE.mailbox_bytes,
    total_bytes: Annotated[int, _limit("Bytes in all inboxes.", 1)] = _STORE.total_bytes,
    min_free_bytes: Annotated[int, _limit("Bytes of disk that are left free.", 0)] = _STORE.min_free_bytes,
) -> None:
    """Serve the classic protocol, to the original's clients and ours.

    Stop it with Ctrl-C or SIGTERM: it finishes what it has begun.
    """
    from hushpost.app.classic import run_classic  # late: keeps the other commands' start quick
    from hushpost.cli.logs import announce, configure_logs

    host, port = _port_of_the_folder() if listen is None else parse_address(listen)
    configure_logs(log_format)
    announce(WARNING, err=True)
    settings = ClassicSettings(
        host,
        port,
        data,
        ListenLimits(max_connections, per_address, request_deadline, min_rate, stop_deadline),
        relayed,
    )
    store_limits = StoreLimits(mailbox_count, mailbox_bytes, total_bytes, min_free_bytes)
    run_classic(settings, store_limits, partial(_announce, as_json=as_json))


def _port_of_the_folder() -> tuple[str, int]:
    """As the original has it: a file in the working directory names the port."""
    return "127.0.0.1", read_port_file(Path("port.info"))


def _announce(host: str, port: int, *, as_json: bool) -> None:
    from hushpost.cli.logs import announce_event

    address = written(host, port)
    announce_event(f"listening on {address}", as_json=as_json, event="listening", address=address)


def import_(
    source: Annotated[
        Path, typer.Argument(metavar="DIR", help="The old server's folder, with server.db and files/.")
    ],
    data: Annotated[
        Path,
        typer.Option(
            parser=folder,
            metavar="DIR",
            envvar="HUSH_CLASSIC_DATA",
            help="Folder of the new server: another one.",
        ),
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Take over an old server: its clients and waiting messages, under their ids and in their order.

    The old server must be stopped; its folder stays as it is. If this is interrupted, call it again.
    """
    import msgspec
    from rich.console import Console
    from rich.progress import Progress

    from hushpost.app.classic import import_classic

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("messages", total=None)
        report = import_classic(
            source, data, lambda done, total: bar.update(task, completed=done, total=total)
        )
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
        return
    again = ", going on where an earlier run ended" if report.resumed else ""
    typer.echo(f"took over {report.clients} clients and {report.messages} messages{again}")
    for ids, what in (
        (report.missing, "had lost their file and now say -Missing-, as the old server did"),
        (report.left_out, "were to clients that the old server does not know, and were left out"),
    ):
        if ids:
            typer.echo(f"{len(ids)} messages {what}: " + ", ".join(map(str, ids)))
