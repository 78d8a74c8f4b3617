"""The installer's steps on Windows, without Windows: settings, firewall rules, versions, what an older system left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.servers import MariaDB, Redis
from support.servers import program as program_of

from messagebroker.errors import BrokerError, ConfigurationError, Refused
from messagebroker.ops import doctor_redis, server_secrets, server_versions, windows_firewall, windows_setup
from messagebroker.ops.services.programs import Answer
from messagebroker.settings import Settings, load

WINDOWS = Path(__file__).parents[2] / "windows"


class Programs:
    """`known`: names of firewall rules that are there already."""

    def __init__(self, *known: str, administrator: bool = True) -> None:
        self.commands: list[list[str]] = []
        self.known, self.administrator = set(known), administrator

    def __call__(self, command: Sequence[str], *, seconds: float = 0, check: bool = True) -> Answer:
        self.commands.append(list(command))
        verb, name = command[3], command[5].removeprefix("name=")
        if verb == "add" and not self.administrator:
            raise Refused("The requested operation requires elevation")
        if verb == "add":
            self.known.add(name)
        return Answer(0 if name in self.known else 1, "", "")


def test_the_guides_rules_are_made_for_the_ports_that_are_set() -> None:
    run = Programs()
    settings = load({"PROXY_PORT": "8443"})
    assert len(windows_firewall.apply(settings, run)) == 6
    added = {command[5].removeprefix("name="): command[6:] for command in run.commands if command[3] == "add"}
    assert set(added) == {
        "Message Broker - Main Server", "Message Broker - Proxy", "Message Broker - Portal", "Message Broker - Metrics",
        "Block MySQL External", "Block Redis External",
    }  # fmt: skip
    assert "localport=8443" in added["Message Broker - Proxy"]
    assert {"remoteip=any", "action=allow"} < set(added["Message Broker - Main Server"])
    assert {"remoteip=localsubnet", "localport=9100"} < set(added["Message Broker - Metrics"])
    assert {"action=block", "localport=3306", "dir=in"} < set(added["Block MySQL External"])
    assert {"action=block", "localport=6379"} < set(added["Block Redis External"])
    assert windows_firewall.apply(settings, run) == [], "a second run changes nothing"


def test_uninstalling_leaves_the_servers_closed(settings: Settings) -> None:
    run = Programs()
    windows_firewall.apply(settings, run)
    run.commands.clear()
    assert len(windows_firewall.remove(settings, run)) == 4
    assert not [command for command in run.commands if "Block" in command[5]]


def test_without_the_right_to_make_rules_it_says_so(settings: Settings) -> None:
    with pytest.raises(Refused, match="elevation"):
        windows_firewall.apply(settings, Programs(administrator=False))


def test_settings_are_those_of_the_guide_and_what_an_operator_wrote_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "MessageBroker"
    root.mkdir()
    (root / ".env").write_text("# ours\nPROXY_HOST=10.0.0.7\nDATABASE_URL=mysql://u:p@localhost/x\n", encoding="utf-8")
    (said,) = windows_setup.write_settings(root, windows_setup.defaults(root, "broker.example.org"))
    assert "DATABASE_URL" not in said
    assert windows_setup.write_settings(root, windows_setup.defaults(root, "broker.example.org")) == []
    monkeypatch.chdir(root)
    settings = load({})
    assert (settings.environment, settings.primary_domain, settings.proxy_host) == (
        "production",
        "broker.example.org",
        "10.0.0.7",
    )
    assert str(settings.backup_dir) == r"C:\Backups\MessageBroker"
    assert settings.data_dir == Path("main_server")
    assert (root / ".env").read_text(encoding="utf-8").startswith("# ours\n")


def test_the_database_is_asked_for_only_where_nothing_names_it() -> None:
    named = load({"DATABASE_URL": "mysql://u:p@localhost/message_system"})
    assert windows_setup.require_secret_settings(named, None) == {}
    assert windows_setup.require_secret_settings(load({}), lambda: "mysql://x") == {"DATABASE_URL": "mysql://x"}
    with pytest.raises(ConfigurationError, match=r"\$env:DATABASE_URL"):
        windows_setup.require_secret_settings(load({}), None)


@pytest.mark.parametrize(("version", "bits"), [((3, 10), 64), ((3, 8), 64), ((3, 11), 32)])
def test_an_unfit_python_is_refused(version: tuple[int, int], bits: int) -> None:
    windows_setup.require_python()
    with pytest.raises(ConfigurationError, match=r"install Python 3\.11 or newer, 64 bits, for all users"):
        windows_setup.require_python(version, bits)


def test_steps_end_at_the_first_that_fails() -> None:
    run: list[list[str]] = []
    steps = windows_setup.Steps(lambda words: run.append(words) or (1 if words[0] == "smoke" else 0), lambda text: None)
    steps.take("services", "services", "install")
    with pytest.raises(BrokerError, match="`messagebroker smoke` ended with 1"):
        steps.take("a message", "smoke")
    assert run == [["services", "install"], ["smoke"]]


def test_an_older_systems_backup_task_is_pointed_out(tmp_path: Path) -> None:
    assert windows_setup.older_tasks(tmp_path / "nowhere") == []
    for name in ("Message Broker Daily Backup", "Microsoft/Windows/RegIdleBackup", "MessageBroker Monitor"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (said,) = windows_setup.older_tasks(tmp_path)
    assert r"\Message Broker Daily Backup" in said
    assert "schtasks.exe /Delete" in said


# versions


@pytest.mark.parametrize(
    ("database", "redis", "problems"),
    [
        ("MySQL 8.4.3", "Redis 7.2.4", []),
        ("MySQL 8.0.41", "Redis 6.2.0", []),
        ("MySQL 9.7.0", "Redis 8.0.1", []),
        ("MySQL 5.7.44", "Redis 7.2.4", ["MySQL 5.7.44 is too old: install MySQL 8.0 or newer"]),
        ("MariaDB 10.5.9", "Redis 7.2.4", ["MariaDB 10.5.9 is too old: install MySQL 8.0 or newer"]),
        ("MySQL 8.4.3", "Redis 3.0.504", ["Redis 3.0.504 is too old: install Redis 6.2 or newer", "redis-64"]),
        ("MySQL 5.7.44", "Redis 3.0.504", ["MySQL 5.7.44", "Redis 3.0.504"]),
    ],
)
def test_old_servers_are_refused_with_what_to_install(
    database: str, redis: str, problems: list[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_versions, "_database", lambda settings: database)
    monkeypatch.setattr(server_versions, "_redis", lambda settings: redis)
    if not problems:
        assert server_versions.require(settings) == [database, redis]
        return
    with pytest.raises(ConfigurationError) as refused:
        server_versions.require(settings)
    assert all(problem in str(refused.value) for problem in problems)


def test_real_servers_are_asked(mariadb_server: MariaDB, redis_url: str, tmp_path: Path) -> None:
    settings = load({}, data_dir=tmp_path, database_url=mariadb_server.fresh("versions"), redis_url=redis_url)
    database, redis = server_versions.require(settings)
    assert database.startswith("MariaDB 1")
    assert redis.startswith("Redis ")


# the servers' own settings


class RedisOf(Redis):
    """A Redis that reads a file of ours; only its place and its port are others."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def arguments(self) -> list[str]:
        return [program_of("redis-server"), str(self.file), "--port", str(self.port), "--dir", str(self.folder)]


def test_redis_takes_our_settings_and_the_doctor_finds_nothing_wrong() -> None:
    with RedisOf(WINDOWS / "memurai.conf") as server:
        findings = list(doctor_redis.check(load({"REDIS_URL": server.url})))
    assert len(findings) >= 4
    assert [finding.text for finding in findings if finding.level != "ok"] == []


def test_redis_takes_the_user_that_our_settings_propose(tmp_path: Path) -> None:
    text = (WINDOWS / "memurai.conf").read_text(encoding="utf-8")
    assert server_secrets.REDIS_RULES in text
    file = tmp_path / "redis.conf"
    file.write_text(text.replace("# user ", "user ").replace("user default off ~* &* +@all", ""), encoding="utf-8")
    with RedisOf(file) as server:
        url = server.url.replace("redis://", "redis://messagebroker:PASSWORD@")
        assert [one for one in doctor_redis.check(load({"REDIS_URL": url})) if one.level == "error"] == []


def test_my_ini_has_one_section_and_no_setting_that_newer_servers_lack() -> None:
    lines = [line.strip() for line in (WINDOWS / "my.ini").read_text(encoding="utf-8").splitlines()]
    settings: dict[str, Any] = dict(
        line.replace(" ", "").split("=", 1) for line in lines if line and line[0] not in "#[" and "=" in line
    )
    assert [line for line in lines if line.startswith("[")] == ["[mysqld]"]
    assert settings["innodb_flush_log_at_trx_commit"] == settings["sync_binlog"] == "1"
    assert not {"innodb_log_file_size", "expire_logs_days", "binlog_format", "default_authentication_plugin"} & set(settings)
