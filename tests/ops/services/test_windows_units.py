"""What Windows' service manager is told, and the command line that it starts."""

from __future__ import annotations

from pathlib import PureWindowsPath

import pytest

from messagebroker.cli import windows_service
from messagebroker.ops.services import windows_units
from messagebroker.ops.services.plan import PLAN_OF, PLANS
from messagebroker.ops.services.windows_servers import local_servers, program
from messagebroker.settings import Settings, load

ROOT = PureWindowsPath(r"C:\MessageBroker")
PYTHON = PureWindowsPath(r"C:\MessageBroker\releases\1\Scripts\python.exe")
SERVERS = {"mysql": "MySQL84", "redis": "Memurai"}
MYSQL = r'"C:\Program Files\MySQL\MySQL Server 8.4\bin\mysqld.exe" --defaults-file="C:\ProgramData\my.ini" MySQL84'
MEMURAI = r'"C:\Program Files\Memurai\memurai.exe" --service-run "C:\Program Files\Memurai\memurai.conf" --service-name Memurai'


def unit(role: str, **changes: object) -> windows_units.WindowsUnit:
    given = {"root": ROOT, "python": PYTHON, "servers": SERVERS, **changes}
    return windows_units.unit(PLAN_OF[role], **given)  # type: ignore[arg-type]


def test_the_roles_wait_for_each_other_and_for_the_servers_under_their_names_here() -> None:
    assert unit("main").needs == ("MySQL84", "Memurai")
    assert unit("proxy").needs == ("Memurai", "MessageBrokerMainServer")
    assert unit("worker").needs == ("MySQL84", "Memurai", "MessageBrokerScheduler")
    assert unit("portal").needs == ("MessageBrokerMainServer",)


def test_what_runs_elsewhere_is_not_waited_for() -> None:
    assert unit("worker", servers={}).needs == ("MessageBrokerScheduler",)


def test_each_has_an_account_of_its_own_unless_one_is_named() -> None:
    accounts = {one.account for one in windows_units.units(ROOT, PYTHON, SERVERS)}
    assert len(accounts) == len(PLANS)
    assert rf"NT SERVICE\{PLAN_OF['proxy'].name}" in accounts
    assert {one.account for one in windows_units.units(ROOT, PYTHON, SERVERS, r"EXAMPLE\broker$")} == {r"EXAMPLE\broker$"}


def test_the_command_line_is_read_back_by_its_program() -> None:
    for one in windows_units.units(ROOT, PYTHON, SERVERS):
        found, isolated, module, name, *rest = windows_units.words(one.image)
        assert (found, isolated, module, name) == (str(PYTHON), "-I", "-m", windows_service.__name__)
        read = windows_service.arguments(rest)
        plan = PLAN_OF[one.role]
        assert ((read.verb, read.role), str(read.root)) == (plan.command, str(ROOT))
        assert read.variables == [f"DATA_DIR={ROOT / plan.folder}"]


def test_blanks_in_paths_stay_one_word_and_the_program_is_quoted() -> None:
    """Of an unquoted path Windows tries each word as a program."""
    one = unit("proxy", root=PureWindowsPath(r"D:\Our Broker"), python=PureWindowsPath(r"C:\Program Files\Python\python.exe"))
    assert one.image.startswith('"C:\\Program Files\\Python\\python.exe" ')
    read = windows_service.arguments(windows_units.words(one.image)[4:])
    assert (str(read.root), read.variables) == (r"D:\Our Broker", [r"DATA_DIR=D:\Our Broker\proxy"])
    assert unit("proxy").image.startswith(f'"{PYTHON}" ')


def settings_of(**values: str) -> Settings:
    return load({name.upper(): value for name, value in values.items()})


LOCAL = {"database_url": "mysql://u:p@localhost/message_system", "redis_host": "127.0.0.1"}


def test_servers_are_found_by_their_programs_whatever_their_names() -> None:
    images = {"Database": MYSQL, "Queue": MEMURAI, "Spooler": r"C:\Windows\System32\spoolsv.exe"}
    assert local_servers(settings_of(**LOCAL), images, lambda name: ()) == {"mysql": "Database", "redis": "Queue"}


def test_of_several_the_one_on_the_port_is_meant() -> None:
    images = {"MariaDB": r"C:\MariaDB\bin\mysqld.exe MariaDB", "MySQL80": MYSQL, "Memurai": MEMURAI}
    ports = {"MariaDB": {3307}, "MySQL80": {3306, 33060}}
    found = local_servers(settings_of(**LOCAL), images, lambda name: ports.get(name, ()))
    assert found["mysql"] == "MySQL80"


def test_a_server_on_another_machine_is_no_service_here() -> None:
    settings = settings_of(database_url="mysql://u:p@db.example.org/message_system", redis_url="redis://10.0.0.7:6379/0")
    assert local_servers(settings, {"MySQL84": MYSQL, "Memurai": MEMURAI}, lambda name: ()) == {}


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (MYSQL, "mysqld.exe"),
        (r"C:\Program Files\MySQL\bin\mysqld.exe --defaults-file=x MySQL", "mysqld.exe"),
        (r"C:\redis\REDIS-SERVER.EXE --service-run", "redis-server.exe"),
        (r"\SystemRoot\System32\drivers\x.sys", "x.sys"),
        ("", ""),
    ],
)
def test_the_program_of_a_command_line(image: str, name: str) -> None:
    assert program(image) == name
