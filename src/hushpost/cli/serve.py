"""`hush serve`: the server of version 3."""

from __future__ import annotations

import ipaddress
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from platformdirs import user_data_path

from hushpost.cli.options import AsJson, folder, written
from hushpost.cli.settings_file import LONGEST, limit_of, read_config
from hushpost.errors import UsageError
from hushpost.settings import (
    DirectoryPolicy,
    ListenLimits,
    LogFormat,
    PostLimits,
    ServeSettings,
    parse_address,
    parse_rates,
)
from hushpost.stores.base import StoreLimits

if TYPE_CHECKING:
    from hushpost.app.post import Announcement

PORT = 4747
DAY = 86_400
DEFAULT_LISTEN = f"127.0.0.1:{PORT}"
DEFAULT_DATA = user_data_path("hushpost") / "server"

_limit = partial(limit_of, "Limits (docs/reference/server.md gives the reasons)")
_LISTEN = ListenLimits()
_POST = PostLimits()
_STORE = StoreLimits()


def serve(
    data: Annotated[
        Path,
        typer.Option(
            parser=folder,
            metavar="DIR",
            envvar="HUSH_SERVER_DATA",
            help="Folder of the server's keys and its database.",
        ),
    ] = DEFAULT_DATA,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", envvar="HUSH_SERVER_LISTEN", help="Where to listen.")
    ] = DEFAULT_LISTEN,
    advertise: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            envvar="HUSH_SERVER_ADVERTISE",
            help="The address that links carry, if it is another one.",
        ),
    ] = None,
    classic: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Serve the classic protocol there, too, with a store of its own."
        ),
    ] = None,
    anybody: Annotated[bool, typer.Option("--open", help="Let everybody register, uninvited.")] = False,
    directory: Annotated[
        DirectoryPolicy, typer.Option(help="Whether members may list each other.")
    ] = DirectoryPolicy.CLOSED,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="A loopback address for /metrics, /healthz and /readyz over HTTP."
        ),
    ] = None,
    allow_root: Annotated[
        bool, typer.Option("--allow-root", help="Run as root on a public address all the same.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            is_eager=True,
            callback=read_config,
            envvar="HUSH_SERVER_CONFIG",
            help="TOML file with any of these options as keys; flags and environment win over it.",
        ),
    ] = None,
    log_format: Annotated[LogFormat, typer.Option(help="How events are written to stderr.")] = (
        LogFormat.CONSOLE
    ),
    as_json: AsJson = False,
    log_addresses: Annotated[
        bool, typer.Option("--log-addresses", help="Name the addresses of refused logins in the log.")
    ] = False,
    rate: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=COUNT/SECONDS", help="Another rate; may be given several times."),
    ] = None,
    max_connections: Annotated[int, _limit("Open connections.", 1)] = _LISTEN.max_connections,
    per_address: Annotated[int, _limit("Open connections of one address.", 1)] = _LISTEN.per_address,
    per_device: Annotated[int, _limit("Open connections of one device.", 1)] = _POST.per_device,
    entry_deadline: Annotated[
        float, _limit("Seconds for TLS and authentication.", 0.1, LONGEST)
    ] = _POST.entry_deadline,
    request_deadline: Annotated[
        float, _limit("Seconds for a request to arrive, and to be answered.", 0.1, LONGEST)
    ] = _LISTEN.request_deadline,
    stop_deadline: Annotated[
        float, _limit("Seconds to finish what was begun when stopping.", 0, LONGEST)
    ] = _LISTEN.stop_deadline,
    window: Annotated[int, _limit("Bytes pushed and not acknowledged yet, per device.", 1)] = _POST.window,
    in_hand: Annotated[
        int, _limit("Bytes of requests and awaited answers of one connection.", 1)
    ] = _POST.in_hand,
    in_hand_total: Annotated[int, _limit("The same of all connections.", 1)] = _POST.in_hand_total,
    mailbox_count: Annotated[int, _limit("Envelopes in one mailbox.", 1)] = _STORE.mailbox_count,
    mailbox_bytes: Annotated[int, _limit("Bytes in one mailbox.", 1)] = _STORE.mailbox_bytes,
    total_bytes: Annotated[int, _limit("Bytes in all mailboxes.", 1)] = _STORE.total_bytes,
    min_free_bytes: Annotated[int, _limit("Bytes of disk that are left free.", 0)] = _STORE.min_free_bytes,
    file_days: Annotated[int, _limit("Days that a file stays at least.", 1, 36_500)] = _STORE.blob_seconds
    // DAY,
    file_quota: Annotated[int, _limit("Bytes of files of one account.", 0)] = _STORE.blob_quota,
    file_bytes: Annotated[int, _limit("Bytes of all files.", 0)] = _STORE.blob_bytes,
    file_free_bytes: Annotated[int, _limit("Bytes of disk that files leave free.", 0)] = (
        _STORE.blob_free_bytes
    ),
) -> None:
    """Serve Hushpost, until Ctrl-C or SIGTERM. The first run prints an invitation.

    Everything that it keeps is in one folder: back that up.
    """
    from hushpost.app.post import run_post  # late: keeps the other commands' start quick
    from hushpost.cli.logs import configure_logs

    host, port = parse_address(listen)
    classic_address = parse_address(classic) if classic is not None else None
    if not allow_root and os.geteuid() == 0:
        for each in filter(None, [(host, port), classic_address]):
            _refuse_root(each[0])
    limits = ListenLimits(max_connections, per_address, request_deadline, stop_deadline=stop_deadline)
    settings = ServeSettings(
        host,
        port,
        data,
        advertise=_advertised(host, advertise),
        classic=classic_address,
        metrics=_loopback(metrics) if metrics is not None else None,
        open=anybody,
        directory=directory,
        log_addresses=log_addresses,
        listen_limits=limits,
        limits=PostLimits(entry_deadline, per_device, window, in_hand, in_hand_total),
        rates=parse_rates(rate or []),
    )
    configure_logs(log_format)
    store_limits = msgspec.structs.replace(
        _STORE,
        mailbox_count=mailbox_count,
        mailbox_bytes=mailbox_bytes,
        total_bytes=total_bytes,
        min_free_bytes=min_free_bytes,
        blob_seconds=file_days * DAY,
        blob_quota=file_quota,
        blob_bytes=file_bytes,
        blob_free_bytes=file_free_bytes,
    )
    run_post(settings, store_limits, partial(_announce, as_json=as_json))


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None: it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _refuse_root(host: str) -> None:
    if not _is_loopback(host):
        raise UsageError(
            "this server does not run as root on a public address",
            hint="run it as a user of its own, as in deploy/, or say --allow-root",
        )


def _loopback(text: str) -> tuple[str, int]:
    """Metrics tell nobody's name, but they are nobody else's business."""
    host, port = parse_address(text)
    if not _is_loopback(host):
        raise UsageError("metrics are served on a loopback address only", hint="write 127.0.0.1:PORT")
    return host, port


def _advertised(host: str, given: str | None) -> tuple[str, int] | None:
    if given is not None:
        return parse_address(given)
    address = _address(host)
    if address is not None and address.is_unspecified:
        raise UsageError(
            f"with {host}, nobody knows the address to write into links",
            hint="name the address that others reach with --advertise HOST:PORT",
        )
    return None


def _announce(announcement: Announcement, *, as_json: bool) -> None:
    """In sentences, too, the address ends the first line, and the link its own."""
    from hushpost.cli.logs import announce_event

    say = partial(announce_event, as_json=as_json)
    address = written(*announcement.address)
    say(f"listening on {address}", event="listening", address=address)
    if announcement.classic is not None:
        address = written(*announcement.classic)
        say(f"classic protocol on {address}", event="classic", address=address)
    if isinstance(first := announcement.first, str):
        say(f"whoever likes may join with {first}", event="open", link=first)
    elif first is not None:
        say(
            f"invitation for the first {first.uses}, within 7 days: {first.link}",
            event="invitation",
            link=first.link,
            uses=first.uses,
            expires=first.expires,
        )
