"""GET /api/v1/whoami."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from support.proxy import Proxy, peer, problem


def test_a_client_sees_itself(proxy: Proxy) -> None:
    document = proxy.get("/api/v1/whoami", client=peer("orders", days=10)).json
    assert document["client_id"] == "orders"
    assert document["certificate"]["serial"] == "ab12"
    assert document["certificate"]["days_left"] == 9
    assert datetime.fromisoformat(document["certificate"]["not_after"]) > datetime.now(UTC)
    assert document["default_topic"] == "orders.new"
    assert document["limits"] == {
        "messages_per_second": None, "max_batch_items": 1000, "max_body_bytes": 262144, "max_metadata_bytes": 8192,
        "max_metadata_depth": 5, "max_request_bytes": 8388608, "topics": ["orders.*", "returns"],
    }  # fmt: skip
    assert document["clock_skew_seconds"] is None
    assert document["policy_number"] == 1


def test_limits_of_its_own(proxy: Proxy) -> None:
    assert proxy.get("/api/v1/whoami", client="slow").json["limits"]["messages_per_second"] == 10
    assert proxy.get("/api/v1/whoami", client="small").json["limits"]["max_batch_items"] == 2


@pytest.mark.parametrize("offset", [-3600, 0, 90])
def test_the_callers_clock_is_compared(proxy: Proxy, offset: int) -> None:
    told = datetime.now(UTC) + timedelta(seconds=offset)
    for headers in (
        {"X_Client_Time": told.isoformat()},
        {"X_Client_Time": str(told.timestamp())},
        {"Date": format_datetime(told, usegmt=True)},
    ):
        skew = proxy.get("/api/v1/whoami", **headers).json["clock_skew_seconds"]
        assert abs(skew - offset) <= 1.5


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"X_Client_Time": "noon"}, "X-Client-Time"),
        ({"X_Client_Time": "2030-01-01T00:00:00"}, "X-Client-Time"),
        ({"X_Client_Time": "99999999999"}, "X-Client-Time"),
    ],
)
def test_a_time_that_is_none_is_refused(proxy: Proxy, headers: dict[str, str], field: str) -> None:
    assert problem(proxy.get("/api/v1/whoami", **headers)) == (400, "invalid-header", field)


@pytest.mark.parametrize(
    "date", ["noon", f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT", f"Mon, 01 Jan 2030 00:00:00 +{'9' * 20}", "Mon, 99 Jan 2030"]
)
def test_a_date_that_is_none_is_passed_over(proxy: Proxy, date: str) -> None:
    assert proxy.get("/api/v1/whoami", Date=date).json["clock_skew_seconds"] is None
