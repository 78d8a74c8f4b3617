from __future__ import annotations

import re

import pytest
from prometheus_client.metrics_core import Metric

from messagebroker.ops.metrics import DELIVERIES_IN_FLIGHT, DELIVERY_SECONDS, REGISTRY
from messagebroker.ui.metrics import Metrics

EVERY = {family.name: family for registry in (REGISTRY, Metrics().registry) for family in registry.collect()}
OURS = [family for name, family in EVERY.items() if not name.startswith(("process_", "python_"))]
UNITS = ("_seconds", "_bytes", "_ratio")
NO_BASE_UNIT = re.compile(r"_(ms|millis|milliseconds|micros|minutes|hours|days|kb|mb|kib|mib|percent)(_|$)")


@pytest.mark.parametrize("family", OURS, ids=lambda family: family.name)
def test_names_keep_prometheus_conventions(family: Metric) -> None:
    assert re.fullmatch(r"messagebroker_[a-z][a-z_]*[a-z]", family.name)
    assert not NO_BASE_UNIT.search(family.name), "base units only: seconds, bytes"
    assert family.documentation.endswith("."), "a sentence for people"
    if family.type != "counter":
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket")), "these endings belong to other types"
    if " seconds" in family.documentation or "Time " in family.documentation or "Age " in family.documentation:
        assert family.name.endswith(UNITS)


def test_attempts_are_timed_up_to_the_longest_time_out() -> None:
    DELIVERY_SECONDS.labels("webhook")
    for bound in ("15.0", "60.0"):  # the default one of a webhook, and the longest
        labels = {"channel": "webhook", "le": bound}
        assert REGISTRY.get_sample_value("messagebroker_delivery_seconds_bucket", labels) is not None


def test_what_is_under_way_ends_with_its_process() -> None:
    assert DELIVERIES_IN_FLIGHT._multiprocess_mode == "livesum"


def test_what_operators_watch_is_there() -> None:
    expected = {
        "queue_messages", "queue_oldest_seconds", "messages_accepted", "messages_refused", "messages_stored", "ingest_failures",
        "http_requests", "http_request_seconds", "tls_refused", "policy_number", "database_down", "periodic_jobs",
        "backup_last_success_timestamp_seconds", "certificate_expiry_timestamp_seconds", "role_processes", "role_leaders",
    }  # fmt: skip
    assert {f"messagebroker_{name}" for name in expected} <= EVERY.keys()
