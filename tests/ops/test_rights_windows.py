"""Access lists of Windows, against an icacls that keeps lists as the real one writes them down."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from messagebroker.errors import ConfigurationError, Refused
from messagebroker.ops import junctions, rights_windows
from messagebroker.ops.rights_windows import WindowsRights, service_sid
from messagebroker.roles import BY_NAME, ROLES

PROXY = BY_NAME["proxy"]
PROXY_SID = service_sid(PROXY.service)
FULL = "(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
OF_A_HOME = f"D:PAI(A;OICI;0x1301bf;;;{PROXY_SID}){FULL}"
INHERITED = f"D:AI(A;ID;0x1301bf;;;{PROXY_SID})(A;ID;FA;;;SY)(A;ID;FA;;;BA)"
EVERYBODY_WRITES = "D:AI(A;OICIID;0x1301bf;;;AU)(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)"
_HEX = {"M": "0x1301bf", "RX": "0x1200a9", "F": "FA"}


class Icacls:
    """Keeps the lists of paths; `deaf`: takes commands and does nothing, as a stub does."""

    def __init__(self, *, deaf: bool = False, obedient: bool = True) -> None:
        self.commands: list[list[str]] = []
        self.lists: dict[Path, str] = {}
        self.deaf, self.obedient = deaf, obedient

    def __call__(self, command: Sequence[str]) -> None:
        self.commands.append(list(command))
        path = Path(command[1])
        if self.deaf:
            return
        if "/save" in command:
            deep = sorted(path.rglob("*")) if "/T" in command else []
            lines = [
                line for one in (path, *deep) for line in (str(one.relative_to(path.parent)), self.lists.get(one, INHERITED))
            ]
            Path(command[3]).write_bytes("".join(f"{line}\r\n" for line in lines).encode("utf-16-le"))
        elif "/grant:r" in command and self.obedient:
            grants = [word.split(":") for word in command if word.startswith("*")]
            self.lists[path] = "D:PAI"
            for who, rights in grants:
                flags = "OICI" if rights.startswith("(OI)") else ""
                self.lists[path] += f"(A;{flags};{_HEX[rights.removeprefix('(OI)(CI)')]};;;{who.removeprefix('*')})"
        elif path.name == "*":
            self.lists = {one: text for one, text in self.lists.items() if path.parent not in one.parents}

    @property
    def changes(self) -> list[list[str]]:
        return [command for command in self.commands if "/save" not in command]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "proxy"
    (folder / "certs").mkdir(parents=True)
    (folder / "certs" / "proxy.key").write_bytes(b"x")
    return folder


@pytest.mark.parametrize("name", ["TrustedInstaller", "trustedinstaller"])
def test_the_number_of_a_services_account(name: str) -> None:
    """As `sc.exe showsid TrustedInstaller` tells it."""
    assert service_sid(name) == "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"


def test_a_home_is_for_its_service_and_administrators(home: Path) -> None:
    icacls = Icacls()
    icacls.lists[home] = EVERYBODY_WRITES
    assert WindowsRights(icacls).home(home, PROXY) == [home]
    assert icacls.changes == [
        ["icacls.exe", str(home), "/reset", "/Q"],
        [
            "icacls.exe", str(home), "/inheritance:r", "/grant:r", f"*{PROXY_SID}:(OI)(CI)M", "*S-1-5-18:(OI)(CI)F",
            "*S-1-5-32-544:(OI)(CI)F", "/Q",
        ],
        ["icacls.exe", str(home / "*"), "/reset", "/T", "/C", "/Q"],
    ]  # fmt: skip


def test_rights_that_are_as_they_have_to_be_are_not_touched(home: Path) -> None:
    icacls = Icacls()
    icacls.lists[home] = OF_A_HOME
    assert WindowsRights(icacls).home(home, PROXY) == []
    assert icacls.changes == []


@pytest.mark.parametrize(
    "wrong",
    [
        f"D:PAI(A;OICI;0x1301bf;;;{PROXY_SID})(A;OICI;FA;;;WD){FULL}",  # somebody else too
        f"D:PAI(A;OICI;FA;;;{PROXY_SID}){FULL}",  # too much
        f"D:PAI{FULL}",  # too little
        f"D:AI(A;OICI;0x1301bf;;;{PROXY_SID}){FULL}",  # inherits what ROOT has
        f"D:PAI(A;OICI;0x1301bf;;;{service_sid('MessageBrokerWorker')}){FULL}",  # another role's
    ],
)
def test_every_wrong_list_is_healed(home: Path, wrong: str) -> None:
    icacls = Icacls()
    icacls.lists[home] = wrong
    assert WindowsRights(icacls).home(home, PROXY) == [home]
    assert WindowsRights(icacls).home(home, PROXY) == []


def test_a_file_with_rights_of_its_own_is_healed(home: Path) -> None:
    icacls = Icacls()
    icacls.lists = {home: OF_A_HOME, home / "certs" / "proxy.key": f"D:AI(A;;FA;;;BU){INHERITED.removeprefix('D:AI')}"}
    assert WindowsRights(icacls).home(home, PROXY) == [home / "certs" / "proxy.key"]
    assert WindowsRights(icacls).home(home, PROXY) == []


def test_every_service_reads_the_root_and_the_homes_in_it_keep_their_own_rights(home: Path) -> None:
    icacls = Icacls()
    icacls.lists = {home.parent: EVERYBODY_WRITES, home: OF_A_HOME}
    assert WindowsRights(icacls).root(home.parent) == [home.parent]
    (grant,) = (command for command in icacls.changes if "/grant:r" in command)
    assert {f"*{service_sid(role.service)}:(OI)(CI)RX" for role in ROLES} < set(grant)
    assert icacls.lists[home] == OF_A_HOME
    assert not any("/T" in command for command in icacls.commands)


def test_every_service_writes_logs(tmp_path: Path) -> None:
    icacls = Icacls()
    icacls.lists[tmp_path] = EVERYBODY_WRITES
    assert WindowsRights(icacls).logs(tmp_path) == [tmp_path]
    (grant,) = (command for command in icacls.changes if "/grant:r" in command)
    assert {f"*{service_sid(role.service)}:(OI)(CI)M" for role in ROLES} < set(grant)


@pytest.mark.parametrize("others", ["", "(A;OICI;0x1200a9;;;S-1-5-80-1-2-3-4-5)"])
def test_whom_administrators_let_into_a_guests_folder_stays(home: Path, others: str) -> None:
    icacls = Icacls()
    icacls.lists[home] = f"D:PAI{FULL}{others}"
    assert WindowsRights(icacls).guest(home) == []
    for wrong in (EVERYBODY_WRITES, f"D:PAI{FULL}{others}(A;OICI;0x1200a9;;;BU)"):
        icacls.lists[home] = wrong
        assert WindowsRights(icacls).guest(home) == [home]
        assert icacls.lists[home] == "D:PAI(A;OICI;FA;;;S-1-5-18)(A;OICI;FA;;;S-1-5-32-544)"


def test_rights_that_stay_wrong_are_an_error(home: Path) -> None:
    icacls = Icacls(obedient=False)
    icacls.lists[home] = EVERYBODY_WRITES
    with pytest.raises(ConfigurationError, match=r"the rights of .*proxy stay wrong; run this as administrator"):
        WindowsRights(icacls).home(home, PROXY)


def test_a_system_that_does_not_tell_is_not_believed(home: Path) -> None:
    icacls = Icacls(deaf=True)
    with capture_logs() as said:
        assert WindowsRights(icacls).home(home, PROXY) == []
    assert any("/grant:r" in command for command in icacls.commands)
    assert [(one["log_level"], "does not show them" in one["event"]) for one in said] == [("warning", True)]


def test_a_refused_command_is_told_with_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="failed: Access is denied; run it as administrator"):
        rights_windows._run([sys.executable, "-c", "import sys; sys.exit('Access is denied')"])


def test_a_role_may_read_the_tools_in_its_home_and_not_change_them(home: Path) -> None:
    icacls = Icacls()
    rights = WindowsRights(icacls)
    tool = home / "generate_cert.bat"
    tool.write_text("@rem", encoding="utf-8")
    rights.home(home, PROXY)
    assert rights.tool(tool, PROXY) == [tool]
    assert icacls.lists[tool] == f"D:PAI(A;;0x1200a9;;;{PROXY_SID})(A;;FA;;;S-1-5-18)(A;;FA;;;S-1-5-32-544)"
    assert rights.tool(tool, PROXY) == []
    assert rights.home(home, PROXY) == [], "what has less than its folder gives is not wrong"
    icacls.lists[tool] = f"D:PAI(A;;0x1301bf;;;{PROXY_SID})(A;;FA;;;SY)(A;;FA;;;BA)"
    assert rights.home(home, PROXY) == [tool]


def test_a_junction_in_a_home_is_refused_before_icacls_walks_through_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "certs" / "x").mkdir(parents=True)
    monkeypatch.setattr(junctions, "_tag", lambda path: 0xA0000003 if path.name == "x" else 0)
    icacls = Icacls()
    with pytest.raises(Refused, match="leads elsewhere by a junction"):
        WindowsRights(icacls).home(home, PROXY)
    assert icacls.commands == []


def test_the_root_belongs_to_administrators(tmp_path: Path) -> None:
    icacls = Icacls()
    WindowsRights(icacls).root(tmp_path)
    assert icacls.commands[0][2:4] == ["/setowner", "*S-1-5-32-544"]
