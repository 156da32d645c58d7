"""A link says where, who and with what right, in one spelling; anything else gives one clear error."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.crypto.identity import (
    AccountFingerprint,
    Authority,
    ContactLink,
    InviteToken,
    JoinLink,
    ServerFingerprint,
    Uninvited,
    parse_link,
)
from hushpost.crypto.identity.links import MAX_LINK
from hushpost.errors import LinkError
from tests.crypto.people import ALICE, BOB

SERVER = ServerFingerprint(bytes(range(32)))
TOKEN = InviteToken(bytes(range(100, 116)))
JOIN = JoinLink("post.example.org", 7443, SERVER, TOKEN, ALICE.account)
CONTACT = ContactLink("post.example.org", 7443, SERVER, BOB.account, BOB.name)
FP = "aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq"
TOK = "mrswmz3infvgw3dnnzxxa4lsom"


def test_links_look_as_specified() -> None:
    inviter = base64.b32encode(ALICE.account).decode().rstrip("=").lower()
    account = base64.b32encode(BOB.account).decode().rstrip("=").lower()
    assert str(JOIN) == f"hush://post.example.org:7443/join#{FP}.{TOK}.{inviter}"
    assert str(CONTACT) == f"hush://post.example.org:7443/u/Bob%20%E9%AE%91%E5%8B%83#{FP}.{account}"


@given(
    st.sampled_from(["localhost", "10.0.0.1", "::1", "2001:db8::7", "my_host", "xn--bcher-kva.example"]),
    st.integers(1, 65_535),
    st.sampled_from([SERVER, Authority.CA]),
    st.sampled_from([None, ALICE.account]),
    st.sampled_from(["al", "Bob 鮑勃", "a#b/c?d%e", "🦊🦊", "n" * 254, "鮑" * 84, "a.b"]),
)
def test_links_go_both_ways(
    host: str, port: int, server: ServerFingerprint | Authority, inviter: AccountFingerprint | None, name: str
) -> None:
    invitation = JoinLink(host, port, server, TOKEN, inviter)
    open_link = JoinLink(host, port, server, Uninvited.OPEN, inviter)
    contact = ContactLink(host, port, server, ALICE.account, name)
    for link in (invitation, open_link, contact):
        assert len(str(link)) <= MAX_LINK
        assert parse_link(str(link)) == link
        assert parse_link(f" \n{link}\n") == link


def test_case_does_not_matter_where_it_means_nothing() -> None:
    shouted = f"hush://POST.Example.org:7443/join#{FP.upper()}.{TOK.upper()}"
    assert parse_link(shouted) == JoinLink("post.example.org", 7443, SERVER, TOKEN)


def test_an_open_link_says_so_in_a_word() -> None:
    link = f"hush://post.example.org:7443/join#{FP}.open"
    assert parse_link(link) == JoinLink("post.example.org", 7443, SERVER, Uninvited.OPEN)
    assert parse_link(link.replace("open", "OPEN")) == parse_link(link)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hush://",
        "https://post.example.org:7443/join#" + f"{FP}.{TOK}",
        f"HUSH://h:1/join#{FP}.{TOK}",
        f"hush://h/join#{FP}.{TOK}",
        f"hush://h:0/join#{FP}.{TOK}",
        f"hush://h:65536/join#{FP}.{TOK}",
        f"hush://h:0443/join#{FP}.{TOK}",
        f"hush://h:-1/join#{FP}.{TOK}",
        f"hush://:1/join#{FP}.{TOK}",
        f"hush://user@h:1/join#{FP}.{TOK}",
        f"hush://h..x:1/join#{FP}.{TOK}",
        f"hush://-h:1/join#{FP}.{TOK}",
        f"hush://{'h' * 64}:1/join#{FP}.{TOK}",
        f"hush://{'.'.join(['h' * 60] * 5)}:1/join#{FP}.{TOK}",
        f"hush://1.2.3:1/join#{FP}.{TOK}",
        f"hush://1.2.3.256:1/join#{FP}.{TOK}",
        f"hush://[::1:1/join#{FP}.{TOK}",
        f"hush://[::g]:1/join#{FP}.{TOK}",
        f"hush://[0::1]:1/join#{FP}.{TOK}",
        f"hush://::1:1/join#{FP}.{TOK}",
        f"hush://h:1/join/#{FP}.{TOK}",
        f"hush://h:1/Join#{FP}.{TOK}",
        f"hush://h:1/join?x#{FP}.{TOK}",
        f"hush://h:1/join{FP}.{TOK}",
        f"hush://h:1/join#{FP}",
        f"hush://h:1/join#{FP}.{TOK}.{FP}.{FP}",
        f"hush://h:1/join#{FP}.{TOK}.",
        f"hush://h:1/join#.{TOK}",
        "hush://h:1/join#ca.ca",
        f"hush://h:1/join#{FP}.{FP}",
        f"hush://h:1/join#{TOK}.{TOK}",
        f"hush://h:1/join#{FP[:-1]}.{TOK}",
        f"hush://h:1/join#{FP[:-1]}r.{TOK}",
        f"hush://h:1/join#{FP[:-1]}1.{TOK}",
        f"hush://h:1/join#{FP}====.{TOK}",
        f"hush://h:1/join#{FP}.",
        f"hush://h:1/join#{FP}..{FP}",
        f"hush://h:1/join#{FP}.opens",
        f"hush://h:1/join#{FP}.{FP}.open",
        "hush://h:1/join#open.open",
        f"hush://h:1/u/alice#{FP}.open",
        f"hush://h:1/join#{FP}.{TOK} x",
        f"hush://h:1/join#{FP}.{TOK}\0",
        f"hush://h:1/u/alice#{FP}",
        f"hush://h:1/u/alice#{FP}.ca",
        f"hush://h:1/u/alice#{FP}.{TOK}",
        f"hush://h:1/u/#{FP}.{FP}",
        f"hush://h:1/u/a/b#{FP}.{FP}",
        f"hush://h:1/u/%61lice#{FP}.{FP}",
        f"hush://h:1/u/al%2#{FP}.{FP}",
        f"hush://h:1/u/al%FF#{FP}.{FP}",
        f"hush://h:1/u/al%0Aice#{FP}.{FP}",
        f"hush://h:1/u/al ice#{FP}.{FP}",
        f"hush://h:1/u/%e9%ae%91#{FP}.{FP}",
        f"hush://h:1/u/%20alice#{FP}.{FP}",
        f"hush://h:1/u/al%E2%80%AEice#{FP}.{FP}",
        f"hush://h:1/u/{'n' * 255}#{FP}.{FP}",
        "hush://h:1/join#" + "a" * MAX_LINK,
    ],
)
def test_what_is_no_link(text: str) -> None:
    with pytest.raises(LinkError) as caught:
        parse_link(text)
    assert TOK not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("secrets", [FP[:-1], FP[:-1] + "1"])
def test_a_letter_that_is_missing_is_told_in_our_words(secrets: str) -> None:
    with pytest.raises(LinkError) as caught:
        parse_link(f"hush://h:1/join#{secrets}.{TOK}")
    assert "padding" not in caught.value.hint


@given(st.text(max_size=200) | st.text(alphabet="hus:/joinca#.[]%2a", max_size=80).map("hush://h:1/".__add__))
def test_noise_gives_the_same_error(text: str) -> None:
    with pytest.raises(LinkError):
        parse_link(text)


def test_tokens_and_names_are_not_printed() -> None:
    assert TOKEN.hex() not in repr(JOIN)
    assert TOK not in repr(JOIN)
    assert "Bob" not in repr(CONTACT)
