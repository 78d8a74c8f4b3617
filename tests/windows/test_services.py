"""Our services under Windows' service manager: install, heal, start, stop with a job in hand, restart, a fall."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.receiver import Receiver, ok, status
from support.servers import SqlServer
from support.windows import Windows
from support.windows_installation import ROOT, WindowsInstallation

from messagebroker.roles import BY_NAME, ROLES, SECRET_VARIABLES

SERVICES = r"HKLM\SYSTEM\CurrentControlSet\Services"
WORKER = BY_NAME["worker"].service
SPOIL = """
import sys, win32service as win
manager = win.OpenSCManager(None, None, win.SC_MANAGER_ALL_ACCESS)
service = win.OpenService(manager, sys.argv[1], win.SERVICE_ALL_ACCESS)
no = win.SERVICE_NO_CHANGE
win.ChangeServiceConfig(service, no, win.SERVICE_DEMAND_START, no, None, None, False, ["EventLog"], "LocalSystem", None, None)
"""


def test_every_role_is_a_service_with_an_account_of_its_own(windows: Windows, installation: WindowsInstallation) -> None:
    for role in ROLES:
        kept = windows.run("reg", "query", rf"{SERVICES}\{role.service}").good().out
        assert rf"NT SERVICE\{role.service}" in kept
        assert f'"{windows.interpreter}" -I -m messagebroker.cli.windows_service run {role.name} --root {ROOT}' in kept
        assert rf"--set DATA_DIR={ROOT}\{role.folder}" in kept
        for need in role.needs:
            assert need not in BY_NAME or BY_NAME[need].service in kept
        events = rf"{SERVICES}\EventLog\Application\{role.service}"
        assert "win32evtlog.pyd" in windows.run("reg", "query", events).good().out


def test_a_second_install_changes_nothing_and_mends_what_was_changed(
    windows: Windows, installation: WindowsInstallation
) -> None:
    assert "everything is as it has to be" in installation.services("install").good().out
    windows.python("-c", SPOIL, WORKER).good()
    said = installation.services("install").good().out
    assert f"{WORKER}: its account corrected" in said
    assert f"{WORKER}: what it depends on corrected" in said
    assert f"{WORKER}: its start type corrected" in said
    assert "everything is as it has to be" in installation.services("install").good().out


def test_a_role_has_its_own_secrets_and_no_others(windows: Windows, installation: WindowsInstallation) -> None:
    shared = windows.read(rf"{ROOT}\.env")
    assert not [name for name in SECRET_VARIABLES if f"{name}=" in shared]
    for role in ROLES:
        own = windows.read(rf"{ROOT}\{role.folder}\.env")
        assert {name for name in ("DATABASE_URL", "REDIS_URL") if f"{name}=" in own} == {
            name for name in ("DATABASE_URL", "REDIS_URL") if name in role.variables
        }
    assert not windows.path(rf"{ROOT}\proxy\secrets\encryption.key").exists()
    assert not windows.path(rf"{ROOT}\worker\ca").exists()


def test_all_roles_run_and_a_message_comes_back(running: WindowsInstallation) -> None:
    states = running.states()
    assert {role: (one["state"], one["detail"]) for role, one in states.items()} == {
        role.name: ("running", "ready") for role in ROLES
    }
    assert all(one["since"] for one in states.values())
    assert "status delivered, the same body" in running.operator("smoke").good().out


def test_a_webhook_gets_a_message_of_its_topic(running: WindowsInstallation) -> None:
    """On Windows' own event loop, under the worker's account."""
    running.operator("webhooks", "allow", "127.0.0.0/8", "--reason", "the test's receiver").good()
    with Receiver(status(503), ok()) as receiver, running.client() as http:
        words = ("--channel", "webhook", "--topic", "webhooks", "--url", receiver.url, "--schedule", "0,0.2")
        running.operator("subscriptions", "create", "receiver", *words).good()
        time.sleep(2)  # workers look every second
        sent = http.post("/api/v1/messages", json={"topic": "webhooks", "body": "for the receiver"})
        assert sent.status_code == 202
        refused, taken = receiver.wait_for(2, seconds=20)
    assert refused.headers["webhook-id"] == taken.headers["webhook-id"] == sent.json()["message_id"]
    assert b"for the receiver" in taken.body
    assert refused.headers["webhook-signature"].startswith("v1,")


def test_a_role_that_others_need_is_not_stopped_behind_their_backs(running: WindowsInstallation) -> None:
    refused = running.services("stop", "main")
    assert refused.code == 1
    assert "--with-dependencies" in refused.err
    assert running.windows.state_of(BY_NAME["main"].service) == "RUNNING"


def test_a_job_in_hand_is_finished_before_the_service_stops(running: WindowsInstallation) -> None:
    before = running.stored()
    with running.client() as http, held(running.database):
        assert http.post("/api/v1/messages", json={"body": "in hand"}).status_code == 202
        wait_until_held(running.database)
        asked = time.monotonic()
        running.windows.run("sc.exe", "stop", WORKER).good()
        time.sleep(4)
        assert running.windows.state_of(WORKER) == "STOP_PENDING"
    running.windows.wait_for_state(WORKER, "STOPPED", seconds=30)
    assert time.monotonic() - asked > 4
    assert running.stored() == before + 1
    assert running.waiting() == 0
    assert '"role stopped"' in running.log("worker").splitlines()[-1]
    running.services("start", "worker").good()


def test_a_restart_is_one_command_and_loses_nothing(running: WindowsInstallation) -> None:
    before, began = running.stored(), running.states()["proxy"]["since"]
    with running.client() as http:
        assert http.post("/api/v1/messages", json={"body": "before"}).status_code == 202
    running.services("restart", "proxy").good()
    with running.client() as http:
        assert http.post("/api/v1/messages", json={"body": "after"}).status_code == 202
    running.wait_until_stored(before + 2)
    proxy = running.states()["proxy"]
    assert proxy["since"] > began
    assert proxy["restarts"] == 0


def test_a_service_whose_process_was_killed_is_seen_and_started_again(running: WindowsInstallation) -> None:
    before = running.stored()
    running.kill("worker")
    fallen = running.states()["worker"]
    assert fallen["state"] == "failed"
    with running.client() as http:
        assert http.post("/api/v1/messages", json={"body": "nobody works"}).status_code == 202
    running.services("start", "worker").good()
    running.wait_until_stored(before + 1)
    worker = running.states()["worker"]
    assert (worker["state"], worker["restarts"]) == ("running", 1)


def test_wrong_settings_make_a_failed_service_that_says_where_to_look(running: WindowsInstallation) -> None:
    path = running.windows.path(rf"{ROOT}\proxy\.env")
    good = path.read_bytes()
    path.write_bytes(good + b"MAX_BODY_BYTES=many\r\n")
    try:
        refused = running.services("restart", "proxy")
        assert refused.code == 4
        assert "MAX_BODY_BYTES" in refused.err
        proxy = running.states()["proxy"]
        assert proxy["state"] == "failed"
        assert "proxy.log" in proxy["detail"]
    finally:
        path.write_bytes(good)
    running.services("start", "proxy").good()


def test_several_worker_processes_are_one_service(running: WindowsInstallation) -> None:
    path, before = running.windows.path(rf"{ROOT}\.env"), running.stored()
    good = path.read_bytes()
    path.write_bytes(good + b"WORKER_COUNT=2\r\n")
    try:
        running.services("restart", "worker").good()
        assert running.states()["worker"]["detail"] == "ready"
        assert len(running.processes("messagebroker.actors.worker_child")) == 2
        with running.client() as http:
            assert http.post("/api/v1/messages", json={"body": "for one of two"}).status_code == 202
        running.wait_until_stored(before + 1)
        running.services("stop", "worker").good()
        assert running.processes("messagebroker.actors.worker_child") == []
    finally:
        path.write_bytes(good)
    running.services("start", "worker").good()


def test_no_secret_is_in_a_log(running: WindowsInstallation) -> None:
    secrets = set()
    for role in ROLES:
        for line in running.windows.read(rf"{ROOT}\{role.folder}\.env").splitlines():
            name, _, value = line.partition("=")
            if name == "JWT_SECRET":
                secrets.add(value)
    secrets |= {running.admin_password, ":test@"}
    written = "".join(path.read_text(encoding="utf-8") for path in Path(running.windows.path(rf"{ROOT}\logs")).glob("*"))
    assert "role starts" in written
    assert not [secret for secret in secrets if secret in written]


def test_what_operators_typed_until_now_works(running: WindowsInstallation) -> None:
    windows = running.windows
    said = windows.run("cmd.exe", "/c", rf"{ROOT}\main_server\generate_cert.bat", "till-7", "till.example.org", "30").good()
    assert "# now: messagebroker certs issue till-7 --domain till.example.org --days 30" in said.err
    assert windows.path(rf"{ROOT}\main_server\certs\till-7.key").exists()
    words = ("users", "create", "--email", "ada@example.org", "--password", "Xq7-sd9s-Kd2", "--role", "admin")
    windows.run(r"C:\py311\python.exe", rf"{ROOT}\main_server\admin_cli.py", *words).good()
    assert "ada@example.org" in windows.run("cmd.exe", "/c", rf"{ROOT}\messagebroker.cmd", "users", "list").good().out
    refused = windows.run("cmd.exe", "/c", rf"{ROOT}\main_server\generate_cert.bat", "till-7")
    assert refused.code == 1, "the exit code comes through the batch file"


@contextmanager
def held(database: SqlServer) -> Iterator[None]:
    """Nothing can be stored: the job that tries is in hand for as long."""
    connection = database.connect_as_root()
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLES message_system_windows.messages WRITE")
        try:
            yield
        finally:
            connection.close()


def wait_until_held(database: SqlServer, seconds: float = 20.0) -> None:
    """A job waits for the table; what only reads it does not count."""
    waits = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table%' AND info LIKE 'INSERT%'"
    deadline = time.monotonic() + seconds
    while database.execute(waits)[0][0] == 0:
        assert time.monotonic() < deadline, "no job came to the table"
        time.sleep(0.1)
