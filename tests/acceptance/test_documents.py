"""Every command that the documents print exists, and those of the everyday are run as printed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import psutil
import pytest
import typer
from support.documents import ROOT, Command, commands, documents
from support.requests import signing_request
from support.servers import free_port
from support.up import Up

from messagebroker.cli import COMMANDS, build
from messagebroker.http.main.messages import MessageQuery, Status
from messagebroker.roles import ROLES

EVERY = sorted(set(commands()), key=str)
OURS = [command for command in EVERY if command.text.startswith("messagebroker ")]
RECIPES = [command for command in EVERY if ".venv/bin/just" in command.text]


def parse(words: list[str]) -> None:
    """Goes down to the command that `words` name and parses the rest of them, without running anything."""
    command: Any = typer.main.get_command(build(words))
    context = None
    while words and hasattr(command, "commands"):
        if command.invoke_without_command and words[0].startswith("-"):
            return  # a command that has others below it: its own options were parsed with its name
        assert words[0] in command.commands, f"{words[0]} is no command of {command.name}"
        context = command.make_context(words[0], [*words[1:]], parent=context, resilient_parsing=True)
        command, words = command.commands[words[0]], words[1:]
    if not hasattr(command, "commands"):
        command.make_context(command.name, [*words], parent=context)


@pytest.mark.parametrize("command", OURS, ids=str)
def test_the_command_exists_with_its_arguments(command: Command) -> None:
    words = shlex.split(command.text)[1:]
    if command.in_block or len(words) > 2:
        parse(words)
    else:  # a group or a command by its name alone, inside a sentence
        known = {words[0]} & COMMANDS.keys()
        assert known, command
        if len(words) == 2 and words[1].islower() and words[0] != "run":
            assert words[1] in typer.main.get_command(build(words)).commands[words[0]].commands  # type: ignore[attr-defined]


def test_a_wrong_command_would_be_found() -> None:
    for words in (["certs", "issue"], ["certs", "give", "x"], ["users", "create", "a@b"], ["cleanup", "--dry"], ["nothing"]):
        with pytest.raises(Exception, match=r"no command|Missing|No such|unexpected"):
            parse(words)


def test_every_command_of_the_program_is_in_the_documents() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in documents())
    missing = [name for name in COMMANDS if f"messagebroker {name}" not in text]
    assert not missing


@pytest.mark.parametrize("command", RECIPES, ids=str)
def test_the_recipe_exists(command: Command) -> None:
    recipe = shlex.split(command.text)[1:]
    just = Path(sys.executable).parent / "just"
    listed = subprocess.run([just, "--summary"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not recipe or recipe[0] in listed


def test_links_between_documents_lead_somewhere() -> None:
    for path in documents():
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_the_readme_says_how_the_program_is_reached() -> None:
    """Nothing puts it on PATH, so its name alone is not found by those who follow the first screen."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(\S*)messagebroker smoke`", text)) == {".venv/bin/", ".venv\\Scripts\\"}


def test_every_parameter_of_the_list_of_messages_is_in_the_documents() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").partition("## Lists")[2].partition("\n## ")[0]
    assert not [name for name in MessageQuery.__struct_fields__ if f"`{name}`" not in text]
    assert not [status for status in get_args(Status) if f"`{status}`" not in text]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    ports = {role.port_setting.upper(): str(free_port()) for role in ROLES if role.port_setting}
    running = Up(tmp_path_factory.mktemp("up"), **ports)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.end()


@pytest.mark.tier("docs")
@pytest.mark.timeout(200)
def test_the_everyday_commands_work_as_printed(up: Up) -> None:
    everyday = [command for command in commands() if command.mark == "on-up"]
    assert len(everyday) >= 10
    for command in everyday:
        done = up.run(command.text)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.tier("docs")
@pytest.mark.timeout(60)
def test_the_example_sends_a_message_and_says_what_is_missing(up: Up) -> None:
    certs, proxy = up.folder / "messagebroker-data" / "certs", f"https://localhost:{up.environment['PROXY_PORT']}"

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, ROOT / "examples" / "send.py", "guten Tag", *options]
        return subprocess.run(command, cwd=up.folder, env=up.environment, capture_output=True, text=True, timeout=50)

    done = run("--proxy", proxy)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[0-9a-f-]{36} is \w+: guten Tag\n", done.stdout)
    assert "--certs says where" in run("--proxy", proxy, "--certs", str(certs / "nowhere")).stderr
    assert "bootstrap.py up" in run("--proxy", f"https://localhost:{free_port()}").stderr


@pytest.mark.tier("docs")
@pytest.mark.timeout(60)
def test_the_python_of_the_documents_runs_as_printed(up: Up) -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    sending, asking = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    made = up.run("messagebroker users create --email ada@example.org --role admin --password 'a long enough one 1'")
    assert made.returncode == 0, made.stderr
    csr = signing_request().decode()
    given = f"password, csr = 'a long enough one 1', {csr!r}\n"
    for printed, told in ((sending, "message.body"), (given + asking, "issued.name")):
        program = printed.replace(":8000", f":{up.environment['MAIN_SERVER_PORT']}")
        program = program.replace(":8001", f":{up.environment['PROXY_PORT']}")
        done = subprocess.run(
            [sys.executable, "-c", f"{program}print({told})"], cwd=up.folder / "messagebroker-data" / "certs",
            env=up.environment, capture_output=True, text=True, timeout=50,
        )  # fmt: skip
        assert (done.stdout.strip(), done.stderr) in (("hello", ""), ("till-8", "")), done


@pytest.mark.tier("docs")
@pytest.mark.timeout(300)
def test_the_first_command_of_the_readme_works_on_a_clean_checkout(tmp_path: Path) -> None:
    """A copy without what .gitignore names, an environment of its own, free ports."""
    unwanted = (ROOT / ".gitignore").read_text(encoding="utf-8").replace("/", "").split()
    shutil.copytree(ROOT, tmp_path / "clone", ignore=shutil.ignore_patterns(".git", *unwanted))
    ports = {role.port_setting.upper(): str(free_port()) for role in ROLES if role.port_setting}
    environment = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH")}
    with psutil.Popen(
        [sys._base_executable, "bootstrap.py", "up"],  # type: ignore[attr-defined]
        cwd=tmp_path / "clone",
        env={**environment, **ports},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as process:
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(iter(process.stdout.readline, "")))
        reader.start()
        try:
            while "Stop with Ctrl-C.\n" not in said:
                assert process.poll() is None, "".join(said)
                reader.join(0.2)
            curl = next(line for line in said if line.strip().startswith("curl "))
            answer = subprocess.run(shlex.split(curl), cwd="/", capture_output=True, text=True, timeout=30)
            assert '"queued"' in answer.stdout, answer.stderr
        finally:
            process.terminate()
            process.wait(90)
            reader.join()
    assert said[-1] == "stopped\n"
