"""Reading requests: waitress' parser, stricter about what can mean two things, and with bodies kept in memory.

waitress accepts some requests that another server in between would read differently (request smuggling):
repeated Host or Content-Length fields, Content-Length beside Transfer-Encoding, folded lines. All of them are 400 here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from io import BytesIO
from itertools import islice
from typing import Any

from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented, split_uri
from waitress.receiver import ChunkedReceiver, FixedStreamReceiver
from waitress.utilities import BadRequest, Error, RequestEntityTooLarge

from messagebroker.http.later import Reply

MAX_FIELDS = 100
MAX_CHUNK_LINE = 256

# A second one of these would change what the request means.
_ONCE = frozenset(
    {"HOST", "CONTENT_LENGTH", "TRANSFER_ENCODING", "CONTENT_TYPE", "AUTHORIZATION", "EXPECT", "CONTENT_ENCODING",
     "IDEMPOTENCY_KEY", "IF_MATCH", "X_CLIENT_ID", "TRACEPARENT"}
)  # fmt: skip
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_METHOD = re.compile(r"[A-Z]{1,20}")
_VERSIONS = frozenset({"HTTP/1.0", "HTTP/1.1"})
_PLAIN_TARGET = re.compile(r"/(?!/)[^%#]*")  # nothing to decode in it
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
_DIGITS = re.compile(r"[0-9]{1,18}")
_HOST = re.compile(r"[A-Za-z0-9.\-_~%\[\]:]*")


class RequestTimeout(Error):  # type: ignore[misc]
    """The peer did not send its request in time."""

    code = 408
    reason = "Request Timeout"


class Overloaded(Error):  # type: ignore[misc]
    """Too much memory is taken by requests that are not complete."""

    code = 503
    reason = "Service Unavailable"


class Body:
    """waitress' buffer interface over a list of pieces.

    waitress moves longer bodies to temporary files; plain text of messages must not reach a disk.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, piece: bytes) -> None:
        """Adds a piece."""
        self._pieces.append(piece)
        self._length += len(piece)

    def getfile(self) -> BytesIO:
        """All of it, to read."""
        return BytesIO(self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))

    def close(self) -> None:
        """Lets go of the pieces."""
        self._pieces.clear()


class Chunks(ChunkedReceiver):  # type: ignore[misc]
    """Chunked bodies, without endless chunk lines and trailers."""

    error: Any  # a waitress Error, or None

    def received(self, data: bytes) -> int:
        """Takes in bytes; how many of them belong to the body."""
        consumed: int = super().received(data)
        if not self.error and (len(self.control_line) > MAX_CHUNK_LINE or len(self.trailer) > MAX_CHUNK_LINE):
            self.error = BadRequest("a chunk's size line or the trailer is too long")
        return consumed


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """One request, from its first byte to its last."""

    command = "GET"  # until the request line is read; answers to what cannot be read need them
    path = request_uri = "/"
    query = ""
    url_scheme = "https"
    error: Any  # a waitress Error, or None
    begun = False  # True once its first bytes set the deadline
    reply: Reply | None = None  # of a request that was answered later

    def received(self, data: bytes) -> int:
        """Takes in bytes; how many of them belong to this request."""
        consumed: int = super().received(data)
        if max(self.content_length, 0 if self.body_rcv is None else len(self.body_rcv)) > self.adj.max_body:
            self.fail(RequestEntityTooLarge(f"over {self.adj.max_body} bytes"))
        if self.headers_finished and (self.error or self.body_rcv is None):
            self.expect_continue = False  # nobody waits for a body that does not come or is not wanted
        return consumed

    def fail(self, error: Error) -> None:
        """Ends the request with an answer that says why."""
        self.error = error
        self.completed = True
        self.expect_continue = False

    def parse_header(self, header_plus: bytes) -> None:
        """Reads the request line and the header fields.

        Raises:
            ParsingError, TransferEncodingNotImplemented: waitress makes a 400 and a 501 of them.
        """
        if _FORBIDDEN.search(header_plus):
            raise ParsingError("the header has a control character or a lone CR or LF in it")
        lines = header_plus.decode("latin-1").split("\r\n")
        if len(lines) > MAX_FIELDS:
            raise ParsingError(f"over {MAX_FIELDS} header fields")
        command, _, rest = lines[0].partition(" ")
        target, _, version = rest.partition(" ")
        if not _METHOD.fullmatch(command) or not target or version not in _VERSIONS:
            raise ParsingError("the request line must be METHOD TARGET HTTP/1.1")
        self.command, self.request_uri, self.version = command, target, version[5:]
        if _PLAIN_TARGET.fullmatch(target):
            self.path, _, self.query = target.partition("?")
        else:
            self.path, self.query = _split(target)
        self._read_fields(lines)
        self._frame_body()

    def _read_fields(self, lines: list[str]) -> None:
        headers = self.headers
        for line in islice(lines, 1, None):
            if not line:
                continue
            raw_name, colon, value = line.partition(":")
            name = _key_of(raw_name)
            if not colon or name is None:
                raise ParsingError("a header field is malformed, or folded over two lines")
            if name == "":
                continue
            value = value.strip(" \t")
            if name not in headers:
                headers[name] = value
            elif name in _ONCE:
                raise ParsingError(f"the field {raw_name} is there twice")
            else:
                headers[name] += ("; " if name == "COOKIE" else ", ") + value

    def _frame_body(self) -> None:
        headers = self.headers
        host = headers.get("HOST")
        if self.version == "1.1" and host is None:
            raise ParsingError("the Host field is missing")
        if host is not None and not _HOST.fullmatch(host):
            raise ParsingError("the Host field is malformed")
        asked = [option.strip() for option in headers.get("CONNECTION", "").lower().split(",")]
        self.connection_close = "close" in asked or (self.version == "1.0" and "keep-alive" not in asked)
        encoding = headers.pop("TRANSFER_ENCODING", None)
        length = headers.get("CONTENT_LENGTH")
        if encoding is not None:
            self._frame_chunks(encoding, length)
        elif length is not None:
            self._frame_length(length)
        self.expect_continue = self.version == "1.1" and headers.get("EXPECT", "").lower() == "100-continue"

    def _frame_chunks(self, encoding: str, length: str | None) -> None:
        if length is not None or self.version == "1.0":
            raise ParsingError("Transfer-Encoding must not come with Content-Length or HTTP/1.0")
        if encoding.lower() != "chunked":
            raise TransferEncodingNotImplemented("the only Transfer-Encoding is chunked")
        self.chunked = True
        self.body_rcv = Chunks(Body())

    def _frame_length(self, length: str) -> None:
        if not _DIGITS.fullmatch(length):
            raise ParsingError("Content-Length is not a number")
        self.content_length = int(length)
        if self.content_length:
            self.body_rcv = FixedStreamReceiver(self.content_length, Body())

    def get_body_stream(self) -> Any:
        """The body, to read."""
        return BytesIO() if self.body_rcv is None else self.body_rcv.getfile()


def _split(target: str) -> tuple[str, str]:
    try:
        _, _, path, query, _ = split_uri(target.encode("latin-1"))
    except ValueError as error:  # `http://[::1/`: urllib's own complaint, which waitress lets through
        raise ParsingError("the request target is malformed") from error
    return path, query


@lru_cache(maxsize=1024)
def _key_of(name: str) -> str | None:
    """`Content-Type` as CONTENT_TYPE; None: no field name; "": one to leave out.

    Names with an underscore would be taken for those with a hyphen once they are in the environ.
    """
    if not _NAME.fullmatch(name):
        return None
    return "" if "_" in name else name.upper().replace("-", "_")
