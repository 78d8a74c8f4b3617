"""The scripts for Windows, read as PowerShell reads them; what only running them shows is in docs/windows.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_powershell
import typer
from typer.main import get_command

from messagebroker.cli import build
from messagebroker.ops import old_files
from messagebroker.ops.old_names import WINDOWS

SCRIPTS = Path(__file__).parents[2] / "windows"
CALLS = {
    "install.ps1": ("windows install",),
    "uninstall.ps1": ("windows uninstall",),
    "upgrade.ps1": ("services upgrade", "services rollback"),
    "check.ps1": ("services install", "services stop", "services start", "smoke", "run"),
}
NOT_IN_51 = {"&&": r"[^&]&&[^&]", "||": r"\|\|", "??": r"\?\?", "ternary": r"\?\s[^|{}()]+\s:\s", "-Parallel": r"-Parallel\b"}
"""What PowerShell 5.1, which is on every server, does not know yet."""


def mistakes(text: str) -> list[str]:
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    return list(_wrong(parser.parse(text.encode()).root_node))


def _wrong(node: tree_sitter.Node) -> Iterator[str]:
    if node.is_error or node.is_missing:
        yield f"line {node.start_point.row + 1}: {node.text.decode()[:60] if node.text else node.type}"
    for child in node.children:
        yield from _wrong(child)


def test_a_mistake_is_found() -> None:
    assert mistakes("if ($a { 1 }")
    assert not mistakes("if ($a) { 1 }")


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.ps1")))
def test_every_script_is_whole(script: str) -> None:
    text = (SCRIPTS / script).read_text(encoding="ascii")  # PowerShell 5.1 reads anything else in the machine's code page
    assert mistakes(text) == []
    code = re.sub(r"<#.*?#>|'[^']*'|\"[^\"]*\"|#[^\n]*", "", text, flags=re.DOTALL)
    assert [what for what, pattern in NOT_IN_51.items() if re.search(pattern, code)] == []


def test_every_script_that_is_made_is_whole(tmp_path: Path) -> None:
    old_files.write(tmp_path, Path(r"C:\Program Files\Python311\python.exe"), WINDOWS)
    made = list(tmp_path.rglob("*.ps1"))
    assert len(made) > 5
    assert [(path.name, mistakes(path.read_text(encoding="utf-8-sig"))) for path in made] == [(path.name, []) for path in made]


@pytest.mark.parametrize("script", CALLS)
def test_the_options_that_a_script_passes_exist(script: str) -> None:
    text = (SCRIPTS / script).read_text(encoding="ascii")
    passed = set(re.findall(r"'(--[a-z-]+)'", text))
    assert passed or script == "check.ps1"
    taken = {option for call in CALLS[script] for option in options(call.split())}
    assert passed - taken == set()
    for call in CALLS[script]:
        assert all(f"'{word}'" in text for word in call.split()), call


def options(words: list[str]) -> Iterator[str]:
    command = get_command(build(words))
    context = typer.Context(command)
    for name in words:
        found = command.get_command(context, name)  # type: ignore[attr-defined]
        assert found is not None, words
        command, context = found, typer.Context(found, info_name=name, parent=context)
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
