"""Prometheus with our files, on the running system: roles are asked over https with the certificate `component:monitoring`."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.containers import DOCKER, Project, as_json, until
from support.images import Images, docker, inspected
from support.installation import ClientFiles
from support.load import Load

pytestmark = [pytest.mark.tier("containers"), pytest.mark.timeout(300)]
ASK = """
import http.client, json, ssl, sys, urllib.parse
context = ssl.create_default_context(cafile="main_server/certs/ca.crt")
context.load_cert_chain("main_server/certs/monitoring.crt", "main_server/certs/monitoring.key")
connection = http.client.HTTPSConnection("prometheus", 9090, timeout=10, context=context)
http.client.HTTPConnection.connect(connection)
connection.sock = context.wrap_socket(connection.sock, server_hostname="localhost")
connection.request("GET", "/api/v1/query?" + urllib.parse.urlencode({"query": sys.argv[1]}))
print(connection.getresponse().read().decode())
"""
DASHBOARD = DOCKER / "monitoring" / "grafana" / "messagebroker.json"
WITHOUT_VALUES = (
    "messagebroker_messages_refused_total",
    "messagebroker_tls_refused_total",
    "messagebroker_backup_last_success",
)
"""Shown only after something was refused or backed up."""


def asked(project: Project, expression: str) -> list[dict[str, Any]]:
    """What Prometheus answers to main, which has the certificate for it."""
    answer = as_json(project.run("main", "python", "-c", ASK, expression))
    assert answer["status"] == "success", answer
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def test_every_container_of_every_role_is_asked(other: Project) -> None:
    wanted = {role: len(other.containers(role)) for role in ("main", "proxy", "worker", "portal")}

    def up() -> dict[str, int]:
        return {one["metric"]["job"]: int(one["value"][1]) for one in asked(other, "sum by (job) (up)")}

    until(lambda: up() == wanted, 60, up)


def test_every_expression_of_dashboard_and_alerts_has_values(other: Project, other_sender: ClientFiles) -> None:
    with Load(other, other_sender) as load:
        load.wait_for(100)
        until(lambda: asked(other, "sum(rate(messagebroker_messages_stored_total[1m])) > 0"), 90)
    names = set(re.findall(r"messagebroker_\w+", " ".join(expressions())))
    for expression in expressions():
        if not any(name in expression for name in WITHOUT_VALUES):
            until(partial(asked, other, expression.replace("$__rate_interval", "1m")), 60, partial(str, expression))
    for name in names:
        if not name.startswith(WITHOUT_VALUES):
            until(partial(asked, other, name), 60, partial(str, name))
    load.require_stored()


def expressions() -> list[str]:
    return [target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"]]


def test_the_alerts_are_loaded_and_silent(other: Project) -> None:
    said = other.run("prometheus", "promtool", "check", "rules", "/etc/prometheus/rules.yml")
    assert "SUCCESS" in said
    written = (DOCKER / "monitoring" / "rules.yml").read_text(encoding="utf-8").count("- alert: ")
    assert f"{written} rules found" in said
    assert [one["metric"]["alertname"] for one in asked(other, 'ALERTS{alertstate="firing"}')] == []


def test_nobody_without_a_certificate_is_answered(other: Project) -> None:
    """Neither by Prometheus nor, about metrics, by the roles; and Prometheus reaches no server that holds data."""
    networks: dict[str, Any] = inspected(other.container("prometheus"))["NetworkSettings"]  # type: ignore[assignment]
    assert {name.rpartition("_")[2] for name in networks["Networks"]} == {"api", "metrics", "monitoring"}
    assert not any(networks["Ports"].values())
    address = networks["Networks"][other.network("api")]["IPAddress"]
    code = (
        "import ssl, urllib.request as u\n"
        "c = ssl._create_unverified_context()\n"
        "for url in ('https://{}:9090/api/v1/targets', 'https://main:8000/metrics'):\n"
        "    try: u.urlopen(url, context=c, timeout=5); print('answered', url)\n"
        "    except OSError as error: print('refused', error)"
    ).replace("{}", address)
    said = other.run("portal", "python", "-c", code).splitlines()
    assert [line.split()[0] for line in said] == ["refused", "refused"], said


def test_grafanas_files_fit_together(other: Project, images: Images) -> None:
    config = as_json(other.compose("config", "--format", "json"))
    grafana = config["services"]["grafana"]
    assert grafana["environment"]["GF_SERVER_PROTOCOL"] == "https"
    for volume in grafana["volumes"]:
        assert volume["type"] == "volume" or Path(volume["source"]).is_file(), volume
    source = (DOCKER / "monitoring" / "grafana" / "datasources.yml").read_text(encoding="utf-8")
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {"messagebroker"}
    assert "uid: messagebroker" in source
    mounts = [f"--volume={other.name}_{name}:/{name}:ro" for name in ("grafana_secrets", "monitoring_home")]
    files = docker(
        "run",
        "--rm",
        *mounts,
        "--entrypoint=find",
        images.program,
        "/grafana_secrets",
        "/monitoring_home",
        "-type",
        "f",
        "-readable",
    )
    assert set(files.split()) == {
        "/grafana_secrets/admin-password",
        *(f"/monitoring_home/certs/{name}" for name in ("monitoring.crt", "monitoring.key", "ca.crt")),
    }
