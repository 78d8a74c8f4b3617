from __future__ import annotations

import pytest
from support.cast import Cast, assert_problem

from messagebroker.ops import audit

PATH = "/api/v1/audit"


def test_newest_first_page_by_page(cast: Cast) -> None:
    for number in range(5):
        audit.record("cli:test", "test.act", "thing", str(number), details={"number": number})
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = cast.get(PATH, "admin", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json
        seen += [row["object_id"] for row in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == ["4", "3", "2", "1", "0"]
    oldest = cast.get(PATH, "admin", params={"order": "asc", "limit": 1}).json
    assert oldest["items"][0]["details"] == {"number": 0}
    following = cast.get(PATH, "admin", params={"order": "asc", "limit": 1, "cursor": oldest["next"]}).json
    assert following["items"][0]["object_id"] == "1"


@pytest.mark.parametrize(("role", "status"), [("admin", 200), ("operator", 403), ("user_manager", 403), ("user", 403)])
def test_who_may(cast: Cast, role: str, status: int) -> None:
    assert cast.get(PATH, role).status_code == status


@pytest.mark.parametrize("query", ["cursor=AAAA", "cursor=" + "_" * 11, "actor=cli:test", "limit=0"])
def test_bad_parameters(cast: Cast, query: str) -> None:
    assert_problem(cast.get(PATH, "admin", query_string=query), 400, "invalid-parameter")
