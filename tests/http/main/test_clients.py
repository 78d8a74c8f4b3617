from __future__ import annotations

import json
from datetime import timedelta

import pytest
from support.cast import Cast, assert_problem

from messagebroker.db.models import Certificate, Client
from messagebroker.ops import clock

PATH = "/api/v1/clients"


def test_every_client_by_name_with_the_end_of_its_certificate(cast: Cast) -> None:
    now = clock.now()
    for name in ("zeta", "acme", "b-2"):
        Client.insert(name=name, created_at=now).execute()
    Client.update(topics=json.dumps(["orders.*"]), rate=10, disabled_at=now).where(Client.name == "acme").execute()
    for serial, days, revoked in (("1", 30, None), ("2", 300, None), ("3", 900, now)):
        Certificate.insert(
            serial=serial, name="acme", kind="client", not_before=now, not_after=now + timedelta(days=days), pem="x",
            revoked_at=revoked,
        ).execute()  # fmt: skip
    first = cast.get(PATH, "operator", params={"limit": 2}).json
    second = cast.get(PATH, "operator", params={"limit": 2, "cursor": first["next"]}).json
    assert [client["name"] for client in first["items"] + second["items"]] == ["acme", "b-2", "zeta"]
    assert second["next"] is None
    acme, b2 = first["items"]
    assert (acme["topics"], acme["rate"], acme["max_batch"]) == (["orders.*"], 10, None)
    assert acme["disabled_at"] is not None
    assert acme["certificate_ends"].startswith((now + timedelta(days=300)).strftime("%Y-%m-%dT%H:%M:%S"))
    assert acme["certificate_ends"].endswith("Z")
    assert b2["certificate_ends"] is None


@pytest.mark.parametrize(("role", "status"), [("admin", 200), ("operator", 200), ("user_manager", 403), ("user", 403)])
def test_who_may(cast: Cast, role: str, status: int) -> None:
    assert cast.get(PATH, role).status_code == status


@pytest.mark.parametrize("query", ["cursor=AAAA", "cursor=bv8", "cursor=A", "name=acme"])
def test_bad_parameters(cast: Cast, query: str) -> None:
    assert_problem(cast.get(PATH, "admin", query_string=query), 400, "invalid-parameter")
