"""One table from errors to error codes: every code has a sentence, every error a code, and no text leaks."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from hushpost import errors
from hushpost.crypto.identity import ManifestFault
from hushpost.crypto.prekeys import PrekeyFault
from hushpost.errors import (
    ManifestError,
    PrekeyError,
    StaleDevices,
    StaleManifest,
    StaleSeal,
    StoreError,
    StoreFull,
)
from hushpost.server.refusals import SENTENCES, Refusal, refusal
from hushpost.wire.messages import Error, ErrorCode

SECRET = "a name that nobody shall read"


def test_every_code_has_a_sentence_unless_the_frame_alone_shows_it() -> None:
    of_the_wire = {ErrorCode.UNEXPECTED, ErrorCode.UNKNOWN_REQUEST}
    assert set(SENTENCES) == set(ErrorCode) - of_the_wire


@pytest.mark.parametrize(
    "kind",
    [
        cls
        for _, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, StoreError) and cls is not StoreError
    ],
    ids=lambda kind: kind.__name__,
)
def test_what_a_store_says_is_not_repeated(kind: type[StoreError]) -> None:
    answer = refusal(7, kind(SECRET, hint=SECRET))
    assert answer.number == 7
    assert answer.error in set(ErrorCode)
    assert SECRET not in answer.sentence


def test_what_the_codes_promise_besides() -> None:
    assert refusal(1, StaleDevices("", manifest=b"newest")).detail == [b"newest"]
    assert refusal(1, StaleManifest("", manifest=b"newest")).detail == [b"newest"]
    keys = {bytes(16): b"signed", bytes(range(16)): None}
    assert refusal(1, StaleSeal("", keys=keys)).detail == [bytes(16) + b"signed", bytes(range(16))]
    assert refusal(1, StoreFull("", retry_after=17)).retry_after == 17


@pytest.mark.parametrize("fault", ManifestFault)
def test_manifests(fault: ManifestFault) -> None:
    code = ErrorCode.MALFORMED if fault is ManifestFault.MALFORMED else ErrorCode.BAD_SIGNATURE
    assert refusal(1, ManifestError(fault, hint=SECRET)) == Error(1, code, str(fault))


@pytest.mark.parametrize("fault", PrekeyFault)
def test_prekeys(fault: PrekeyFault) -> None:
    code = ErrorCode.BAD_SIGNATURE if fault is PrekeyFault.BAD_SIGNATURE else ErrorCode.MALFORMED
    assert refusal(1, PrekeyError(fault)) == Error(1, code, str(fault))


def test_surprises_are_logged_and_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    answer = refusal(1, ZeroDivisionError(SECRET))
    assert answer.error == ErrorCode.UNAVAILABLE
    assert answer.retry_after
    assert SECRET not in answer.sentence
    assert "internal error" in capsys.readouterr().out


def test_the_end_of_the_server_is_said_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (errors.StoreFailed("disk"), asyncio.CancelledError()):
        assert refusal(1, error).error == ErrorCode.UNAVAILABLE
    assert capsys.readouterr().out == ""


def test_a_refusal_of_the_servers_own() -> None:
    answer = refusal(3, Refusal(ErrorCode.RATE_LIMITED, retry_after=5))
    assert answer == Error(3, ErrorCode.RATE_LIMITED, SENTENCES[ErrorCode.RATE_LIMITED], 5)
