"""/api/v1/certificates and the renewals: who gets a certificate for whom, and who does not."""

from __future__ import annotations

import json
import logging
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import peewee as pw
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from support.cast import Cast, assert_problem, audited
from support.pki import published
from support.plans import explain
from support.requests import signing_request, with_broken_signature

from messagebroker.db.models import AuditEntry, Certificate, Client, Group, GroupMember
from messagebroker.ops import certificate_orders, certificates, clock, pki, registry
from messagebroker.ops.ca_folder import CaFolder
from messagebroker.ops.identity import Peer, peer_of_certificate
from messagebroker.settings import load

PATH, RENEW, COMPONENT = "/api/v1/certificates", "/api/v1/certificates/renew", "/api/v1/components/certificate"
OWNER = "user@example.org"


@pytest.fixture
def acme(online: Cast) -> Cast:
    """With a client `acme` that the user owns, and `other` that nobody owns."""
    Client.insert(name="acme", owner=OWNER, created_at=clock.now()).execute()
    Client.insert(name="other", created_at=clock.now()).execute()
    return online


def csr(key: Any = None, **more: Any) -> str:
    return signing_request(key, **more).decode()


def order(cast: Cast, role: str = "admin", *, name: str = "acme", request: str | None = None, **more: Any) -> Any:
    return cast.post(PATH, role, json={"name": name, "csr": request or csr(), **more})


def issued(cast: Cast, **more: Any) -> dict[str, Any]:
    answer = order(cast, **more)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json
    return found


def renewal(cast: Cast, *, client: str = "acme", serial: str, request: str | None = None, peer: str = "proxy") -> Any:
    return cast.call("POST", RENEW, peer=peer, json={"client": client, "serial": serial, "csr": request or csr()})


def present(cast: Cast, name: str, pem: str) -> None:
    """The peer called `name` shows this certificate from now on."""
    cast.peers[name] = peer_of_certificate(pki.load_certificate(pem.encode()))


def ended_certificate(cast: Cast) -> str:
    """The serial of one that acme was given for a day, three days ago."""
    then = clock.now() - timedelta(days=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: then)
        serial = certificates.issue(cast.settings, "acme", days=1).issued.serial
    certificates.register_issued(cast.settings)
    return serial


# issuing


def test_a_certificate_for_a_request_is_the_clients_and_nothing_more(acme: Cast) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    wanted = csr(key, name="main", uri="urn:messagebroker:component:main", ca=True)
    answer = order(acme, request=wanted, days=30)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    certificate = pki.load_certificate(answer.json["certificate"].encode())
    pki.check_signed_by(pki.load_certificate(answer.json["ca"].encode()), certificate)
    peer = peer_of_certificate(certificate)
    assert (peer.kind, peer.name, peer.serial) == ("client", "acme", answer.json["serial"])
    assert pki.has_key(answer.json["certificate"].encode(), key.public_key())
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    shown = acme.get(answer.headers["location"], "operator").json
    assert (shown["status"], shown["domains"], shown["certificate"]) == ("valid", [], answer.json["certificate"])
    [entry] = audited("certificate.issue")
    assert (entry.actor, entry.object_id) == ("user:admin@example.org", peer.serial)
    assert json.loads(entry.details)["holder"] == "client:acme"


@pytest.mark.parametrize(
    "request_pem",
    [
        "x",
        with_broken_signature(signing_request()).decode(),
        signing_request(rsa.generate_private_key(65537, 1024)).decode(),
        signing_request(ec.generate_private_key(ec.SECP256K1())).decode(),
    ],
    ids=["noise", "broken signature", "RSA 1024", "secp256k1"],
)
def test_requests_that_will_not_do_are_named(acme: Cast, request_pem: str) -> None:
    serial = issued(acme)["serial"]
    before = Certificate.select().count()
    for answer in (
        order(acme, request=request_pem),
        acme.post(f"{PATH}/{serial}/renew", "admin", json={"csr": request_pem}),
        renewal(acme, serial=serial, request=request_pem),
    ):
        assert assert_problem(answer, 422, "invalid-field")["field"] == "csr"
    assert Certificate.select().count() == before


@pytest.mark.parametrize(
    "document",
    [
        {"name": "acme"}, {"name": "acme", "csr": "x", "kind": "component"}, {"name": "acme", "csr": "x", "domains": ["a"]},
        {"name": "acme", "csr": "x", "days": 0}, {"name": "acme", "csr": "x", "days": 366}, {"name": "A", "csr": "x"},
        {"name": "acme", "csr": "x" * 20_000},
    ],
)  # fmt: skip
def test_orders_that_ask_for_more_are_refused(acme: Cast, document: dict[str, Any]) -> None:
    assert_problem(acme.post(PATH, "admin", json=document), 422, "invalid-field")
    assert Certificate.select().count() == 0


@pytest.mark.parametrize("name", ["absent", "proxy", "main", "policy"])
def test_who_is_no_registered_client_gets_nothing(acme: Cast, name: str) -> None:
    assert_problem(order(acme, name=name), 404, "not-found")
    assert_problem(acme.post(PATH + "/bundle", "admin", json={"name": name}), 404, "not-found")


def test_a_bundle_shows_its_key_once_and_nobody_keeps_it(acme: Cast, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = acme.post(PATH + "/bundle", "admin", json={"name": "acme", "days": 10})
    assert answer.status_code == 201
    key = load_pem_private_key(answer.json["private_key"].encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert pki.has_key(answer.json["certificate"].encode(), key.public_key())
    secret = "".join(answer.json["private_key"].splitlines()[1:-1])[20:80]
    assert secret not in caplog.text.replace("\n", "")
    assert "private_key" not in acme.get(answer.headers["location"], "admin").json
    stored = [row.details or "" for row in AuditEntry.select()] + [row.pem for row in Certificate.select()]
    assert all(secret not in text.replace("\n", "") and "PRIVATE" not in text for text in stored)
    holders = [path for path in tmp_path.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    for path in holders:
        assert secret not in path.read_text(encoding="ascii").replace("\n", ""), path
    [entry] = audited("certificate.issue")
    assert json.loads(entry.details)["key_made_here"] is True


def test_a_disabled_client_gets_none(acme: Cast) -> None:
    serial = issued(acme)["serial"]
    Client.update(disabled_at=clock.now()).where(Client.name == "acme").execute()
    assert_problem(order(acme), 409, "conflict")
    assert_problem(acme.post(PATH + "/bundle", "admin", json={"name": "acme"}), 409, "conflict")
    assert_problem(acme.post(f"{PATH}/{serial}/renew", "admin", json={"csr": csr()}), 409, "conflict")
    assert_problem(renewal(acme, serial=serial), 403, "renewal-refused")


# owners


def test_owners_order_for_their_own_clients_only(acme: Cast) -> None:
    mine = issued(acme, role="user")
    assert acme.post(f"{PATH}/{mine['serial']}/renew", "user", json={"csr": csr()}).status_code == 201
    assert acme.post(PATH + "/bundle", "user", json={"name": "acme"}).status_code == 201
    theirs = issued(acme, name="other")
    assert_problem(order(acme, "user", name="other"), 404, "not-found")
    assert_problem(acme.post(f"{PATH}/{theirs['serial']}/renew", "user", json={"csr": csr()}), 404, "not-found")
    absent, others = acme.get(f"{PATH}/{'f' * 30}", "user"), acme.get(f"{PATH}/{theirs['serial']}", "user")
    assert_problem(others, 404, "not-found")
    assert others.json["detail"].replace(theirs["serial"], "f" * 30) == absent.json["detail"]
    assert_problem(order(acme, "user_manager"), 404, "not-found")
    for path in (f"{PATH}/{mine['serial']}/revoke", "/api/v1/clients/acme/revoke"):
        assert_problem(acme.post(path, "user", json={}), 403, "forbidden")


def test_a_member_of_the_clients_group_reads_and_does_not_order(acme: Cast) -> None:
    group = Group.create(name="7b", created_at=clock.now())
    Client.update(group=group.id).where(Client.name == "other").execute()
    GroupMember.insert(group=group.id, user=acme.person("user").id, added_at=clock.now()).execute()
    serial = issued(acme, name="other")["serial"]
    assert acme.get(f"{PATH}/{serial}", "user").status_code == 200
    assert acme.get(PATH, "user", params={"name": "other"}).json["items"][0]["serial"] == serial
    assert_problem(order(acme, "user", name="other"), 403, "refused")
    assert_problem(acme.post(f"{PATH}/{serial}/renew", "user", json={"csr": csr()}), 403, "refused")


def test_an_owner_does_not_bring_a_revoked_client_back_and_an_admin_does(acme: Cast) -> None:
    serial = issued(acme)["serial"]
    assert acme.post(f"{PATH}/{serial}/revoke", "admin", json={}).status_code == 200
    assert_problem(order(acme, "user"), 409, "conflict")
    assert_problem(acme.post(f"{PATH}/{serial}/renew", "user", json={"csr": csr()}), 409, "conflict")
    assert_problem(acme.post(f"{PATH}/{serial}/renew", "admin", json={"csr": csr()}), 409, "conflict")
    assert order(acme, "admin").status_code == 201
    assert order(acme, "user").status_code == 201, "trusted again"


def test_a_certificate_that_has_ended_does_not_bring_a_revoked_client_back(acme: Cast) -> None:
    ended, current = ended_certificate(acme), issued(acme)["serial"]
    assert acme.post("/api/v1/clients/acme/revoke", "admin", json={}).json["serials"] == [current]
    request = {"csr": csr()}
    for answer in (
        order(acme, "user"),
        acme.post(PATH + "/bundle", "user", json={"name": "acme"}),
        acme.post(f"{PATH}/{ended}/renew", "user", json=request),
        acme.post(f"{PATH}/{current}/renew", "user", json=request),
    ):
        assert_problem(answer, 409, "conflict")
    assert acme.post(f"{PATH}/{ended}/renew", "admin", json=request).status_code == 201
    assert order(acme, "user").status_code == 201


def test_an_owner_brings_a_client_back_whose_certificates_only_ended(acme: Cast) -> None:
    serial = ended_certificate(acme)
    assert acme.post(f"{PATH}/{serial}/renew", "user", json={"csr": csr()}).status_code == 201
    assert order(acme, "user").status_code == 201


def test_a_loop_somewhere_does_not_fill_the_ca(acme: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate_orders, "MOST_A_DAY", 3)
    serials = [issued(acme, role="user")["serial"] for _ in range(3)]
    for answer in (order(acme, "user"), renewal(acme, serial=serials[0])):
        assert_problem(answer, 429, "too-many-certificates")
        assert answer.headers["retry-after"]
    assert order(acme, "admin").status_code == 201, "who manages certificates may"


# reading


def test_lists_page_by_serial_by_holder_and_by_end(acme: Cast) -> None:
    made = [issued(acme, name=name, days=days) for name, days in (("acme", 5), ("other", 300), ("acme", 40), ("acme", 20))]

    def walk(**query: str) -> list[str]:
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = acme.get(PATH, "operator", params={"limit": 1, **query, **cursor}).json
            found += [one["serial"] for one in page["items"]]
            if page["next"] is None:
                return found
            cursor = {"cursor": page["next"]}

    assert walk() == sorted(one["serial"] for one in made)
    assert walk(name="acme") == sorted(one["serial"] for one in made if one["name"] == "acme")
    now = clock.now()
    soon = walk(ends_after=now.isoformat(), ends_before=(now + timedelta(days=60)).isoformat())
    assert soon == [made[index]["serial"] for index in (0, 3, 2)]
    assert_problem(
        acme.get(PATH, "operator", params={"name": "acme", "ends_after": now.isoformat()}), 400, "filter-not-indexed"
    )
    for bad in ({"cursor": "AAAA"}, {"ends_after": "2026"}, {"ends_after": now.isoformat(), "cursor": "bmFi"}, {"kind": "x"}):
        assert_problem(acme.get(PATH, "operator", params=bad), 400, "invalid-parameter")
    assert_problem(acme.get(PATH, "user"), 400, "invalid-parameter")
    assert_problem(acme.get(PATH, "user", params={"name": "other"}), 404, "not-found")
    assert len(acme.get(PATH, "user", params={"name": "acme"}).json["items"]) == 3


@pytest.mark.parametrize("database", ["mariadb", "mysql"], indirect=True)
@pytest.mark.parametrize("filtered", ["serial", "name", "end"])
def test_every_filter_is_one_range_of_an_index(cast: Cast, database: pw.Database, filtered: str) -> None:
    now = clock.now()
    rows = [
        {
            "serial": f"{n:040x}", "name": f"c{n % 200}", "kind": "client", "pem": "x" * 700, "not_before": now,
            "not_after": now + timedelta(hours=n),
        }
        for n in range(3000)
    ]  # fmt: skip
    Certificate.insert_many(rows).execute()
    database.execute_sql("ANALYZE TABLE certificates").fetchall()
    asked: list[tuple[str, Any]] = []
    original = database.execute_sql
    query = {"serial": {}, "name": {"name": "c7"}, "end": {"ends_before": (now + timedelta(hours=40)).isoformat()}}[filtered]
    cursor: dict[str, str] = {}
    for _ in range(2):  # also from the middle
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                database,
                "execute_sql",
                lambda sql, params=None, *a, **k: asked.append((sql, params)) or original(sql, params, *a, **k),
            )
            page = cast.get(PATH, "operator", params={"limit": 5, **query, **cursor}).json
        cursor = {"cursor": page["next"]}
        [(statement, values)] = [(sql, params) for sql, params in asked if "`certificates`" in sql and "LIMIT" in sql]
        asked.clear()
        found = original(f"{explain()} {statement}", values)
        [plan] = [dict(zip([column[0] for column in found.description], row, strict=True)) for row in found.fetchall()]
        assert plan["key"], plan
        assert "filesort" not in (plan["Extra"] or ""), plan


# revoking


def test_a_revocation_is_published_before_the_answer(acme: Cast) -> None:
    first, second, other = issued(acme), issued(acme), issued(acme, name="other")
    answer = acme.post(f"{PATH}/{first['serial']}/revoke", "admin", json={"reason": "laptop lost"})
    assert answer.status_code == 200, answer.text
    policy = published(acme.settings)
    assert (policy.number, policy.revoked) == (answer.json["policy_number"], {first["serial"]})
    assert CaFolder(acme.settings).revoked() == {first["serial"]}, "also when an older database comes back"
    [entry] = audited("certificate.revoke")
    assert json.loads(entry.details) == {"holder": "client:acme", "reason": "laptop lost"}
    assert acme.get(f"{PATH}/{first['serial']}", "operator").json["revoked_reason"] == "laptop lost"
    answer = acme.post("/api/v1/clients/acme/revoke", "admin", json={})
    assert set(answer.json["serials"]) == {first["serial"], second["serial"]}
    assert published(acme.settings).revoked == {first["serial"], second["serial"]}
    assert_problem(acme.post(f"{PATH}/abc/revoke", "admin", json={}), 404, "not-found")
    for name in ("absent", "%C2%84"):
        assert_problem(acme.post(f"/api/v1/clients/{name}/revoke", "admin", json={}), 404, "not-found")
    assert acme.get(f"{PATH}/{other['serial']}", "operator").json["status"] == "valid"


@pytest.mark.parametrize("moment", ["before", "during"])
def test_no_renewal_escapes_a_revocation_at_the_same_moment(acme: Cast, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Whoever stole a key renews while an administrator revokes everything."""
    first = issued(acme)
    revoke = threading.Thread(target=lambda: acme.post("/api/v1/clients/acme/revoke", "admin", json={}))
    hooked = "_made" if moment == "before" else "sign_request"
    real = getattr(certificate_orders, hooked)

    def overtaken(*args: Any, **more: Any) -> Any:
        revoke.start()
        revoke.join(20 if moment == "before" else 0.5)  # in between it has to wait
        return real(*args, **more)

    monkeypatch.setattr(certificate_orders, hooked, overtaken)
    answer = renewal(acme, serial=first["serial"])
    revoke.join(20)
    assert answer.status_code == (403 if moment == "before" else 201)
    assert {one.status for one in registry.certificates_of("client", "acme")} == {"revoked"}


@pytest.mark.parametrize("odd", ["%C2%84", "%F0%9F%92%A9", "a%00", "A", "x" * 400, "%27%20OR%201=1"])
def test_odd_names_and_serials_are_not_found(acme: Cast, odd: str) -> None:
    for path in (f"{PATH}/{odd}", f"/api/v1/clients/{odd}"):
        assert acme.get(path, "admin").status_code == 404
        assert acme.post(f"{path}/revoke", "admin", json={"reason": ""}).status_code == 404
    assert acme.post(f"{PATH}/{odd}/renew", "admin", json={"csr": csr()}).status_code == 404
    assert acme.post(f"/api/v1/clients/{odd}/disable", "admin").status_code == 404
    assert acme.call("PATCH", f"/api/v1/clients/{odd}", token=acme.token("admin"), json={}).status_code == 404


def test_without_redis_a_revocation_is_kept_and_the_answer_says_what_was_done(acme: Cast) -> None:
    serial = issued(acme)["serial"]
    resource, *_ = acme.http.app._router.find(f"{PATH}/{serial}/revoke")
    resource._settings = load({}, data_dir=acme.settings.data_dir, environment="test", redis_port=1)
    answer = acme.post(f"{PATH}/{serial}/revoke", "admin", json={"reason": "stolen"})
    document = assert_problem(answer, 503, "revoked-not-published")
    assert document["serials"] == [serial]
    assert "revoked for good" in document["detail"]
    assert Certificate.get_by_id(serial).revoked_reason == "stolen"
    assert len(audited("certificate.revoke")) == 1


# renewals through a proxy


def test_a_client_renews_its_own_certificate_through_a_proxy(acme: Cast) -> None:
    old = issued(acme, days=40)
    answer = renewal(acme, serial=old["serial"], request=csr(name="other", uri="urn:messagebroker:client:other"))
    assert answer.status_code == 201, answer.text
    peer = peer_of_certificate(pki.load_certificate(answer.json["certificate"].encode()))
    assert (peer.kind, peer.name) == ("client", "acme")
    assert (peer.not_after - peer.not_before).days == 40, "as long as the operator meant it to be"
    assert Certificate.get_by_id(old["serial"]).revoked_at is None, "the old one stays valid until its end"
    [entry] = audited("certificate.renew")
    assert (entry.actor, entry.object_id) == ("client:acme", answer.json["serial"])


def test_an_answer_that_was_lost_can_be_asked_for_again(acme: Cast) -> None:
    old, request = issued(acme), csr()
    first, second = renewal(acme, serial=old["serial"], request=request), renewal(acme, serial=old["serial"], request=request)
    assert first.json == second.json
    assert len(audited("certificate.renew")) == 1


def test_who_may_not_send_renews_nothing(acme: Cast) -> None:
    mine, theirs = issued(acme), issued(acme, name="other")
    for client, serial in (("acme", theirs["serial"]), ("other", mine["serial"]), ("acme", "abc"), ("absent", mine["serial"])):
        assert_problem(renewal(acme, client=client, serial=serial), 403, "renewal-refused")
    acme.post(f"{PATH}/{mine['serial']}/revoke", "admin", json={})
    assert_problem(renewal(acme, serial=mine["serial"]), 403, "renewal-refused")
    Certificate.update(revoked_at=None).execute()  # an older database came back; the CA's folder remembers
    assert_problem(renewal(acme, serial=mine["serial"]), 403, "renewal-refused")
    assert audited("certificate.renew") == []


def test_a_certificate_that_has_ended_renews_nothing(acme: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    serial = issued(acme, days=1)["serial"]
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(days=1))
    assert_problem(renewal(acme, serial=serial), 403, "renewal-refused")


@pytest.mark.parametrize("peer", ["portal", "worker", "monitoring", "owner", "revoked"])
def test_only_proxies_renew_for_clients(acme: Cast, peer: str) -> None:
    serial = issued(acme)["serial"]
    assert renewal(acme, serial=serial, peer=peer).status_code in (401, 403)
    body = {"client": "acme", "serial": serial, "csr": csr()}
    assert_problem(acme.post(RENEW, "admin", json=body), 403, "forbidden")


# components


def component(cast: Cast, role: str) -> Peer:
    bundle = certificates.issue(cast.settings, role, "component", ["proxy.example.org"], days=90)
    certificates.register_issued(cast.settings)
    present(cast, role, bundle.certificate.read_text(encoding="ascii"))
    return cast.peers[role]


@pytest.mark.parametrize("role", ["proxy", "portal"])
def test_a_component_gets_another_certificate_for_itself_alone(online: Cast, role: str) -> None:
    old = component(online, role)
    request = csr(name="main", uri="urn:messagebroker:component:main", ca=True)
    answer = online.call("POST", COMPONENT, peer=role, json={"csr": request})
    assert answer.status_code == 201, answer.text
    certificate = pki.load_certificate(answer.json["certificate"].encode())
    peer = peer_of_certificate(certificate)
    assert (peer.kind, peer.name) == ("component", role)
    assert "proxy.example.org" in pki.domains_of(certificate)
    assert (peer.not_after - peer.not_before).days == (old.not_after - old.not_before).days
    [entry] = audited("certificate.renew")
    assert entry.actor == f"component:{role}"


def test_nobody_else_gets_a_components_certificate(online: Cast) -> None:
    body = {"csr": csr()}
    component(online, "proxy")
    for call, name in (
        (online.post(COMPONENT, json=body), "forbidden"),
        (online.post(COMPONENT, "admin", json=body), "forbidden"),
        (online.post(COMPONENT, "admin", peer="portal", json=body), "forbidden"),
        (online.call("POST", COMPONENT, peer="owner", json=body), "clients-use-the-proxy"),
        (online.call("POST", COMPONENT, peer="worker", json=body), "component-not-allowed"),
        (online.call("POST", COMPONENT, peer="portal", json=body), "renewal-refused"),  # of a serial that nobody issued
    ):
        assert_problem(call, 403, name)
    for more in ({"role": "main"}, {"domains": ["evil.example"]}, {"name": "main"}):
        assert_problem(online.call("POST", COMPONENT, peer="proxy", json={**body, **more}), 422, "invalid-field")
    assert audited("certificate.renew") == []


def test_the_api_gives_nobody_a_components_certificate(online: Cast) -> None:
    """An admin could else read every message unrecorded, as a proxy does."""
    old = component(online, "proxy")
    assert_problem(online.post(f"{PATH}/{old.serial}/renew", "admin", json={"csr": csr()}), 404, "not-found")
    assert_problem(online.get(f"{PATH}/{old.serial}", "user"), 404, "not-found")
    assert online.get(f"{PATH}/{old.serial}", "operator").json["kind"] == "component"


def test_a_revoked_component_renews_nothing(online: Cast) -> None:
    old = component(online, "proxy")
    online.post(f"{PATH}/{old.serial}/revoke", "admin", json={})
    assert_problem(online.call("POST", COMPONENT, peer="proxy", json={"csr": csr()}), 403, "renewal-refused")
    online.watcher.revoked.add(old.serial)
    assert_problem(online.call("POST", COMPONENT, peer="proxy", json={"csr": csr()}), 403, "certificate-revoked")
