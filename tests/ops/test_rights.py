from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from messagebroker.errors import ConfigurationError
from messagebroker.ops import rights
from messagebroker.ops.rights import PosixRights, WindowsRights, service_sid
from messagebroker.roles import BY_NAME, ROLES

PROXY = BY_NAME["proxy"]
posix = pytest.mark.skipif(os.name != "posix", reason="modes and owners are POSIX'; Windows has access lists")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that everybody may read and write."""
    folder = tmp_path / "proxy"
    (folder / "certs").mkdir(parents=True)
    for name in ("certs/proxy.key", "certs/proxy.crt", ".env", "policy.snapshot"):
        (folder / name).write_bytes(b"x")
        (folder / name).chmod(0o666)
    for path in (folder, folder / "certs"):
        path.chmod(0o777)
    return folder


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, int, int]]:
    """Files that were given to somebody, with whom; root is not needed for it."""
    calls: list[tuple[Path, int, int]] = []
    found = {role.account: 7001 + number for number, role in enumerate(ROLES)}

    def account(name: str) -> SimpleNamespace:
        return SimpleNamespace(pw_uid=found[name], pw_gid=found[name])

    def give(descriptor: int, uid: int, gid: int) -> None:
        calls.append((Path(f"/proc/self/fd/{descriptor}").readlink(), uid, gid))

    monkeypatch.setattr("pwd.getpwnam", account)
    monkeypatch.setattr("grp.getgrnam", lambda name: SimpleNamespace(gr_gid=7000))
    monkeypatch.setattr(os, "fchown", give)
    return calls


@posix
def test_a_home_is_for_its_role_alone(home: Path) -> None:
    changed = PosixRights(owners=False).home(home, PROXY)
    assert {path.relative_to(home.parent).as_posix() for path in changed} == {
        "proxy", "proxy/certs", "proxy/certs/proxy.key", "proxy/certs/proxy.crt", "proxy/.env", "proxy/policy.snapshot",
    }  # fmt: skip
    assert {mode(home), mode(home / "certs")} == {0o700}
    assert {mode(home / "certs/proxy.key"), mode(home / ".env"), mode(home / "policy.snapshot")} == {0o600}
    assert mode(home / "certs/proxy.crt") == 0o644
    assert PosixRights(owners=False).home(home, PROXY) == []


@posix
def test_root_gives_a_home_to_the_roles_account(home: Path, given: list[tuple[Path, int, int]]) -> None:
    changed = PosixRights(owners=True).home(home, PROXY)
    assert {(path, uid, gid) for path, uid, gid in given} == {(path, 7002, 7002) for path in changed}
    assert len(changed) == 6


@posix
def test_without_the_account_owners_stay(
    home: Path, given: list[tuple[Path, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr("pwd.getpwnam", nobody)
    assert PosixRights(owners=True).home(home, PROXY)
    assert given == []


@posix
def test_what_a_role_linked_into_its_home_keeps_its_rights(home: Path, tmp_path: Path) -> None:
    """A role that was broken into must not get, through root, what is somebody else's."""
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    for name in ("shadow", "passwd", "elsewhere/shadow"):
        (tmp_path / name).write_bytes(b"root's")
        (tmp_path / name).chmod(0o644)
    (home / "link").symlink_to(tmp_path / "shadow")
    (home / "folder").symlink_to(tmp_path / "elsewhere")
    (home / "second name").hardlink_to(tmp_path / "passwd")
    os.mkfifo(home / "pipe")
    changed = PosixRights(owners=False).home(home, PROXY)
    assert {path.name for path in changed}.isdisjoint({"link", "folder", "second name", "pipe", "shadow"})
    assert {mode(tmp_path / name) for name in ("shadow", "passwd", "elsewhere/shadow")} == {0o644}
    assert mode(tmp_path / "elsewhere") == 0o755


@posix
def test_the_root_and_its_settings_can_be_read_by_every_account(tmp_path: Path, given: list[tuple[Path, int, int]]) -> None:
    (tmp_path / ".env").write_bytes(b"LOG_LEVEL=INFO\n")
    for path, narrow in ((tmp_path, 0o700), (tmp_path / ".env", 0o600)):
        path.chmod(narrow)
    assert PosixRights(owners=False).root(tmp_path) == []
    assert PosixRights(owners=True).root(tmp_path) == [tmp_path, tmp_path / ".env"]
    assert (mode(tmp_path), mode(tmp_path / ".env")) == (0o755, 0o644)
    assert PosixRights(owners=True).root(tmp_path) == []


@posix
def test_logs_are_for_the_group_and_nobody_removes_anothers(tmp_path: Path, given: list[tuple[Path, int, int]]) -> None:
    assert PosixRights(owners=True).logs(tmp_path) == [tmp_path]
    assert mode(tmp_path) == 0o1770
    assert [gid for _, _, gid in given] == [7000]
    PosixRights(owners=False).logs(tmp_path)
    assert mode(tmp_path) == 0o700


# Windows


class Icacls:
    """Takes commands down; tells what a path's list is from the last grant."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.lists: dict[str, str] = {}

    def __call__(self, command: Sequence[str]) -> str:
        self.commands.append(list(command))
        if "/grant:r" in command:
            self.lists[command[1]] = " ".join(command[2:])
        return self.lists.get(command[1], "BUILTIN\\Users:(I)(F)")


@pytest.mark.parametrize(
    ("service", "sid"),
    [  # as `sc.exe showsid` tells them
        ("TrustedInstaller", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"),
        ("trustedinstaller", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"),
    ],
)
def test_the_number_of_a_services_account(service: str, sid: str) -> None:
    assert service_sid(service) == sid


def test_on_windows_a_home_is_for_its_service_and_administrators(home: Path) -> None:
    icacls = Icacls()
    assert WindowsRights(run=icacls).home(home, PROXY) == [home]
    grants = [command for command in icacls.commands if "/grant:r" in command]
    assert grants == [[
        "icacls.exe", str(home), "/inheritance:r", "/grant:r", f"*{service_sid('MessageBrokerProxy')}:(OI)(CI)M",
        "*S-1-5-18:(OI)(CI)F", "*S-1-5-32-544:(OI)(CI)F",
    ]]  # fmt: skip
    assert ["icacls.exe", str(home / "*"), "/reset", "/T", "/C", "/Q"] in icacls.commands, "files have rights of their own"
    assert WindowsRights(run=icacls).home(home, PROXY) == [], "nothing changed the second time"


def test_on_windows_an_empty_folder_has_nothing_to_reset(tmp_path: Path) -> None:
    icacls = Icacls()
    WindowsRights(run=icacls).home(tmp_path, PROXY)
    assert not any("/reset" in command for command in icacls.commands)


def test_on_windows_every_service_reads_the_root_and_writes_logs(home: Path) -> None:
    icacls = Icacls()
    WindowsRights(run=icacls).root(home)
    WindowsRights(run=icacls).logs(home)
    read, write = (set(command[4:]) for command in icacls.commands if "/grant:r" in command)
    everybody = {f"*{service_sid(role.service)}" for role in ROLES}
    assert {grant.partition(":")[0] for grant in read} == {grant.partition(":")[0] for grant in write}
    assert {f"{who}:(OI)(CI)RX" for who in everybody} <= read
    assert {f"{who}:(OI)(CI)M" for who in everybody} <= write
    assert sum("/reset" in command for command in icacls.commands) == 1, "the homes inside ROOT keep their own rights"


def test_on_windows_one_account_may_run_every_service(tmp_path: Path) -> None:
    icacls = Icacls()
    WindowsRights(r"EXAMPLE\broker", run=icacls).logs(tmp_path)
    (command,) = (command for command in icacls.commands if "/grant:r" in command)
    assert command[4:] == [r"EXAMPLE\broker:(OI)(CI)M", "*S-1-5-18:(OI)(CI)F", "*S-1-5-32-544:(OI)(CI)F"]


def test_a_refused_command_is_told_with_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="failed: Access is denied; run it as administrator"):
        rights._run([sys.executable, "-c", "import sys; sys.exit('Access is denied')"])
