from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key
from support.certs import Authority

from messagebroker.ops.channels.channel import Target
from messagebroker.ops.channels.webhook_config import WebhookConfig, WebhookSecrets, drawn


def configured(**fields: Any) -> WebhookConfig:
    return msgspec.convert({"url": "https://shop.example/", **fields}, WebhookConfig)


@pytest.mark.parametrize("seconds", [0.9, 61, -1])
def test_a_timeout_has_bounds(seconds: float) -> None:
    with pytest.raises(msgspec.ValidationError, match="timeout"):
        configured(timeout=seconds)


@pytest.mark.parametrize(
    "url", ["ftp://shop.example/", "https://ann:secret@shop.example/", "https:///x", "https://shop.example/#a", "shop.example"]
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="URL"):
        configured(url=url)


@pytest.mark.parametrize(
    "name",
    ["Host", "CONTENT-LENGTH", "Content-Type", "Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade",
     "Proxy-Authorization", "Webhook-Id", "webhook-anything", "Traceparent", "ce-id", "X Y", "X:", "", "X\r\nY"],
)  # fmt: skip
def test_headers_that_are_ours(name: str) -> None:
    for type_, field in ((WebhookConfig, {"url": "https://shop.example/"}), (WebhookSecrets, {})):
        with pytest.raises(msgspec.ValidationError, match="headers"):
            msgspec.convert({**field, "headers": {name: "x"}}, type_)


@pytest.mark.parametrize("headers", [{"X-A": "1\r\nHost: evil"}, {"X-A": "ü"}, {"X-A": "1", "x-a": "2"}])
def test_headers_that_would_not_stay_what_they_are(headers: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError, match="headers"):
        configured(headers=headers)


@pytest.mark.parametrize(
    "name", ["Authorization", "cookie", "X-API-Key", "x-apikey", "X-Auth-Token", "X-Shop-Secret", "Password"]
)
def test_headers_that_hold_secrets_are_for_the_part_that_is_sealed(name: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"secrets\.headers"):
        configured(headers={name: "x"})
    assert name in WebhookSecrets(headers={name: "x"}).headers
    assert configured(headers={"X-Idempotency-Key": "x", "X-Tenant": "x"}).headers


def test_a_secret_without_an_end_is_among_them() -> None:
    """When the last one ends nothing would be signed any more."""
    secret = {"secret": drawn().secret, "until": "2099-01-01T00:00:00Z"}
    with pytest.raises(msgspec.ValidationError, match="no end"):
        msgspec.convert({"signing": [secret]}, WebhookSecrets)
    assert msgspec.convert({"signing": [secret, {"secret": drawn().secret}]}, WebhookSecrets)


def test_secrets_do_not_show_where_somebody_prints_them(tmp_path: Path) -> None:
    one = Authority(tmp_path).client("one")
    secret = "whsec_" + "c" * 32
    made = msgspec.convert(
        {
            "signing": [{"secret": secret}],
            "headers": {"Authorization": "Bearer abc"},
            "client_certificate": one.crt.read_text(),
            "client_key": one.key.read_text(),
        },
        WebhookSecrets,
    )
    shown = repr(Target(id=1, name="shop", config=configured(), secrets=made)) + repr(made) + repr(made.signing)
    assert not any(text in shown for text in (secret, "Bearer", "PRIVATE"))


def test_certificate_and_key_fit_together(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.client("one"), authority.client("other")
    pem, key = one.crt.read_text(), one.key.read_text()
    locked = load_pem_private_key(key.encode(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
    )
    WebhookSecrets(client_certificate=pem, client_key=key)
    assert configured(ca=authority.crt.read_text()).ca
    for certificate, private, words in (
        (pem, other.key.read_text(), "not the key"),
        (pem, locked.decode(), "password"),
        (key, key, "no certificate"),
        (pem, None, "go together"),
    ):
        with pytest.raises(ValueError, match=words):
            WebhookSecrets(client_certificate=certificate, client_key=private)
    with pytest.raises(msgspec.ValidationError, match="ca holds no certificate"):
        configured(ca="-----BEGIN")
