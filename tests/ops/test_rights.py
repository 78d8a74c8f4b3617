from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from messagebroker.ops.rights import PosixRights
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
def test_a_guests_files_belong_to_the_owner_of_the_folder(home: Path, given: list[tuple[Path, int, int]]) -> None:
    PosixRights(owners=True).guest(home)
    assert given == [], "they do already"
    assert mode(home / "certs/proxy.key") == 0o600


@posix
def test_a_folder_that_cannot_be_read_is_no_success(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: object, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(PermissionError):
        PosixRights(owners=False).home(home, PROXY)


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
