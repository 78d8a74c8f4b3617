"""What operators have typed until now, and the commands that do it: one table, from which the files at those paths are made.

Each file only calls `messagebroker old PATH ARGUMENTS`, which looks the path up here; so nothing is decided in batch files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from messagebroker.errors import NotFound, Refused
from messagebroker.roles import NAMES

Words = list[str]
Translate = Callable[[Words], list[Words]]
"""Arguments of the old command -> the new commands, one after another."""

WINDOWS, LINUX = "windows", "linux"


@dataclass(frozen=True, kw_only=True)
class OldName:
    """One command of the runbooks."""

    path: str  # below ROOT, with slashes
    now: str  # the new command, for people
    translate: Translate
    repeat_seconds: float = 0  # again and again, with this pause
    note: str = ""  # what a person should know beside it

    @property
    def system(self) -> str:
        """Where the file is made."""
        return LINUX if self.path.endswith(".sh") else WINDOWS


def _always(*commands: str) -> Translate:
    def translate(words: Words) -> list[Words]:
        return [command.split() for command in commands]

    return translate


def _as_it_is(words: Words) -> list[Words]:
    return [words]


def _generate(words: Words) -> list[Words]:
    """NAME [DOMAIN [DAYS]]; `server` was main's certificate."""
    if not 1 <= len(words) <= 3:
        raise Refused("say NAME, DOMAIN and DAYS, as in `generate_cert.bat warehouse-7 example.org 365`")
    name = "main" if words[0] == "server" else words[0]
    kind = ["--kind", "component"] if name in NAMES else []
    domain = ["--domain", words[1]] if len(words) > 1 else []
    days = ["--days", words[2]] if len(words) > 2 else []
    return [["certs", "issue", name, *kind, *domain, *days]]


def _one_name(*command: str) -> Translate:
    def translate(words: Words) -> list[Words]:
        if len(words) != 1:
            raise Refused(f"say one NAME, as in `messagebroker {' '.join(command)} warehouse-7`")
        return [[*command, "main" if words[0] == "server" else words[0]]]

    return translate


def _restore(words: Words) -> list[Words]:
    """`-BackupPath FILE` or FILE, then what the new command takes too."""
    rest = words[1:] if words and words[0].lower() == "-backuppath" else words
    if not rest or rest[0].startswith("-"):
        raise Refused("say which backup: `messagebroker backup list` shows them")
    return [["backup", "restore", *rest]]


def _rollback(words: Words) -> list[Words]:
    known: dict[str, Words] = {
        "restart-all": ["services", "restart"],
        "emergency-stop": ["services", "stop", "--force"],
        "previous-image": ["services", "rollback"],
    }
    if words == ["last-backup"]:
        raise Refused("`messagebroker backup list` shows the newest backup, `messagebroker backup restore NAME` brings it back")
    if len(words) != 1 or words[0] not in known:
        raise Refused(f"say one of {', '.join(known)} and last-backup")
    return [known[words[0]]]


def _logging_metrics(words: Words) -> list[Words]:
    known: dict[str, list[Words]] = {
        "status": [["services", "status"], ["queue", "stats"]],
        "collect": [["queue", "stats", "--json"]],
    }
    if len(words) != 1 or words[0] not in known:
        raise Refused(
            f"say one of {', '.join(known)}; each role serves /metrics by itself, and its log is in LOG_FILE_PATH"
            " (containers: `docker compose logs --follow`)"
        )
    return known[words[0]]


_INSTALL = _always("services install")
_NO_TASK = "main makes a backup by itself, at BACKUP_SCHEDULE (02:00): a task beside it would make a second one. The newest:"

OLD_NAMES: tuple[OldName, ...] = (
    OldName(path="main_server/init_ca.bat", now="certs init-ca", translate=_always("certs init-ca")),
    OldName(path="main_server/generate_cert.bat", now="certs issue NAME --domain DOMAIN --days DAYS", translate=_generate),
    OldName(path="main_server/renew_cert.bat", now="certs renew NAME", translate=_one_name("certs", "renew")),
    OldName(path="main_server/revoke_cert.bat", now="certs revoke NAME", translate=_one_name("certs", "revoke")),
    OldName(path="main_server/admin_cli.py", now="users create …", translate=_as_it_is),
    OldName(path="deployment/services/install_all_services.ps1", now="services install", translate=_INSTALL),
    OldName(path="deployment/services/install_main_server_service.ps1", now="services install", translate=_INSTALL),
    OldName(path="deployment/services/install_proxy_service.ps1", now="services install", translate=_INSTALL),
    OldName(path="deployment/services/install_worker_service.ps1", now="services install", translate=_INSTALL),
    OldName(path="deployment/services/install_portal_service.ps1", now="services install", translate=_INSTALL),
    OldName(path="deployment/backup/backup.ps1", now="backup create", translate=_always("backup create")),
    OldName(path="deployment/backup/automated_backup.ps1", now="backup create", translate=_always("backup create")),
    OldName(path="deployment/backup/restore.ps1", now="backup restore FILE", translate=_restore),
    OldName(
        path="deployment/backup/install_backup_task.ps1", now="backup list", translate=_always("backup list"), note=_NO_TASK
    ),
    OldName(
        path="deployment/tests/smoke_test.ps1",
        now="services status, smoke",
        translate=_always("services status", "smoke"),
    ),
    OldName(
        path="scripts/monitor.ps1",
        now="services status, queue stats",
        translate=_always("services status", "queue stats"),
        repeat_seconds=30,
    ),
    OldName(path="scripts/health-check.sh", now="health, smoke", translate=_always("health", "smoke")),
    OldName(path="scripts/backup.sh", now="backup create", translate=_always("backup create")),
    OldName(path="scripts/restore.sh", now="backup restore FILE", translate=_restore),
    OldName(path="scripts/logging-metrics.sh", now="services status, queue stats", translate=_logging_metrics),
    OldName(path="scripts/rollback.sh", now="services restart | stop --force | rollback", translate=_rollback),
)
"""The one table."""

BY_PATH = {old.path: old for old in OLD_NAMES}


def find(path: str) -> OldName:
    """The entry of a path, however its separators and letters are written.

    Raises:
        NotFound: nobody knows it.
    """
    wanted = str(PurePosixPath(path.replace("\\", "/"))).lower()
    for old in OLD_NAMES:
        if old.path == wanted:
            return old
    raise NotFound(f"{path} is no old command; `messagebroker old` lists them")


def of_system(system: str) -> Iterator[OldName]:
    """Those whose files are made on Windows or on Linux."""
    return (old for old in OLD_NAMES if old.system == system)
