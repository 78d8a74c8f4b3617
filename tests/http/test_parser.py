"""Requests in pieces of any size, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messagebroker.http.parser import Body, Parser
from messagebroker.http.waitress_settings import adjustments
from messagebroker.settings import load

ADJUSTMENTS = adjustments(load({}, environment="test"), 1000)
FIXED = b"POST /a%20b?q=%41 HTTP/1.1\r\nHost: h:1\r\nX-A:  1 \r\nx-a: 2\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: t\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\n"


def parse(*pieces: bytes) -> tuple[Parser, bytes]:
    """The first request, and the bytes after it."""
    parser = Parser(ADJUSTMENTS)
    data = b""
    for piece in pieces:
        data += piece
        while data and not parser.completed:
            data = data[parser.received(data) :]
    return parser, data


@given(whole=st.sampled_from([FIXED, CHUNKED]), cuts=st.lists(st.integers(0, 200), max_size=12))
def test_pieces_do_not_matter(whole: bytes, cuts: list[int]) -> None:
    stream = whole + NEXT
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    parser, rest = parse(*(stream[a:b] for a, b in pairwise(edges)))
    assert parser.completed
    assert parser.error is None
    assert parser.get_body_stream().read() == b"hello"
    assert rest == NEXT


def test_what_a_request_says() -> None:
    parser, _ = parse(FIXED)
    assert (parser.command, parser.path, parser.query, parser.request_uri) == ("POST", "/a b", "q=%41", "/a%20b?q=%41")
    assert parser.headers == {"HOST": "h:1", "X_A": "1, 2", "CONTENT_LENGTH": "5"}


def test_names_with_an_underscore_are_left_out() -> None:
    """In a WSGI environ they would pass for those with a hyphen."""
    parser, _ = parse(b"GET / HTTP/1.1\r\nHost: h\r\nX_Client_Id: other\r\nContent_Length: 9\r\n\r\n")
    assert parser.completed
    assert parser.headers == {"HOST": "h"}


@given(st.binary(max_size=300))
def test_any_bytes_make_an_error_or_a_request(noise: bytes) -> None:
    parser, _ = parse(noise.replace(b"\r\n\r\n", b"") + b"\r\n\r\n")
    assert parser.completed
    assert parser.empty or parser.error or parser.command


@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_as_chunks_do_no_harm(noise: bytes) -> None:
    parser, _ = parse(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", noise)
    assert len(parser.body_rcv) <= len(noise)


@pytest.mark.parametrize("length", ["1001", "9" * 18, "9" * 30])
def test_long_bodies_are_refused_as_soon_as_they_are_announced(length: str) -> None:
    parser, _ = parse(f"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n".encode())
    assert parser.completed
    assert parser.error.code == (400 if len(length) > 18 else 413)


def test_long_chunked_bodies_are_refused_by_their_own_length() -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    just_fits, _ = parse(head + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n")
    assert just_fits.error is None
    too_long, _ = parse(head + b"1\r\nx\r\n" * 1001)
    assert too_long.error.code == 413


def test_a_body_stays_in_memory() -> None:
    body = Body()
    for _ in range(100):
        body.append(b"x" * 100_000)
    assert len(body) == 10_000_000
    assert body.getfile().read() == b"x" * 10_000_000
    with pytest.raises(OSError, match="fileno"):
        body.getfile().fileno()


@pytest.mark.parametrize(
    ("version", "fields", "closes"),
    [
        ("1.1", "", False),
        ("1.1", "Connection: close\r\n", True),
        ("1.1", "Connection: keep-alive, close\r\n", True),
        ("1.1", "Connection: TE , Close\r\n", True),
        ("1.1", "Connection: TE\r\nConnection: close\r\n", True),
        ("1.1", "Connection: closed, not-close\r\n", False),
        ("1.0", "", True),
        ("1.0", "Connection: Keep-Alive\r\n", False),
        ("1.0", "Connection: TE, keep-alive\r\n", False),
        ("1.0", "Connection: keep-alive, close\r\n", True),
    ],
)
def test_who_asks_for_the_end_gets_it(version: str, fields: str, closes: bool) -> None:
    parser, _ = parse(f"GET / HTTP/{version}\r\nHost: h\r\n{fields}\r\n".encode())
    assert parser.connection_close is closes
