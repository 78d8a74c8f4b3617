"""What can be said of the files in docker/ without an engine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase
from support.facts import compose_services

from messagebroker.actors import storing
from messagebroker.actors.deliveries import engine
from messagebroker.ops import breaker_events, metrics
from messagebroker.ops.channels import CHANNELS
from messagebroker.roles import NAMES, ROLES
from messagebroker.settings import Settings

DOCKER = Path(__file__).parents[1] / "docker"
FILES = sorted(DOCKER.glob("compose*.yaml"))
EXAMPLE = (DOCKER / ".env.example").read_text(encoding="utf-8")
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::?-((?:[^{}]|\$\{[^}]*\})*))?\}")
NOT_FOR_OPERATORS = {"TESTENV_NETWORK"}


def variables() -> dict[str, str]:
    """Name -> default, of all Compose files."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    return {name: default for name, default in VARIABLE.findall(text) if name not in NOT_FOR_OPERATORS}


def explained() -> dict[str, str]:
    return dict(re.findall(r"^#([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))


def test_every_variable_is_explained_with_its_default() -> None:
    wanted = {name: "" if "${" in default else default for name, default in variables().items()}
    known = {name: default for name, default in explained().items() if not name.startswith("COMPOSE_")}
    assert wanted == known


def test_an_example_that_is_copied_changes_nothing() -> None:
    assert [line for line in EXAMPLE.splitlines() if line and not line.startswith("#")] == []


def test_defaults_are_the_programs_own() -> None:
    for name, default in variables().items():
        field = Settings.model_fields.get(name.lower())
        if field is not None and name not in ("ENVIRONMENT", "PORTAL_URL"):
            own = "" if field.default is None else str(field.default)
            assert (own.lower() if isinstance(field.default, bool) else own) == default, name


def test_what_env_says_of_mails_and_deliveries_reaches_all_who_need_it() -> None:
    given = {name: f"x-{name}" for name in variables()}
    services = compose_services(given)
    senders = {role.name for role in ROLES if "SMTP_PASSWORD" in role.variables}
    wanted = {
        **dict.fromkeys(("SMTP_HOST", "SMTP_PORT", "SMTP_USER", "SMTP_SECURITY", "MAIL_FROM"), senders),
        "WEBHOOK_ALLOW_HTTP": {"main", "worker"},  # main tests webhooks
        "DELIVERIES_AT_ONCE": {"worker"},
        "PULL_WAITERS": {"main"},
    }
    for name, roles in wanted.items():
        assert {role for role in NAMES if services[role]["environment"].get(name) == given[name]} == roles, name


def test_who_delivers_has_a_way_out_and_who_stores_has_none() -> None:
    networks = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))["networks"]
    closed = {name for name, of in networks.items() if of and of.get("internal")}
    with_a_way_out = {name for name, service in compose_services().items() if set(service.get("networks", ())) - closed}
    assert with_a_way_out == {"main", "proxy", "portal", "worker"}
    assert "outside" not in closed
    assert [name for name, service in compose_services().items() if "outside" in service.get("networks", ())] == ["worker"]


def test_variables_are_set_by_nothing_else_than_their_names() -> None:
    """A secret in the environment would be seen by `docker inspect`."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    passwords = re.findall(r"^\s*(\w*(?:PASSWORD|SECRET|_KEY)\w*):\s*(.*)$", text, re.MULTILINE)
    assert passwords
    assert [name for name, value in passwords if not value.startswith("/run/secrets/")] == []


@pytest.mark.parametrize("name", ["grafana/messagebroker.json", "rules.yml"])
def test_dashboard_and_alerts_ask_for_metrics_that_exist(name: str) -> None:
    text = (DOCKER / "monitoring" / name).read_text(encoding="utf-8")
    if name.endswith(".json"):
        text = " ".join(target["expr"] for panel in json.loads(text)["panels"] for target in panel["targets"])
    known = {f"{sample}" for family in metrics.REGISTRY.collect() for sample in (family.name, f"{family.name}_total")}
    asked = {re.sub(r"_(bucket|sum|count)$", "", found) for found in re.findall(r"messagebroker_\w+", text)}
    assert asked - known == set()


def test_documents_name_metrics_and_alerts_that_exist() -> None:
    text = (DOCKER.parent / "docs" / "deliveries.md").read_text(encoding="utf-8")
    section = text.partition("### Metrics and alerts")[2].partition("###")[0]
    known = {name for family in metrics.REGISTRY.collect() for name in (family.name, f"{family.name}_total")}
    assert set(re.findall(r"messagebroker_[a-z_]+", text)) - known == set()
    rules = yaml.safe_load((DOCKER / "monitoring" / "rules.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    told = set(re.findall(r"`([A-Z][a-zA-Z]+)`", section))
    assert told
    assert told - {rule["alert"] for rule in rules} == set()


def labels(metric: MetricWrapperBase) -> set[tuple[str, ...]]:
    samples = [sample for family in metric.collect() for sample in family.samples]
    return {tuple(sample.labels.values()) for sample in samples if "le" not in sample.labels}


def test_what_alerts_and_rates_are_about_is_there_before_it_happens() -> None:
    """A counter that begins with 1 has never increased. The modules that count are imported by who does it."""
    assert {breaker_events, engine, storing}
    kinds = ("delivered", "retry", "failed", "gone")
    assert labels(metrics.DELIVERY_ATTEMPTS) >= {(channel, kind) for channel in CHANNELS for kind in kinds}
    assert labels(metrics.DELIVERED_AFTER) >= {(channel,) for channel in CHANNELS}
    assert labels(metrics.DELIVERY_SECONDS) >= {(name,) for name in CHANNELS if name != "pull"}
    assert labels(metrics.SUBSCRIPTIONS_DISABLED) >= {("gone",), ("failures",)}
    assert labels(metrics.BREAKER_CHANGES) >= {("closed",), ("open",), ("half-open",)}
    assert labels(metrics.INGEST_FAILURES) >= {("crash",), ("refused",), ("unreadable",)}


def test_the_worker_may_have_the_threads_of_several_processes() -> None:
    """Each has up to 32 that look names up, 32 for certificates and mail, and some 30 that it always has."""
    assert compose_services({"WORKER_COUNT": "8"})["worker"]["pids_limit"] >= 8 * 100
