"""The page of the specification has the tables that the code gives."""

from __future__ import annotations

from hushpost.wire.messages import Error, GetKeys, SendEnvelope
from tests.wire.tables import MARK, PAGE, TABLES, field_table, rendered, said


def test_the_page_is_what_the_code_makes() -> None:
    """If not: `python -m tests.wire.record`, and look at what it changed."""
    text = PAGE.read_text()
    assert {name for _, name, _ in MARK.findall(text)} == set(TABLES)
    assert rendered(text) == text


def test_a_changed_table_is_noticed() -> None:
    text = PAGE.read_text()
    changed = text.replace("| `retry_after` |", "| `retry` |")
    assert changed != text
    assert rendered(changed) == text


def test_fields_are_described_by_their_bounds() -> None:
    rows = list(field_table(SendEnvelope))
    assert any(
        row.startswith("| `delivery_token` | 32 bytes, or none | none | the account's") for row in rows
    )
    assert any(row.startswith("| `recipients` | array of 1 to 150: `Recipient` |") for row in rows)
    assert any(row.startswith("| `retry_after` | u32 or nil | nil |") for row in field_table(Error))
    assert said(GetKeys)[0].startswith("What is needed to write to an account.")
