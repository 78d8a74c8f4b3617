"""Who can be reached from where, and how little each container may do."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest
from support.containers import ROLES, Project
from support.images import inspected

pytestmark = [pytest.mark.tier("containers"), pytest.mark.timeout(180)]
SERVERS = ("mysql", "redis")
PUBLISHED = {"main": "8000/tcp", "proxy": "8001/tcp", "portal": "5000/tcp"}
REACHES = {
    "main": {"mysql", "redis"},
    "proxy": {"redis", "main"},
    "worker": {"mysql", "redis"},
    "scheduler": {"mysql", "redis"},
    "portal": {"main"},
}
PORTS = {"mysql": 3306, "redis": 6379, "main": 8000, "worker": 9100}


def reaches(project: Project, role: str, host: str, port: int) -> bool:
    code = f"import socket; socket.create_connection(({host!r}, {port}), 2)"
    return project.try_compose("exec", "-T", role, "python", "-c", code).returncode == 0


def test_only_proxy_main_and_portal_are_published_on_the_configured_address(system: Project) -> None:
    for service in (*ROLES, *SERVERS):
        settings: dict[str, Any] = inspected(system.container(service))["NetworkSettings"]  # type: ignore[assignment]
        bound = {port: found[0]["HostIp"] for port, found in settings["Ports"].items() if found}
        assert bound == ({PUBLISHED[service]: "127.0.0.1"} if service in PUBLISHED else {}), service


def test_this_machine_reaches_what_is_published(system: Project) -> None:
    for role in PUBLISHED:
        port = int(system.url(role).rpartition(":")[2])
        assert socket.create_connection(("127.0.0.1", port), 5).close() is None
        assert httpx.get(f"{system.url(role)}/health", verify=False).status_code == 200


@pytest.mark.parametrize("role", ["main", "proxy", "worker", "scheduler", "portal"])
def test_a_role_reaches_what_it_needs_and_no_other_server(system: Project, role: str) -> None:
    found = {host for host, port in PORTS.items() if host != role and reaches(system, role, host, port)}
    own = {"worker"} if role in ("main", "proxy", "scheduler") else set()  # the queue's network is theirs together
    main = {"main"} if role in ("worker", "scheduler") else set()
    assert found - own - main == REACHES[role]


@pytest.mark.parametrize("service", ["scheduler", "mysql", "redis"])
def test_what_nobody_outside_needs_has_no_way_out(system: Project, service: str) -> None:
    networks: dict[str, Any] = inspected(system.container(service))["NetworkSettings"]["Networks"]  # type: ignore[index]
    assert all(inspected(name)["Internal"] for name in networks)
    assert networks


def test_every_container_is_hardened_and_limited(system: Project) -> None:
    for service in (*ROLES, *SERVERS, "setup", "passwords"):
        host: dict[str, Any] = inspected(system.container(service))["HostConfig"]  # type: ignore[assignment]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert not host["CapAdd"], service
        assert not host["Privileged"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert host["Memory"] > 0, service
        assert 0 < host["PidsLimit"] <= 1024, service


def test_no_process_has_a_capability_or_is_root(system: Project) -> None:
    for service in (*ROLES, *SERVERS):
        status = system.run(service, "sh", "-c", "grep -hE '^(Uid|CapEff|CapBnd|NoNewPrivs):' /proc/1/status")
        found = dict(line.split(":", 1) for line in status.splitlines())
        assert found["Uid"].split()[0] in ("10001", "999"), service
        assert int(found["CapEff"], 16) == int(found["CapBnd"], 16) == 0, service
        assert found["NoNewPrivs"].strip() == "1", service
