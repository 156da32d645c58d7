"""The vectors of version 3: what is recorded in tests/vectors/v3-wire.json.

`python -m tests.wire.record` writes that file and the tables of docs/spec/wire.md anew. The tests compare
both with what the code says, so that neither changes without somebody having meant it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from hushpost.wire.codec import encode_message
from hushpost.wire.messages import EVENTS, REQUESTS, Message
from tests.wire.examples import example
from tests.wire.refused import to_client, to_server
from tests.wire.strategies import MESSAGES
from tests.wire.tables import PAGE, rendered

VECTORS = Path(__file__).parents[1] / "vectors" / "v3-wire.json"


def kind(cls: type[Message]) -> str:
    if cls.CODE in REQUESTS:
        return "request"
    return "event" if cls.CODE in EVENTS else "response"


def plain(value: Any) -> Any:
    """For JSON: bytes as hexadecimal, structs by the names of their fields."""
    match value:
        case bytes():
            return value.hex()
        case list():
            return [plain(each) for each in value]
        case msgspec.Struct():
            return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    return value


def messages() -> list[dict[str, Any]]:
    """Every message once: its fields, and its payload."""
    return [
        {
            "message": cls.__name__,
            "kind": kind(cls),
            "code": cls.CODE,
            "fields": plain(example(cls)),
            "payload_hex": encode_message(example(cls)).hex(),
        }
        for cls in MESSAGES
    ]


def cases() -> list[dict[str, str]]:
    """Both lists, for JSON."""
    return [
        {
            "name": name,
            "to": side,
            "state": state.value,
            "bytes_hex": data.hex(),
            "stage": stage,
            "outcome": outcome,
        }
        for side, rows in (("server", to_server()), ("client", to_client()))
        for name, state, data, stage, outcome in rows
    ]


def recorded() -> str:
    """The text of the file."""
    note = "every message of version 3 once, and what each end must refuse; see docs/spec/wire.md"
    return json.dumps({"note": note, "messages": messages(), "refused": cases()}, indent=1) + "\n"


def main() -> None:
    VECTORS.write_text(recorded())
    PAGE.write_text(rendered(PAGE.read_text()))


if __name__ == "__main__":
    main()
