"""Answering requests: waitress' tasks with our environ, answers in one piece, and errors as problem documents."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from typing import Any

import msgspec
from waitress.task import ErrorTask, WSGITask

from messagebroker.http.later import DEFER, Later, Reply
from messagebroker.http.problems import PREFIX

_PROBLEMS = {  # what the server itself refuses: status -> (type, status line, what to do)
    400: ("bad-request", "400 Bad Request", "the request is not valid HTTP/1.1"),
    408: ("request-timeout", "408 Request Timeout", "the request did not arrive in time; send it again, faster"),
    413: ("too-large", "413 Content Too Large", "the request body is too long; send smaller batches"),
    431: ("headers-too-large", "431 Request Header Fields Too Large", "the header fields are too long together"),
    501: ("not-implemented", "501 Not Implemented", "the request uses a transfer coding that is not supported"),
    503: ("overloaded", "503 Service Unavailable", "the server holds too many unfinished requests; try again later"),
}
_USE_HTTPS = msgspec.json.encode(
    {"type": PREFIX + "https-needed", "title": "Https needed", "status": 400, "detail": "this port speaks HTTPS only"}
)
USE_HTTPS = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_USE_HTTPS), _USE_HTTPS)
)
"""What plain HTTP on the TLS port gets; nothing of its request is read."""

_INTERNAL = ("internal-error", "500 Internal Server Error", "the server failed; its log says why")


@lru_cache(maxsize=2)
def date_of(second: int) -> str:
    """A Date field's value."""
    return formatdate(second, usegmt=True)


class _WholeAnswers:
    """Mixed into waitress' tasks: the header and the first piece of the body leave in one TLS record."""

    def write(self: Any, data: bytes) -> None:
        """WSGI's `write`, called by the application or for each piece that it returns."""
        if not self.complete:
            raise RuntimeError("start_response was not called before body written")
        head = b""
        if not self.wrote_header:
            self.close_on_finish = self.close_on_finish or self.channel.server.stopping
            head = self.build_response_header()
            self.wrote_header = True
        body = self._framed(data) if data and self.has_body else b""
        if head or body:
            self.channel.write_soon(head + body)

    @property
    def has_body(self: Any) -> bool:
        """False where HTTP allows none."""
        return bool(self.may_have_length) and self.request.command != "HEAD"

    @property
    def may_have_length(self: Any) -> bool:
        """True where a length or a transfer coding belongs into the header; to HEAD it describes what GET gets."""
        status: str = self.status
        return status[:3] not in ("204", "304") and status[0] != "1"

    def build_response_header(self: Any) -> bytes:
        """The status line and the fields. Unlike waitress' own, it keeps connections open after 204, 304 and chunks."""
        lines = [f"HTTP/{self.version} {self.status}"]
        length = self.content_length
        for name, value in self.response_headers:
            if name.lower() == "content-length":
                length = value
            else:
                lines.append(f"{name}: {value}")
        if self.may_have_length:
            if length is not None:
                lines.append(f"Content-Length: {length}")
            elif self.version == "1.1":
                lines.append("Transfer-Encoding: chunked")
                self.chunked_response = self.has_body
            else:
                self.close_on_finish = True  # HTTP/1.0 has no other way to say where the body ends
        if self.request.connection_close:
            self.close_on_finish = True
        if self.close_on_finish:
            lines.append("Connection: close")
        elif self.version == "1.0":
            lines.append("Connection: keep-alive")
        lines.append(f"Date: {date_of(int(time.time()))}\r\n\r\n")
        return "\r\n".join(lines).encode("latin-1")

    def set_close_on_finish(self: Any) -> None:
        """Closes the connection after this answer, and says so if its header is still to be written."""
        self.close_on_finish = True

    def _framed(self: Any, data: bytes) -> bytes:
        if self.chunked_response:
            return b"%X\r\n%b\r\n" % (len(data), data)
        if self.content_length is None:
            return data
        rest = self.content_length - self.content_bytes_written
        if len(data) > rest:
            self.logger.warning("the application wrote more than its Content-Length of %d bytes", self.content_length)
            data = data[:rest]
        self.content_bytes_written += len(data)
        return data


class Task(_WholeAnswers, WSGITask):  # type: ignore[misc]
    """One request for the application. One that was deferred is served once more when its answer is there."""

    def execute(self) -> None:
        """Runs the application, or writes the answer that came since."""
        reply: Reply | None = self.request.reply
        if reply is None:
            super().execute()
            return
        self.status, self.response_headers, body = reply
        self.complete = True
        self.content_length = len(body)
        self.write(body)

    def get_environment(self) -> dict[str, Any]:
        """The WSGI environ, with the peer's identity in it."""
        request = self.request
        path: str = request.path
        if path.startswith("//"):
            path = "/" + path.lstrip("/")
        environ: dict[str, Any] = self.channel.environ.copy()
        environ["REQUEST_METHOD"] = request.command
        environ["SERVER_PROTOCOL"] = "HTTP/" + self.version
        environ["PATH_INFO"] = path
        environ["REQUEST_URI"] = request.request_uri
        environ["QUERY_STRING"] = request.query
        environ["wsgi.input"] = request.get_body_stream()
        environ["messagebroker.close"] = self.set_close_on_finish
        environ[DEFER] = self._later
        for name, value in request.headers.items():
            key = name if name in ("CONTENT_LENGTH", "CONTENT_TYPE") else "HTTP_" + name
            environ[key] = value
        self.environ = environ
        return environ

    def _later(self) -> Later:
        return Later(self.channel, self.request)


class ProblemTask(_WholeAnswers, ErrorTask):  # type: ignore[misc]
    """The answer to a request that never reaches the application; the connection ends with it."""

    def execute(self) -> None:
        """Writes the problem document."""
        error = self.request.error
        name, status, sentence = _PROBLEMS.get(error.code, _INTERNAL)
        said = error.body if error.code in (400, 408, 413, 501) else ""
        body = msgspec.json.encode(
            {
                "type": PREFIX + name,
                "title": name.replace("-", " ").capitalize(),
                "status": int(status[:3]),
                "detail": f"{sentence}: {said}" if said else sentence,
            }
        )
        self.status = status
        self.response_headers.append(("Content-Type", "application/problem+json"))
        if error.code == 503:
            self.response_headers.append(("Retry-After", "5"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)
