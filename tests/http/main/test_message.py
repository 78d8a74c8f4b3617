from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from support.cast import Cast, Shelf, assert_problem, audited

from messagebroker.db.models import DataKey, IngestFailure, Message, MessageAlias
from messagebroker.ops import audit, clock, ids, keyring


def path(message_id: str) -> str:
    return f"/api/v1/messages/{message_id}"


def opened_paths(message_id: str) -> list[dict[str, Any]]:
    """Both ways of a person to open it."""
    return [{"path": path(message_id), "params": {"body": "true"}}, {"path": path(message_id) + "/body"}]


@pytest.mark.parametrize("role", ["operator", "admin"])
def test_a_person_sees_what_is_plain(cast: Cast, shelf: Shelf, role: str) -> None:
    message_id = shelf.put("a secret")
    answer = cast.get(path(message_id), role)
    assert answer.json["message_id"] == message_id
    assert "secret" not in answer.text
    assert audited("message.open") == []


@pytest.mark.parametrize("role", ["operator", "admin"])
def test_every_body_that_a_person_opens_leaves_an_audit_row(cast: Cast, shelf: Shelf, role: str) -> None:
    message_id = shelf.put("grüße 🎉", metadata={"colour": "red"}, sender="+491")
    for number, way in enumerate(opened_paths(message_id), start=1):
        answer = cast.get(way.pop("path"), role, peer="portal", headers={"X-Forwarded-For": "203.0.113.9"}, **way)
        assert answer.status_code == 200, answer.text
        assert (answer.json["body"], answer.json["sender"]) == ("grüße 🎉", "+491")
        assert answer.json["metadata"] == {"colour": "red"}
        rows = audited("message.open")
        assert len(rows) == number
        assert rows[-1].actor == f"user:{role}@example.org"
        assert (rows[-1].object_type, rows[-1].object_id, rows[-1].address) == ("message", message_id, "203.0.113.9")


def test_outside_of_ones_own_neither_body_nor_row(cast: Cast, shelf: Shelf) -> None:
    message_id = shelf.put("a secret")
    for role in ("user", "user_manager"):
        for way in opened_paths(message_id):
            answer = cast.get(way.pop("path"), role, **way)
            assert_problem(answer, 404, "not-found")
            assert "secret" not in answer.text
    assert audited("message.open") == []


def test_no_row_no_body(cast: Cast, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row comes first: when it cannot be written, nothing is opened."""
    message_id = shelf.put("a secret")

    def full(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(audit.AuditEntry, "insert", full)
    for way in opened_paths(message_id):
        answer = cast.get(way.pop("path"), "admin", **way)
        assert_problem(answer, 500, "internal-error")
        assert "secret" not in answer.text


def test_a_message_that_does_not_open_leaves_no_row(cast: Cast, shelf: Shelf) -> None:
    """Nobody saw a body, so nobody is recorded as having seen one."""
    message_id = shelf.put("a secret")
    row = Message.get(Message.id == ids.parse(message_id))
    Message.update(payload=bytes(row.payload)[:-1] + b"\x00").execute()
    for way in opened_paths(message_id):
        document = assert_problem(cast.get(way.pop("path"), "admin", **way), 500, "damaged")
        assert len(document["id"]) == 32
    assert audited("message.open") == []


@pytest.mark.parametrize("swap", ["payload", "client_id"])
def test_a_ciphertext_under_another_message_or_client_does_not_open(cast: Cast, shelf: Shelf, swap: str) -> None:
    one, other = shelf.put("one"), shelf.put("other", client_id="other")
    stolen = Message.get(Message.id == ids.parse(other))
    Message.update({swap: getattr(stolen, swap)}).where(Message.id == ids.parse(one)).execute()
    assert_problem(cast.get(path(one) + "/body", "admin"), 500, "damaged")


def test_a_missing_data_key_is_told_to_the_operator_only(cast: Cast, shelf: Shelf) -> None:
    message_id = shelf.put()
    DataKey.delete().execute()
    assert_problem(cast.get(path(message_id) + "/body", "admin"), 500, "damaged")


def test_a_master_key_that_was_made_after_the_start_is_found(cast: Cast) -> None:
    keyring.create_master_key(cast.settings)
    message_id = Shelf(cast.settings).put("sealed to the new one")
    assert cast.get(path(message_id) + "/body", "admin").json["body"] == "sealed to the new one"


def test_binary_bodies(cast: Cast, shelf: Shelf) -> None:
    message_id = shelf.put(b"\x00\xff")
    answer = cast.get(path(message_id) + "/body", "admin").json
    assert answer["body"] is None
    assert base64.b64decode(answer["body_base64"]) == b"\x00\xff"


def test_an_alias_answers_with_the_first_copy(cast: Cast, shelf: Shelf) -> None:
    stored, later = shelf.put("once"), ids.new()
    MessageAlias.insert(id=later, message=ids.parse(stored), created_at=clock.now()).execute()
    for answer in (
        cast.get(path(ids.text(later)) + "/body", "admin"),
        cast.get(path(ids.text(later)), peer="proxy", params={"client": "owner"}),
    ):
        assert answer.json["message_id"] == ids.text(later)
        assert answer.json["alias_of"] == stored
        assert answer.json["body"] == "once"
    assert [row.object_id for row in audited("message.open")] == [stored]


def test_the_proxy_gets_it_for_its_owner_and_nobody_else(cast: Cast, shelf: Shelf) -> None:
    message_id = shelf.put("for its owner")
    answer = cast.get(path(message_id), peer="proxy", params={"client": "owner"})
    assert answer.status_code == 200
    assert answer.json["body"] == "for its owner"
    assert audited("message.open") == [], "clients read their own messages"
    strange = cast.get(path(message_id), peer="proxy", params={"client": "other"})
    never = cast.get(path(ids.text(ids.new())), peer="proxy", params={"client": "other"})
    assert_problem(strange, 404, "not-stored-yet")
    assert strange.json == never.json, "a message of somebody else looks like one that never was"


def test_the_proxy_names_the_client(cast: Cast, shelf: Shelf) -> None:
    message_id = shelf.put()
    assert assert_problem(cast.get(path(message_id), peer="proxy"), 400, "invalid-parameter")["field"] == "client"
    named = cast.get(path(message_id), peer="proxy", params={"client": "owner\n"})
    assert assert_problem(named, 400, "invalid-parameter")["field"] == "client"


@pytest.mark.parametrize("who", ["owner", "other"])
def test_clients_themselves_use_the_proxy(cast: Cast, shelf: Shelf, who: str) -> None:
    message_id = shelf.put()
    assert_problem(cast.get(path(message_id), peer=who), 403, "clients-use-the-proxy")


def test_the_portal_alone_gets_nothing(cast: Cast, shelf: Shelf) -> None:
    message_id = shelf.put()
    assert_problem(cast.get(path(message_id), peer="portal", params={"client": "owner"}), 401, "token-required")


def test_people_do_not_name_clients(cast: Cast, shelf: Shelf) -> None:
    message_id = shelf.put()
    answer = cast.get(path(message_id), "admin", params={"client": "owner"})
    assert assert_problem(answer, 400, "invalid-parameter")["field"] == "client"


def test_not_stored_yet_says_when_to_ask_again(cast: Cast) -> None:
    answer = cast.get(path(ids.text(ids.new())), peer="proxy", params={"client": "owner"})
    assert_problem(answer, 404, "not-stored-yet")
    assert answer.headers["retry-after"] == "1"


def test_ids_that_no_proxy_drew_were_never_accepted(cast: Cast) -> None:
    ahead = ids.text(ids.floor(clock.now() + timedelta(days=1)))
    after_every_year = "ffffffff-ffff-7fff-bfff-ffffffffffff"
    for message_id in (ahead, after_every_year, "f47ac10b-58cc-4372-a567-0e02b2c3d479"):
        assert_problem(cast.get(path(message_id), peer="proxy", params={"client": "owner"}), 404, "not-found")


def test_what_was_set_aside_says_so_to_its_owner(cast: Cast) -> None:
    message_id = ids.new()
    now = clock.now()
    IngestFailure.insert(
        id=message_id, client_id="owner", accepted_at=now, failed_at=now, error="too long", record=b"x"
    ).execute()
    for client, name in (("owner", "set-aside"), ("other", "not-stored-yet")):
        answer = cast.get(path(ids.text(message_id)), peer="proxy", params={"client": client})
        assert_problem(answer, 404, name)


@pytest.mark.parametrize("wrong", ["x", "0190B8E0-7C1E-7CC3-98C4-DC0C0C07398F0", "%00" * 36, "0" * 36, "-" * 36, "ü" * 36])
def test_what_is_no_id_is_not_found(cast: Cast, wrong: str) -> None:
    for way in ("", "/body"):
        assert_problem(cast.get(path(wrong) + way, "admin"), 404, "not-found")


@pytest.mark.parametrize("query", ["body=1", "body=yes", "body=True", "body=", "body=true&body=true", "full=true"])
def test_bad_parameters(cast: Cast, shelf: Shelf, query: str) -> None:
    assert_problem(cast.get(path(shelf.put()), "admin", query_string=query), 400, "invalid-parameter")
