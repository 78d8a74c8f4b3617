"""Access lists of Windows, through icacls: seen as they are, corrected where they differ, and looked at again."""

from __future__ import annotations

import hashlib
import re
import struct
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from messagebroker.errors import ConfigurationError
from messagebroker.ops import junctions
from messagebroker.roles import ROLES, Role

SYSTEM, ADMINISTRATORS = "S-1-5-18", "S-1-5-32-544"
"""By number: the names are translated in other languages' Windows."""

READ, MODIFY, FULL = "RX", "M", "F"
_IN_LISTS = {READ: "0x1200a9", MODIFY: "0x1301bf", FULL: "FA"}
_BY_LETTERS = {"SY": SYSTEM, "BA": ADMINISTRATORS}
_ANYBODY = {"WD", "AU", "BU", "IU"}  # everyone, who has logged on, users, who sits there
_ENTRY = re.compile(r"\((\w+);(\w*);(\w+);[^;]*;[^;]*;([\w-]+)\)")

Run = Callable[[Sequence[str]], None]
Rule = tuple[str, str]
"""(the number of an account, its right)"""

_log = structlog.get_logger("messagebroker.rights")


class WindowsRights:
    """A service is named by its number, which exists before the service does, and which it has whatever its account is.

    Args:
        run: carries out a command; for tests.
    """

    def __init__(self, run: Run | None = None) -> None:
        self._run = run or _run

    def root(self, folder: Path) -> list[Path]:
        """Every role may read and execute; below C:\\ every user of the machine could write, which ends here."""
        self._run(["icacls.exe", str(folder), "/setowner", f"*{ADMINISTRATORS}", "/Q"])  # an owner may change the list again
        return self._given(folder, [(who, READ) for who in _everybody()], deep=False)

    def home(self, folder: Path, role: Role) -> list[Path]:
        """The role may modify, administrators everything, nobody else anything; children inherit it."""
        return self._given(folder, [(service_sid(role.service), MODIFY)], deep=True)

    def logs(self, folder: Path) -> list[Path]:
        """Every role may modify what is in it."""
        return self._given(folder, [(who, MODIFY) for who in _everybody()], deep=True)

    def tool(self, file: Path, role: Role) -> list[Path]:
        """A file in a role's home that administrators run: the role may read it, so that it cannot have them run its own."""
        wanted = [(service_sid(role.service), READ), (SYSTEM, FULL), (ADMINISTRATORS, FULL)]
        lists = self._lists(file, deep=False)
        text = (lists or {}).get(file.name, "")
        if _is_protected(text) and _entries(text) == {("A", "", _IN_LISTS[right], who) for who, right in wanted}:
            return []
        self._run(["icacls.exe", str(file), "/reset", "/Q"])
        grants = [f"*{who}:{right}" for who, right in wanted]
        self._run(["icacls.exe", str(file), "/inheritance:r", "/grant:r", *grants, "/Q"])
        return [file] if lists is not None else []

    def guest(self, folder: Path) -> list[Path]:
        """Administrators; whom they let in beside them stays, unless that is everybody."""
        full = {("A", "OICI", "FA", who) for who in (SYSTEM, ADMINISTRATORS)}
        text = (self._lists(folder, deep=False) or {}).get(folder.name, "")
        own = _entries(text)
        if _is_protected(text) and full <= own and not {who for *_, who in own} & _ANYBODY:
            return []
        return self._given(folder, [], deep=True)

    def _given(self, folder: Path, rules: Sequence[Rule], *, deep: bool) -> list[Path]:
        wanted = [*rules, (SYSTEM, FULL), (ADMINISTRATORS, FULL)]
        if deep:  # icacls walks through them
            junctions.refuse(folder)
        wrong = self._wrong(folder, wanted, deep)
        if wrong == []:
            return []
        self._run(["icacls.exe", str(folder), "/reset", "/Q"])  # what somebody else was given goes too
        grants = [f"*{who}:(OI)(CI){right}" for who, right in wanted]
        self._run(["icacls.exe", str(folder), "/inheritance:r", "/grant:r", *grants, "/Q"])
        if deep and any(folder.iterdir()):  # children hold nothing of their own, they inherit
            self._run(["icacls.exe", str(folder / "*"), "/reset", "/T", "/C", "/Q"])
        if wrong is None:
            _log.warning("the rights were set, but this system does not show them", folder=str(folder))
            return []
        if still := self._wrong(folder, wanted, deep):
            raise ConfigurationError(
                f"the rights of {still[0]} stay wrong; run this as administrator, and see `icacls {still[0]}`"
            )
        return wrong

    def _wrong(self, folder: Path, wanted: Sequence[Rule], deep: bool) -> list[Path] | None:
        """The paths whose lists are not as they have to be; None where icacls does not tell (it does nothing under Wine)."""
        lists = self._lists(folder, deep)
        if lists is None:
            return None
        expected: set[tuple[str, ...]] = {("A", "OICI", _IN_LISTS[right], who) for who, right in wanted}
        return [folder.parent / name for name, text in lists.items() if not _fits(text, expected, own=name == folder.name)]

    def _lists(self, folder: Path, deep: bool) -> dict[str, str] | None:
        with tempfile.TemporaryDirectory() as place:
            saved = Path(place) / "rights"
            self._run(["icacls.exe", str(folder), "/save", str(saved), *(["/T"] if deep else []), "/C", "/Q"])
            return parse(saved.read_bytes().decode("utf-16-le")) if saved.exists() else None


def parse(saved: str) -> dict[str, str]:
    """Path from the folder above -> its list, of what `icacls /save` wrote."""
    lines = [line for line in saved.lstrip("\ufeff").splitlines() if line.strip()]
    return dict(zip(lines[::2], lines[1::2], strict=True))


def _fits(text: str, expected: set[tuple[str, ...]], *, own: bool) -> bool:
    """Whether the folder has exactly what is expected and inherits nothing, or what is in it has nothing but the inherited.

    A tool in it has less than that.
    """
    entries = _entries(text)
    if own:
        return _is_protected(text) and entries == expected
    if _is_protected(text):
        return all(right == _IN_LISTS[READ] or who in (SYSTEM, ADMINISTRATORS) for _, _, right, who in entries)
    return bool(entries) and all("ID" in flags for _, flags, _, _ in entries)


def _entries(text: str) -> set[tuple[str, ...]]:
    return {(kind, flags, right, _BY_LETTERS.get(who, who)) for kind, flags, right, who in _ENTRY.findall(text)}


def _is_protected(text: str) -> bool:
    """Whether it inherits nothing."""
    return "P" in text.partition("D:")[2].partition("(")[0]


def _everybody() -> list[str]:
    return [service_sid(role.service) for role in ROLES]


def service_sid(service: str) -> str:
    """The number of `NT SERVICE\\NAME`: Windows computes it from the name alone (`sc.exe showsid NAME` shows it)."""
    digest = hashlib.sha1(service.upper().encode("utf-16-le"), usedforsecurity=False).digest()
    return "-".join(["S-1-5-80", *map(str, struct.unpack("<5I", digest))])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, timeout=120, encoding="utf-8", errors="replace")
    if done.returncode:
        raise ConfigurationError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()}; run it as administrator")
