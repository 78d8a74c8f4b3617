"""What can be said of the files in docker/ without an engine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from messagebroker.ops import metrics
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
            assert ("" if field.default is None else str(field.default)) == default, name


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
