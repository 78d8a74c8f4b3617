from __future__ import annotations

import asyncio
import re
from typing import Any

from messagebroker.ui.headers import SecurityHeaders, policy


def answered(
    host: str, body: list[bytes], kind: bytes = b"text/html; charset=utf-8", path: str = "/"
) -> tuple[dict[str, str], bytes]:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind), (b"content-length", b"1")]}
        )
        for number, part in enumerate(body):
            await send({"type": "http.response.body", "body": part, "more_body": number < len(body) - 1})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": path, "headers": [(b"host", host.encode())]}
    asyncio.run(SecurityHeaders(application)(scope, None, send))  # type: ignore[arg-type]
    return {k.decode(): v.decode() for k, v in sent[0]["headers"]}, b"".join(message.get("body", b"") for message in sent[1:])


def test_every_script_and_nothing_else_gets_the_nonce_of_this_answer() -> None:
    page = [b"<scr", b'ipt src="a"></script><script>x</script><scripted>&lt;script&gt;']
    headers, body = answered("broker.example.org", page)
    nonce = re.search(r"'nonce-([\w-]{22})'", headers["content-security-policy"])
    assert nonce
    stamp = f'<script nonce="{nonce[1]}"'
    assert body.decode() == f'{stamp} src="a"></script>{stamp}>x</script><scripted>&lt;script&gt;'
    assert headers["content-length"] == str(len(body))
    assert answered("broker.example.org", page)[0]["content-security-policy"] != headers["content-security-policy"]


def test_the_policy_is_closed_but_for_what_is_named() -> None:
    headers, _ = answered("broker.example.org", [b""])
    rules = dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert rules["form-action"] == "'self'"
    assert rules["connect-src"] == "'self' wss://broker.example.org"
    assert "'unsafe-inline'" not in rules["script-src"]
    assert "http" not in headers["content-security-policy"]


def test_a_host_that_is_none_does_not_get_into_the_policy() -> None:
    assert "evil" not in answered("evil; script-src *", [b""])[0]["content-security-policy"]
    assert "example" not in policy("nonce", "example.org\n")


def test_the_other_headers() -> None:
    headers, body = answered("broker.example.org", [b"<script>"], b"application/json")
    assert body == b"<script>"
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


def test_localhost_is_not_forced_to_https_for_every_other_program() -> None:
    for host in ("localhost:5000", "127.0.0.1", "[::1]:5000"):
        assert "strict-transport-security" not in answered(host, [b""])[0]
    assert "strict-transport-security" in answered("localhost.example.org", [b""])[0]


def test_assets_may_be_kept() -> None:
    assert "cache-control" not in answered("broker.example.org", [b""], b"text/css", "/static/portal.css")[0]
