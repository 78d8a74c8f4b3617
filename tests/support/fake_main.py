"""A stand-in for main: the same paths, shapes and problems, over TLS, with a switch for every kind of trouble."""

from __future__ import annotations

import re
import socketserver
import ssl
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs
from uuid import UUID
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import falcon
import msgspec

PERMISSIONS = {
    "admin": ["messages.list", "messages.open", "inbox.own", "queues.read"],
    "user": ["messages.own", "inbox.own"],
    "lister": ["messages.list"],
}
START = datetime(2025, 3, 1, 8, 30, 15, tzinfo=UTC)
SCRIPT = "<script>document.title='broken'</script> </pre></script> {{7*7}} ${7*7} `x` \\n <img src=x onerror=alert(1)>"


def message_id(number: int) -> str:
    return str(UUID(int=(0x01905000 << 96) + (number << 80) + (7 << 76) + (1 << 63) + number))


@dataclass
class Account:
    email: str
    password: str
    role: str = "admin"
    must_change: bool = False
    tokens: set[str] = field(default_factory=set)
    refreshed: set[str] = field(default_factory=set)  # refresh tokens that are used up
    code: str | None = None  # of a second factor


class FakeMain:
    """`requests` and `peers` record what came; `failing` is a status that every API call answers with."""

    def __init__(self, certs: Path, *, count: int = 60) -> None:
        self.count = count
        self.reset()
        self._tokens = 0
        app = falcon.App()
        app.add_sink(self._answer, "/")
        app.add_error_handler(falcon.HTTPError, _problem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certs / "main.crt", certs / "main.key")
        context.load_verify_locations(certs / "ca.crt")
        context.verify_mode = ssl.CERT_OPTIONAL
        self._server = make_server("127.0.0.1", 0, app, server_class=_Threading, handler_class=_Quiet)
        self._server.context = context  # type: ignore[attr-defined]
        self._server.owner = self  # type: ignore[attr-defined]
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def reset(self) -> None:
        """As new."""
        self.accounts = {a.email: a for a in (
            Account("ada@example.org", "correct horse battery"),
            Account("una@example.org", "a plain user's words", role="user"),
            Account("lena@example.org", "sees but opens not", role="lister"),
            Account("tom@example.org", "two factors for tom", code="123456"),
            Account("new@example.org", "one-time-1234", must_change=True),
        )}  # fmt: skip
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.opened: list[str] = []
        self.failing: int | None = None
        self.token_seconds = 3600
        self.broken_health = False
        self.peers: list[str | None] = []  # identities shown, one a connection
        self.depth = 1234
        self.messages = [_message(number) for number in range(self.count, 0, -1)]
        self.sender = "+4915112345678"
        self.read: dict[int, str | None] = dict.fromkeys(range(1, 31))  # the inbox: items, and when they were read
        self.metadata: dict[str, Any] = {"colour": "<b>red</b>"}
        self.bodies: dict[str, Any] = {
            message_id(self.count): SCRIPT,
            message_id(self.count - 1): {"total": 12, "currency": "EUR"},
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def end_tokens(self) -> None:
        for account in self.accounts.values():
            account.tokens.clear()

    def headers_of(self, path: str) -> dict[str, str]:
        """The headers of the last request to `path`."""
        return next(headers for _, asked, headers in reversed(self.requests) if asked.partition("?")[0] == path)

    def _answer(self, request: falcon.Request, response: falcon.Response) -> None:
        path = request.path
        self.requests.append((request.method, request.relative_uri, {k.lower(): v for k, v in request.headers.items()}))
        if path in ("/health", "/health/ready"):
            if self.broken_health:
                raise _error(503, "not-ready", "a test wants this")
            response.media = {"status": "ok", "role": "main"}
            return
        if self.failing is not None:
            raise _error(self.failing, "broken-on-purpose", "a test wants this")
        if path == "/api/v1/auth/forgotten":
            response.status = 202
            return
        if path == "/api/v1/auth/reset":
            self._reset(request.get_media())
            response.status = 204
            return
        if path == "/api/v1/auth/refresh":
            response.media = self._refresh(request.get_media()["refresh_token"])
            return
        if path == "/api/v1/auth/login":
            response.media = self._log_in(request.get_media())
            return
        account = self._account(request)
        if path == "/api/v1/auth/logout":
            account.tokens.clear()
            response.status = 204
        elif path == "/api/v1/auth/me":
            response.media = {
                "email": account.email, "role": account.role, "permissions": PERMISSIONS[account.role],
                "must_change_password": account.must_change,
            }  # fmt: skip
        elif path == "/api/v1/auth/password":
            response.media = self._change(account, request.get_media())
        elif account.must_change:
            raise _error(403, "password-change-required", "change the one-time password first")
        elif path == "/api/v1/messages":
            response.media = self._list(request)
        elif path == "/api/v1/queue/stats":
            _require(account, "queues.read")
            response.media = {
                "queues": [_queue("critical", 0), _queue("high", 0), _queue("normal", self.depth), _queue("low", 0)]
            }
        elif path.startswith("/api/v1/inbox"):
            _require(account, "inbox.own")
            response.media = self._inbox(request, account, path.removeprefix("/api/v1/inbox").strip("/"))
        elif match := re.fullmatch(r"/api/v1/messages/([0-9a-f-]{36})", path):
            response.media = self._one(account, match[1], body=request.get_param_as_bool("body") or False)
        else:
            raise _error(404, "not-found", "no such path")

    def _token(self, account: Account) -> dict[str, Any]:
        self._tokens += 1
        token = f"secret-token-{self._tokens}-of-{account.email}"
        account.tokens.add(token)
        return {
            "access_token": token, "token_type": "Bearer", "expires_in": self.token_seconds,
            "refresh_token": token.replace("secret", "refresh"), "must_change_password": account.must_change,
        }  # fmt: skip

    def _refresh(self, given: str) -> dict[str, Any]:
        access = given.replace("refresh", "secret")
        account = next((account for account in self.accounts.values() if access in account.tokens), None)
        if account is None or given in account.refreshed:
            raise _error(401, "refresh-invalid", "this session has ended; log in again")
        account.refreshed.add(given)
        return self._token(account)

    def _reset(self, given: dict[str, str]) -> None:
        if given["token"] != "mailed-code":
            raise _error(403, "reset-token-invalid", "this code is not good, or not any more; ask for a new one")
        self.accounts["ada@example.org"].password = given["new_password"]

    def _log_in(self, given: dict[str, str]) -> dict[str, Any]:
        account = self.accounts.get(given["email"])
        if account is None or account.password != given["password"]:
            raise _error(401, "wrong-credentials", "e-mail address or password is wrong")
        if account.code is not None and given.get("code") != account.code:
            name = "wrong-code" if "code" in given else "second-factor-required"
            raise _error(401, name, "send the same again with `code` from your authenticator")
        return self._token(account)

    def _account(self, request: falcon.Request) -> Account:
        token = (request.get_header("Authorization") or "").removeprefix("Bearer ")
        for account in self.accounts.values():
            if token in account.tokens:
                return account
        raise _error(401, "token-invalid", "this token is not valid, or not any more; log in again")

    def _change(self, account: Account, given: dict[str, str]) -> dict[str, Any]:
        if given["current_password"] != account.password:
            raise _error(403, "wrong-password", "the current password is wrong")
        if len(given["new_password"]) < 12:
            raise _error(422, "weak-password", "a password has 12 to 200 characters")
        account.password, account.must_change = given["new_password"], False
        account.tokens.clear()
        return self._token(account)

    def _list(self, request: falcon.Request) -> dict[str, Any]:
        query = {name: values[0] for name, values in parse_qs(request.query_string).items()}
        found = [m for m in self.messages if query.get("status") in (None, m["status"])]
        start = int(query.get("cursor", "0"))
        end = start + int(query.get("limit", "50"))
        return {"items": found[start:end], "next": str(end) if end < len(found) else None}

    def _inbox(self, request: falcon.Request, account: Account, rest: str) -> dict[str, Any]:
        """Item N is message N."""
        unread = [number for number, read_at in self.read.items() if read_at is None]
        if rest == "unread":
            return {"unread": len(unread)}
        if rest == "read-all":
            marked = [number for number in unread if number <= request.get_media()["up_to"]]
            self.read |= dict.fromkeys(marked, START.isoformat())
            return {"marked": len(marked)}
        if rest:
            text, _, act = rest.partition("/")
            number = int(text)
            if number not in self.read:
                raise _error(404, "not-found", "no such item")
            if act:
                self.read[number] = START.isoformat() if act == "read" else None
                return self._item(number)
            return {"item": self._item(number), "message": self._one(account, message_id(number), body=True)}
        query = {name: values[0] for name, values in parse_qs(request.query_string).items()}
        chosen = unread if query.get("unread") == "true" else list(self.read)
        found = sorted((number for number in chosen if number < int(query.get("cursor", "999"))), reverse=True)
        limit = int(query.get("limit", "50"))
        items = [self._item(number) for number in found[:limit]]
        return {"items": items, "next": str(items[-1]["id"]) if len(found) > limit else None}

    def _item(self, number: int) -> dict[str, Any]:
        return {
            "id": number, "created_at": START.isoformat(), "read_at": self.read[number], "subscription_id": 1,
            "subscription": "for people", "message": next(m for m in self.messages if m["message_id"] == message_id(number)),
        }  # fmt: skip

    def _one(self, account: Account, wanted: str, *, body: bool) -> dict[str, Any]:
        found = next((m for m in self.messages if m["message_id"] == wanted), None)
        if found is None:
            raise _error(404, "not-found", "no such message")
        if not body:
            return found
        _require(account, "messages.open", "messages.own")
        self.opened.append(f"{account.email} {wanted}")
        return {**found, "body": self.bodies.get(wanted, "Hello"), "sender": self.sender, "metadata": self.metadata}


def _message(number: int) -> dict[str, Any]:
    at = START + timedelta(seconds=37 * number)
    status = "failed" if number % 10 == 0 else "scheduled" if number % 10 == 1 else "delivered"
    return {
        "message_id": message_id(number), "client_id": "billing", "topic": "invoices.created", "priority": "normal",
        "status": status, "created_at": at.isoformat(), "stored_at": (at + timedelta(milliseconds=40)).isoformat(),
        "due_at": (at + timedelta(days=1)).isoformat() if status == "scheduled" else None, "expires_at": None,
        "routed": 1, "attempts": 1, "size": 200 + number, "correlation_id": None, "traceparent": None, "alias_of": None,
    }  # fmt: skip


def _queue(name: str, messages: int) -> dict[str, Any]:
    oldest = 75.0 if messages else None
    return {"queue": name, "messages": messages, "calls": messages // 500, "running": 0, "oldest_seconds": oldest}


def _require(account: Account, *enough: str) -> None:
    if not set(enough) & set(PERMISSIONS[account.role]):
        raise _error(403, "forbidden", f"the role {account.role} may not do this")


def _error(status: int, name: str, detail: str) -> falcon.HTTPError:
    return falcon.HTTPError(falcon.code_to_http_status(status), title=name, description=detail)


def _problem(request: falcon.Request, response: falcon.Response, error: falcon.HTTPError, params: Any) -> None:
    response.status = error.status
    response.content_type = "application/problem+json"
    kind = f"urn:messagebroker:problem:{error.title}"
    response.data = msgspec.json.encode(
        {"type": kind, "title": error.title, "status": error.status_code, "detail": error.description}
    )


class _Threading(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    context: ssl.SSLContext
    owner: FakeMain

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            secure = self.context.wrap_socket(request, server_side=True)
        except (OSError, ssl.SSLError):
            self.shutdown_request(request)
            return
        names = (secure.getpeercert() or {}).get("subjectAltName", ())
        self.owner.peers.append(next((str(name[1]) for name in names if name[0] == "URI"), None))
        super().process_request_thread(secure, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that goes away is part of the tests


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass
