"""How people, messages and alarms read on a terminal, and what they are in JSON.

A mark stands in front of every name: what follows it was chosen by somebody else, and could imitate one.
"""

from __future__ import annotations

import time
from typing import Any

from hushpost.client.values import (
    Alarm,
    Alarmed,
    AttachedFile,
    Contact,
    Delivery,
    Message,
    Standing,
    Trust,
)
from hushpost.errors import ExitCode
from hushpost.untrusted import printable, printable_lines

MARKS = {
    Trust.VERIFIED: "[verified]",
    Trust.UNVERIFIED: "[unverified]",
    Trust.CHANGED: "[KEY CHANGED]",
}

STANDINGS = {
    Standing.CONTACT: "",
    Standing.REQUEST: "[stranger]",
    Standing.BLOCKED: "[blocked]",
}

QUIET = frozenset({Alarm.KEY_REPLACED, Alarm.SESSION_RESET, Alarm.REMOVED_DEVICE, Alarm.MISSING})
"""Worth a remark. Whatever else alarms also decides the exit code."""


def mark(contact: Contact) -> str:
    """What is known of somebody, in brackets. A stranger is never verified: nobody vouched for them."""
    return STANDINGS[contact.standing] or MARKS[contact.trust]


def who(contact: Contact) -> str:
    """The mark and the name, escaped."""
    return f"{mark(contact)} {printable(contact.shown)}"


def person(contact: Contact) -> dict[str, Any]:
    """Somebody, in JSON."""
    return {
        "account": str(contact.account),
        "name": contact.name,
        "alias": contact.alias,
        "standing": contact.standing,
        "trust": contact.trust,
        "devices": len(contact.devices),
        "since": contact.since,
    }


def moment(seconds: int) -> str:
    """A time of another clock or ours, in the zone of this machine."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OverflowError, OSError, ValueError):  # a claim may be any number
        return f"at {seconds}"


def describe(message: Message, contact: Contact) -> str:
    """One message for people; its lines are indented, so that none can pass for ours."""
    if message.ours:
        head = f"to {printable(contact.shown)}, {moment(message.sent_at)}, {message.delivery}"
    else:
        head = f"{who(contact)}, {moment(message.sent_at)}"
    remark = f"\n  ! {printable(message.remark)}" if message.remark else ""
    file = f"\n  {attachment(message.file)}" if message.file else ""
    how = f": hush get {message.id}" if message.file and not message.ours else ""
    text = f"\n{printable_lines(message.text)}" if message.text or not message.file else ""
    return f"{head}:{remark}{file}{how}{text}"


def attachment(file: AttachedFile) -> str:
    """A file that a message offers, with its name escaped."""
    kind = "folder" if file.is_folder else "file"
    return f"{kind} of {size(file.size)}, {printable(file.name)}"


def size(count: int) -> str:
    """Bytes as people say it: powers of a thousand, like disks and lines are sold."""
    for unit, scale in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}" if count < 999.5 * scale else f"{count / scale:,.0f} {unit}"
    return f"{count} bytes"


def fields(message: Message, contact: Contact) -> dict[str, Any]:
    """One message in JSON: what `read` and `history` share. Texts and names are as they came."""
    return {
        "id": str(message.id),
        "from": contact.shown,
        "account": str(contact.account),
        "standing": contact.standing,
        "trust": contact.trust,
        "text": message.text,
        "sent_at": message.sent_at,
        "remark": message.remark,
        "file": None if message.file is None else offered(message.file),
    }


def offered(file: AttachedFile) -> dict[str, Any]:
    """A file that a message offers, in JSON."""
    return {
        "name": file.name,
        "size": file.size,
        "media_type": file.media_type,
        "folder": file.is_folder,
    }


def alarm(event: Alarmed, name: str) -> str:
    """An alarm as a line that cannot be overlooked. `name` is of whom it is about; empty: of nobody."""
    about = f"{printable(name)}: " if name else ""
    detail = f" ({printable(event.detail)})" if event.detail else ""
    loud = "note" if event.alarm in QUIET else "ALARM"
    return f"{loud}: {about}{event.alarm}{detail}"


def waiting(alarms: list[Alarm]) -> list[str]:
    """What `inbox` says about alarms that nobody has seen: as loud as `read` shows them."""
    quiet = sum(each in QUIET for each in alarms)
    loud = len(alarms) - quiet
    counts = (("ALARM", loud), ("note", quiet))
    return [f"{word}: {count} to be shown: hush read" for word, count in counts if count]


def alarm_code(alarms: list[Alarm]) -> ExitCode:
    """What a command that has shown these returns to the shell: the gravest counts."""
    if Alarm.OLD_COPY in alarms:
        return ExitCode.OLD_COPY
    if any(each not in QUIET and each is not Alarm.UNDECRYPTABLE for each in alarms):
        return ExitCode.UNTRUSTED
    return ExitCode.UNDECRYPTABLE if Alarm.UNDECRYPTABLE in alarms else ExitCode.OK


def groups(digits: str, size: int = 5, in_row: int = 4) -> str:
    """A safety number as people compare it: rows of groups."""
    parts = [digits[at : at + size] for at in range(0, len(digits), size)]
    rows = [parts[at : at + in_row] for at in range(0, len(parts), in_row)]
    return "\n".join("    " + " ".join(row) for row in rows)


def sent(delivery: Delivery) -> str:
    """What `send` says about a message."""
    return {
        Delivery.QUEUED: "queued: safe here, and nowhere else yet",
        Delivery.ACCEPTED: "accepted: the server keeps it until it is fetched",
        Delivery.DELIVERED: "delivered",
        Delivery.FAILED: "failed",
    }[delivery]
