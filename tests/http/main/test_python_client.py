"""`ApiClient` and `AsyncApiClient` against main's own application, in this process."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from support import dead
from support.cast import PASSWORD, Cast, Shelf
from support.certs import Authority
from support.fake_webhook import FakeWebhook
from support.requests import signing_request
from support.subscribed import attempt, delivery

from messagebroker.client import ApiClient, AsyncApiClient, Caller, Problem
from messagebroker.client.calls import Call
from messagebroker.client.dead_letters import Selection
from messagebroker.client.renewal import OF_COMPONENTS
from messagebroker.db.models import Client, IngestFailure, Subscription
from messagebroker.ops import breaker_events, clock, ids, inbox

NOT_FOR_PEOPLE = {
    ("GET", "/metrics"): "Prometheus reads it",
    ("GET", "/api/v1/metrics"): "Prometheus reads it",
    ("GET", "/openapi.json"): "for programs that make programs",
    ("GET", "/docs"): "a page for browsers",
    **{
        ("POST", f"/api/v1/pull/{{subscription_id}}{verb}"): "clients call it with their certificate, by `PullClient`"
        for verb in ("", "/acknowledge", "/extend", "/return")
    },
    ("POST", "/api/v1/certificates/renew"): "proxies ask it for their clients, which call `MessageBroker.renew_certificate`",
}
HEALTH = {("GET", f"{prefix}/health{end}") for prefix in ("", "/api/v1") for end in ("", "/ready")}
"""`health` takes the path."""


class InProcess(httpx.WSGITransport, httpx.AsyncBaseTransport):
    """The application behind both kinds of client."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        answer = self.handle_request(httpx.Request(request.method, request.url, headers=request.headers, content=content))
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.read())


class Awaited:
    """An async client with its methods called to the end."""

    def __init__(self, client: AsyncApiClient, runner: asyncio.Runner) -> None:
        self._client, self._runner = client, runner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return lambda *args, **kwargs: self._runner.run(method(*args, **kwargs))


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Authority(tmp_path_factory.mktemp("certs")).folder / "ca.crt"


def in_process(kind: str, cast: Cast, ca: Path, runner: asyncio.Runner) -> Any:
    transport = InProcess(app=cast.http.app, remote_addr="192.0.2.7")
    if kind == "sync":
        api = ApiClient("http://main", ca=ca)
        api.http = httpx.Client(transport=transport, base_url="http://main")
        return api
    awaited = AsyncApiClient("http://main", ca=ca)
    awaited.http = httpx.AsyncClient(transport=transport, base_url="http://main")
    return Awaited(awaited, runner)


@pytest.fixture(params=["sync", "async"])
def api(request: pytest.FixtureRequest, cast: Cast, ca: Path) -> Iterator[Any]:
    with asyncio.Runner() as runner:
        yield in_process(request.param, cast, ca, runner)


@pytest.fixture(params=["sync", "async"])
def api_online(request: pytest.FixtureRequest, online: Cast, ca: Path) -> Iterator[Any]:
    with asyncio.Runner() as runner:
        yield in_process(request.param, online, ca, runner)


def as_(cast: Cast, role: str) -> Caller:
    return Caller(token=cast.token(role))


class Asked(ApiClient):
    """Notes the calls and sends none."""

    def __init__(self, ca: Path) -> None:
        super().__init__("http://main", ca=ca)
        self.calls: list[Call[Any]] = []

    def run(self, call: Call[Any]) -> Any:
        self.calls.append(call)


METHODS = [
    name for name in dir(ApiClient) if not name.startswith("_")
    and name not in {"run", "close", "renewed", "renew_component_certificate"}
]  # fmt: skip


def test_every_method_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
    assert [name for name in METHODS if f"`{name}`" not in text] == []


def test_no_endpoint_is_forgotten(cast: Cast, ca: Path) -> None:
    api = Asked(ca)
    for name in METHODS:
        method = getattr(api, name)
        needed = [one for one in inspect.signature(method).parameters.values() if one.default is one.empty]
        named = {
            one.name: Caller() if one.name == "caller" else f"{{{one.name}}}" for one in needed if one.kind != one.VAR_KEYWORD
        }
        method(**named)
    known = {(call.method, unquote(call.path)) for call in api.calls} | {("POST", OF_COMPONENTS)} | HEALTH
    document = cast.get("/openapi.json").json["paths"]
    assert known | NOT_FOR_PEOPLE.keys() == {(method.upper(), path) for path, methods in document.items() for method in methods}
    assert not known & NOT_FOR_PEOPLE.keys()


def test_inbox(api: Any, cast: Cast) -> None:
    me = as_(cast, "user")
    messages = [ids.parse(Shelf(cast.settings).put(f"body {n}")) or b"" for n in range(3)]
    inbox.add(messages, [cast.person("user").id], 1)
    found = api.inbox(me, limit=2)
    assert [item.message.message_id for item in found.items] == [ids.text(one) for one in messages[:0:-1]]
    assert (api.unread_count(me).unread, found.next is not None) == (3, True)
    newest, second = found.items
    opened = api.open_inbox_item(me, newest.id)
    assert (opened.message.body, opened.item.read_at) == ("body 2", None)
    assert api.read_inbox_item(me, newest.id).read_at is not None
    assert [item.id for item in api.inbox(me, unread=True).items] == [second.id, second.id - 1]
    assert api.read_whole_inbox(me, second.id).marked == 2
    assert api.unread_inbox_item(me, newest.id).read_at is None
    assert api.unread_count(me).unread == 1


def test_sessions_and_second_factors(api: Any, cast: Cast) -> None:
    token = api.login("user@example.org", PASSWORD)
    other, me = api.login("user@example.org", PASSWORD), Caller(token=token.access_token)
    assert api.me(me).role == "user"
    found = api.my_sessions(me)
    assert [session.current for session in found.items] == [True, False]
    api.end_my_session(me, found.items[1].id)
    with pytest.raises(Problem, match="not valid"):
        api.me(Caller(token=other.access_token))
    assert api.end_my_other_sessions(me).ended == 0
    assert not api.second_factor(me).active
    assert "otpauth" in api.set_up_second_factor(me, PASSWORD).uri
    admin = as_(cast, "admin")
    [theirs] = api.user_sessions(admin, cast.person("user").id).items
    api.end_user_session(admin, cast.person("user").id, theirs.id)
    assert api.end_user_sessions(admin, cast.person("user").id).ended == 0


def test_users(api: Any, cast: Cast) -> None:
    admin = as_(cast, "admin")
    made = api.create_user(admin, "ada@example.org", "operator")
    assert made.one_time_password not in repr(made)
    found = api.user(admin, made.user.id)
    assert (found.email, found.role) == ("ada@example.org", "operator")
    changed = api.change_user(admin, found.id, disabled=True, if_match=found.etag)
    assert changed.disabled_at is not None
    assert changed.role == "operator", "what is left out stays"
    with pytest.raises(Problem) as caught:
        api.change_user(admin, found.id, role="user", if_match=found.etag)
    assert (caught.value.status, caught.value.name) == (412, "changed-meanwhile")
    assert api.reset_user_password(admin, found.id).one_time_password != made.one_time_password
    api.remove_user_second_factor(admin, found.id)
    assert [user.id for user in api.users(admin, email="ada@example.org").items] == [found.id]
    first = api.users(admin, limit=3)
    assert len(first.items) + len(api.users(admin, cursor=first.next).items) == 5


def test_groups(api: Any, cast: Cast) -> None:
    admin = as_(cast, "admin")
    made = api.create_group(admin, "7b", "a class")
    changed = api.change_group(admin, made.id, manager="user@example.org", topics=["orders"], if_match=made.etag)
    assert (changed.description, changed.manager, changed.topics) == ("a class", "user@example.org", ["orders"])
    member = api.add_group_member(admin, made.id, "operator@example.org")
    assert api.group_members(admin, made.id).items == [member]
    assert [group.members for group in api.groups(as_(cast, "operator")).items] == [1]
    api.remove_group_member(admin, made.id, member.id)
    assert api.change_group(admin, made.id, manager=None).manager is None
    api.delete_group(admin, made.id)
    with pytest.raises(Problem) as caught:
        api.group(admin, made.id)
    assert caught.value.status == 404


def test_topics(api: Any, cast: Cast) -> None:
    admin, user = as_(cast, "admin"), as_(cast, "user")
    made = api.create_topic(admin, "orders/eu", schema={"type": "object"}, must_route=True)
    assert (made.schema, made.must_route, made.policy_number) == ({"type": "object"}, True, None)
    changed = api.change_topic(admin, "orders/eu", schema=None, deprecated=True, if_match=made.etag)
    assert (changed.schema, changed.has_schema, changed.must_route) == (None, False, True)
    assert api.topic(user, "orders/eu").deprecated_at == changed.deprecated_at is not None
    with pytest.raises(Problem) as caught:
        api.remove_topic(admin, "orders/eu", if_match=made.etag)
    assert caught.value.name == "changed-meanwhile"
    assert [topic.name for topic in api.topics(user).items] == ["orders/eu"]
    api.remove_topic(admin, "orders/eu", if_match=changed.etag)
    assert api.topics(user).items == []


def test_clients_and_certificates(api_online: Any, online: Cast) -> None:
    api, admin = api_online, as_(online, "admin")
    made = api.register_client(admin, "till-7", owner="user@example.org", rate=5)
    changed = api.change_client(admin, "till-7", rate=None, if_match=made.etag)
    assert (changed.owner, changed.rate) == ("user@example.org", None)
    assert api.disable_client(admin, "till-7").disabled_at is not None
    assert api.enable_client(admin, "till-7").policy_number > (made.policy_number or 0)
    assert [client.name for client in api.clients(admin, owner="user@example.org").items] == ["till-7"]
    issued = api.issue_certificate(admin, "till-7", signing_request().decode(), 10)
    renewed = api.renew_certificate(admin, issued.serial, signing_request().decode())
    bundle = api.issue_bundle(admin, "till-7")
    assert "PRIVATE KEY" in bundle.private_key
    assert "PRIVATE KEY" not in repr(bundle)
    assert issued.ca == api.ca_certificate()
    soon = api.certificates(admin, ends_before=clock.now() + timedelta(days=11))
    assert [(one.serial, one.status) for one in soon.items if one.name == "till-7"] == [(issued.serial, "valid")]
    assert api.revoke_certificate(admin, issued.serial, "lost").serials == [issued.serial]
    assert api.certificate(admin, issued.serial).revoked_reason == "lost"
    assert set(api.revoke_client(admin, "till-7").serials) >= {renewed.serial, bundle.serial}
    assert "X509 CRL" in api.revocation_list()
    assert api.client(admin, "till-7").certificate_ends is None


def test_messages(api: Any, cast: Cast, shelf: Shelf) -> None:
    operator, now = as_(cast, "operator"), clock.now()
    Client.insert(name="owner", owner="user@example.org", created_at=now).execute()
    stored = shelf.put("hello", correlation_id="order 1")
    waiting = shelf.put("later", status="scheduled", due_at=now + timedelta(days=1))
    assert [one.message_id for one in api.messages(operator, correlation_id="order 1").items] == [stored]
    assert api.messages(operator, since=now + timedelta(days=1)).items == []
    assert api.message(operator, stored).body is None
    assert api.message(operator, stored, body=True).body == "hello"
    assert api.open_message(as_(cast, "user"), stored).sender == "+491511"
    assert api.cancel_message(operator, waiting).status == "cancelled"
    assert api.message_counts(operator, "owner", since=now - timedelta(hours=2)).stored == 2


def test_failures(api: Any, cast: Cast) -> None:
    operator = as_(cast, "operator")
    IngestFailure.insert(
        id=ids.new(), client_id="till-7", accepted_at=clock.now(), failed_at=clock.now(), error="too long", record=b"?"
    ).execute()
    [found] = api.failures(operator, oldest_first=True).items
    assert api.failure(operator, found.message_id) == found
    with pytest.raises(Problem) as caught:
        api.retry_failure(operator, found.message_id)
    assert caught.value.name == "still-refused"


def test_breakers(api_online: Any, online: Cast) -> None:
    api, operator, now = api_online, as_(online, "operator"), clock.now()
    row = {"name": "orders", "channel": "webhook", "topics": "[]", "config": "{}", "created_at": now, "changed_at": now}
    number = Subscription.insert(row).execute()
    breaker_events.change(number, "open", "HTTP 503")
    assert [(one.subscription_id, one.name) for one in api.breakers(operator, state="open").items] == [(number, "orders")]
    assert api.status(operator).open_breakers == 1
    assert api.reset_breaker(operator, number).state == "closed"
    assert [one.state for one in api.breaker_events(operator, subscription_id=number).items] == ["closed", "open"]
    assert len(api.breaker_events(operator, limit=1).items) == 1


def test_dead_letters(api: Any, cast: Cast) -> None:
    operator = as_(cast, "operator")
    number = dead.subscription("shop")
    messages = dead.fail(3, number)
    chosen = Selection(subscription_id=number)
    assert [(group.subscription, group.count) for group in api.dead_letter_groups(operator).items] == [("shop", 3)]
    assert len(api.dead_letters(operator, subscription_id=number).items) == 3
    assert api.preview_dead_letters(operator, chosen).count == 3
    move = api.retry_dead_letters(operator, chosen, rate=5, reason="up again")
    assert (move.total, move.rate, move.selection) == (3, 5, {"subscription_id": number})
    undone = api.undo_dead_letter_move(operator, move.id)
    assert (undone.count, undone.not_moved) == (0, 3)
    purge = api.purge_dead_letters(operator, Selection(all=True), confirm=3, reason="closed")
    assert [one.id for one in api.dead_letter_moves(operator).items] == [purge.id, move.id]
    assert api.dead_letter_move(operator, purge.id).state == "running"
    found = api.message_timeline(operator, ids.text(messages[0]))
    assert [event.kind for event in found.events] == ["accepted", "stored", "routed", "failed"]
    assert (found.message.message_id, found.deliveries[0].status) == (ids.text(messages[0]), "failed")


def test_announcements(api: Any, cast: Cast) -> None:
    operator, now = as_(cast, "operator"), clock.now()
    made = api.announce(operator, "back at 9", now + timedelta(hours=1), severity="warning")
    api.announce(operator, "tomorrow", now + timedelta(days=2), starts_at=now + timedelta(days=1))
    changed = api.change_announcement(operator, made.id, text="back at 10", if_match=made.etag)
    assert [one.text for one in api.announcements(as_(cast, "user")).items] == ["back at 10"]
    assert len(api.announcements(operator, also_others=True).items) == 2
    api.remove_announcement(operator, made.id, if_match=changed.etag)
    with pytest.raises(Problem) as caught:
        api.announcement(operator, made.id)
    assert caught.value.status == 404


def test_the_system_and_its_log(api: Any, cast: Cast) -> None:
    admin = as_(cast, "admin")
    assert {setting.value for setting in api.settings(admin).items if setting.secret} == {None}
    found = api.status(admin)
    assert found.redis_problem
    assert {role.role for role in found.roles} >= {"main", "worker"}
    assert api.health()["status"] == "ok"
    api.announce(admin, "x", clock.now() + timedelta(days=1))
    [entry] = api.audit(admin, action="announcement.create").items
    assert entry.actor == "user:admin@example.org"
    rows = api.export_audit(admin, "jsonl", action="announcement.create").decode().splitlines()
    assert len(rows) == 1
    assert re.search(r'"action":"announcement.create"', rows[0])


def test_queues_and_workers(api_online: Any, online: Cast) -> None:
    api, operator = api_online, as_(online, "operator")
    assert api.pause_queue(operator, "low", reason="why").changed
    states = {queue.queue: queue for queue in api.queue_stats(operator).queues}
    assert states["low"].paused.reason == "why"
    assert states["high"].paused is None
    assert api.queue_stats(operator).redis.commands > 0
    assert [channel.channel for channel in api.queue_stats(operator).channels] == ["webhook", "email", "inbox", "pull"]
    assert api.resume_queue(operator, "low").paused is None
    assert api.peek_queue(operator, "low", limit=5).items == []
    assert api.drain_queue(operator, "low", seconds=0).drained
    before = api.preview_purge_queue(operator, "low").before
    assert api.purge_queue(operator, "low", "low", "why", before=before).cancelled == 0
    assert api.reset_stuck(operator, older_than=600, dry_run=True).messages == 0
    assert api.workers(operator).items == []
    assert api.scale_workers(operator, threads=3).threads.value == 3
    assert api.scale_workers(operator, deliveries=9).threads.value == 3, "what is left out stays"
    assert api.scale_workers(operator, threads=None).threads is None
    assert api.concurrency(operator).deliveries.value == 9


def test_subscriptions_and_webhooks(api: Any, cast: Cast, shelf: Shelf, fake_webhook: type[FakeWebhook]) -> None:
    admin, url = as_(cast, "admin"), "https://shop.example.org/hooks"
    made = api.subscribe(admin, "shop", "webhook", ["orders*"], config={"url": url}, owner="user@example.org")
    assert made.signing_secret.startswith("whsec_")
    changed = api.change_subscription(admin, made.id, config={"timeout": 20}, owner=None, if_match=made.etag)
    assert (changed.config["url"], changed.config["timeout"], changed.owner) == (url, 20, None)
    assert api.subscription(admin, made.id).etag == changed.etag
    assert [one.id for one in api.subscriptions(admin, channel="webhook").items] == [made.id]
    assert api.disable_subscription(admin, made.id, "resting").disabled_why == "resting"
    assert api.enable_subscription(admin, made.id).disabled_at is None
    message = delivery(shelf, made.id)
    attempt(message, made.id, "retry")
    assert [one.id for one in api.webhooks(admin).items] == [made.id]
    assert api.webhook(admin, made.id).failed == 1
    [entry] = api.webhook_logs(admin, made.id, outcome="retry", answers=True).items
    assert (entry.message_id, entry.code) == (message, 503)
    if isinstance(api, ApiClient):  # main has no event loop around a request, as this process has for the other client
        assert api.test_webhook(admin, made.id).delivered
    since = clock.now() - timedelta(hours=1)
    assert api.recover_webhook(admin, made.id, since, dry_run=True).found == 1
    assert api.recover_webhook(admin, made.id, since, rate=10).recovered == 1
    shelf.put(topic="orders")
    counted = api.replay_subscription(admin, made.id, since, dry_run=True)
    assert (counted.found, counted.replayed, counted.next_since) == (1, 0, None)
    assert api.replay_subscription(admin, made.id, since, rate=10).replayed == 1
    assert api.resend_webhook(admin, made.id, message).message_id == message
    assert api.rotate_webhook_secret(admin, made.id).signing_secret != made.signing_secret
    api.allow_network(admin, "10.1.0.0/16", "the warehouse")
    assert [one.network for one in api.allowed_networks(admin).items] == ["10.1.0.0/16"]
    api.disallow_network(admin, "10.1.0.0/16", "moved out")
    api.remove_subscription(admin, made.id)
    with pytest.raises(Problem) as caught:
        api.subscription(admin, made.id)
    assert caught.value.status == 404
