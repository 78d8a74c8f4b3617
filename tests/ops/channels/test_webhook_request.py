from __future__ import annotations

import base64
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier
from support.webhooks import SECRET, SIGNING, work

from messagebroker.http.proxy.cloudevents import binary, structured
from messagebroker.http.proxy.drafts import Draft
from messagebroker.ops import ids
from messagebroker.ops.channels.cloudevent import event
from messagebroker.ops.channels.webhook_config import SigningSecret, WebhookSecrets, completed, drawn
from messagebroker.ops.channels.webhook_request import MASK, continued, native, request, signed
from messagebroker.ops.records import Payload, decode_payload, encode_payload

URL = "https://shop.example/hooks"


def test_the_vector_of_the_specification() -> None:
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', SIGNING, 1614265330.9)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_header_and_signature_are_of_the_same_second() -> None:
    """The last float before a second is nearer to it than the microseconds that times have."""
    headers = signed("m", b"{}", SIGNING, math.nextafter(1_700_000_001.0, 0))
    moment = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    assert headers["webhook-signature"] == Verifier(SECRET).sign("m", moment, "{}")
    assert headers["webhook-timestamp"] == "1700000000"


def test_both_secrets_sign_until_the_old_one_ends() -> None:
    now = datetime.now(UTC)
    new, ending, ended = drawn(), SigningSecret(secret=SECRET, until=now + timedelta(hours=1)), drawn()
    ended = SigningSecret(secret=ended.secret, until=now - timedelta(seconds=1))
    headers = signed("m", b"{}", [new, ending, ended], now.timestamp())
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (new.secret, SECRET):
        Verifier(secret).verify(b"{}", headers)
    with pytest.raises(Exception, match="No matching signature"):
        Verifier(ended.secret).verify(b"{}", headers)


def test_secrets_are_drawn_by_the_specification() -> None:
    secrets = {completed(WebhookSecrets()).signing[0].secret for _ in range(20)}
    assert len(secrets) == 20
    assert all(one.startswith("whsec_") and len(base64.b64decode(one[6:])) == 32 for one in secrets)
    assert completed(WebhookSecrets(signing=SIGNING)).signing == SIGNING


def test_the_native_payload() -> None:
    made = work(URL, correlation_id="c1", payload=Payload("Grüße", "+491", {"deep": {"a": [1, None]}}, "text/plain"))
    assert json.loads(native(made)) == {
        "id": ids.text(made.message_id),
        "topic": "orders.created",
        "client": "acme",
        "priority": "high",
        "created_at": "2026-03-01T12:30:00.123456Z",
        "sender": "+491",
        "body": "Grüße",
        "body_base64": None,
        "content_type": "text/plain",
        "metadata": {"deep": {"a": [1, None]}},
        "correlation_id": "c1",
    }
    of_bytes = json.loads(native(work(URL, payload=Payload(b"\xff\x00"))))
    assert (of_bytes["body"], of_bytes["body_base64"]) == (None, "/wA=")


def test_secret_headers_win_and_are_masked() -> None:
    secrets = WebhookSecrets(signing=SIGNING, headers={"X-Key": "secret"})
    made = request(work(URL, secrets=secrets, headers={"X-Key": "plain", "X-More": "1"}), "shop.example")
    assert (made.headers["X-Key"], made.shown["X-Key"], made.shown["X-More"]) == ("secret", MASK, "1")
    assert made.headers.keys() == made.shown.keys()


def test_a_trace_goes_on_with_spans_of_its_own() -> None:
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    made = {continued(given) for _ in range(5)}
    assert len(made) == 5
    assert {(trace[:36], trace[52:]) for trace in made} == {(given[:36], "-01")}
    fresh = {continued(None) for _ in range(5)}
    assert len({trace[3:35] for trace in fresh}) == 5
    assert all(len(trace) == 55 for trace in made | fresh)


def through_us(draft: Draft) -> Any:
    """What a receiver gets of what a sender sent."""
    payload = Payload(draft.body, draft.sender, draft.metadata, draft.content_type)
    made = work(URL, format="cloudevents", payload=decode_payload(encode_payload(payload)))
    sent = request(made, "shop.example")
    assert sent.headers["Content-Type"] == "application/cloudevents+json"
    return json.loads(sent.body)


@pytest.mark.parametrize(
    "rest",
    [
        {"data": {"big": 12345678901234567890, "price": 1.10}},
        {"data": "text", "datacontenttype": "text/plain"},
        {"data": "a JSON string"},
        {"data_base64": "/wA=", "datacontenttype": "image/png"},
        {"data_base64": "/wA="},
        {},
        {"data": [1], "datacontenttype": "application/vnd.x+json", "dataschema": "urn:x", "subject": "s", "own": True, "n": 7},
        {"priority": "low", "deliverat": "2030-01-01T00:00:00Z", "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"},
    ],
)
def test_an_event_leaves_as_it_came(rest: dict[str, Any]) -> None:
    sent = {"specversion": "1.0", "id": "e1", "source": "/shop", "type": "orders.created", **rest}
    assert through_us(structured(json.dumps(sent).encode())) == sent


def test_an_event_of_the_binary_mode_leaves_structured() -> None:
    names = {"SPECVERSION": "1.0", "ID": "e1", "SOURCE": "/shop", "TYPE": "orders.created", "OWN": "x"}
    environ = {f"HTTP_CE_{name}": value for name, value in names.items()}
    plain = {name.lower(): value for name, value in names.items()}
    typed = {**plain, "datacontenttype": "application/json"}
    assert through_us(binary(environ, b'{"a":1}', "application/json")) == {**typed, "data": {"a": 1}}
    assert through_us(binary(environ, b"no json", "application/json")) == {**typed, "data_base64": "bm8ganNvbg=="}


def test_other_messages_are_events_too() -> None:
    made = work(
        URL,
        correlation_id="c1",
        payload=Payload("text", "Jörg +49", {"ok": 1, "Bad": 2, "id": "x", "deep": [1], "priority": "low"}),
    )
    assert event(made) == {
        "specversion": "1.0",
        "id": ids.text(made.message_id),
        "source": "J%C3%B6rg%20+49",
        "type": "orders.created",
        "time": "2026-03-01T12:30:00.123456Z",
        "priority": "high",
        "correlationid": "c1",
        "ok": 1,
        "metadata": '{"Bad":2,"id":"x","deep":[1],"priority":"low"}',
        "datacontenttype": "text/plain",
        "data": "text",
    }
    assert event(work(URL, payload=Payload("text")))["source"] == "urn:messagebroker:client:acme"
