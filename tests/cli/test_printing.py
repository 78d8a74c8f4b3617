"""Tables of commands: lines for people and for `grep`."""

from __future__ import annotations

import pytest
from rich.table import Table

from messagebroker.cli.printing import print_table

ERROR = "the receiver answered 503 " + "and went on " * 20 + "to its end"


def test_no_column_is_cut_however_narrow_the_terminal_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table = Table("message", "subscription", "error")
    table.add_row("0190f3c2-7d5e-7c3a-9b1e-2f6d5a4b3c2d", "7 shop", ERROR)
    print_table(table)
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["message", "subscription", "error"]
    assert row.split(maxsplit=3) == ["0190f3c2-7d5e-7c3a-9b1e-2f6d5a4b3c2d", "7", "shop", ERROR]


def test_what_a_receiver_answered_does_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("error")
    table.add_row("550 [/nowhere] :bomb: [red]x \x1b[2Jgone\x07")
    print_table(table)
    assert capsys.readouterr().out == "error\n550 [/nowhere] :bomb: [red]x  [2Jgone\n"


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(Table("message"), "no dead letters")
    assert capsys.readouterr().out == "no dead letters\n"
