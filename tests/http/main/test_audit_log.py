from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from support.cast import Cast, assert_problem, audited

from messagebroker.ops import audit, audit_export

PATH = "/api/v1/audit"


def test_newest_first_page_by_page(cast: Cast) -> None:
    for number in range(5):
        audit.record("cli:test", "test.act", "thing", str(number), details={"number": number})
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = cast.get(PATH, "admin", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json
        seen += [row["object_id"] for row in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == ["4", "3", "2", "1", "0"]
    oldest = cast.get(PATH, "admin", params={"order": "asc", "limit": 1}).json
    assert oldest["items"][0]["details"] == {"number": 0}
    following = cast.get(PATH, "admin", params={"order": "asc", "limit": 1, "cursor": oldest["next"]}).json
    assert following["items"][0]["object_id"] == "1"


@pytest.mark.parametrize(("role", "status"), [("admin", 200), ("operator", 403), ("user_manager", 403), ("user", 403)])
def test_who_may(cast: Cast, role: str, status: int) -> None:
    assert cast.get(PATH, role).status_code == status


@pytest.mark.parametrize(
    "query",
    [
        "cursor=AAAA",
        "cursor=" + "_" * 11,
        "cursor=" + "_" * 23,
        "limit=0",
        "who=cli:test",
        "action=a%20b",
        "since=yesterday",
        "since=2026-01-01T00:00:00",
        "actor=",
        "object_type=%C3%A4&object_id=1",
    ],
)
def test_bad_parameters(cast: Cast, query: str) -> None:
    assert_problem(cast.get(PATH, "admin", query_string=query), 400, "invalid-parameter")


def test_filters(cast: Cast) -> None:
    audit.record("user:eve@example.org", "user.login", "user", "7")
    audit.record("cli:test", "user.login", "user", "8")
    audit.record("cli:test", "user.logout", "user", "7")

    def found(**params: Any) -> list[tuple[str, str]]:
        answer = cast.get(PATH, "admin", params=params)
        assert answer.status_code == 200, answer.text
        return [(row["action"], row["object_id"]) for row in answer.json["items"]]

    assert found(actor="cli:test") == [("user.logout", "7"), ("user.login", "8")]
    assert found(action="user.login") == [("user.login", "8"), ("user.login", "7")]
    assert found(object_type="user", object_id="7", order="asc") == [("user.login", "7"), ("user.logout", "7")]
    assert len(found(since="2020-01-01T00:00:00Z", until="9999-12-31T23:59:59-12:00")) == 3
    assert found(until="0001-01-01T00:00:00+12:00") == []
    assert found(actor="' OR '1'='1") == found(actor="cli:tes_") == []
    problem = assert_problem(cast.get(PATH, "admin", params={"actor": "a", "action": "b"}), 400, "filter-not-indexed")
    assert "give one of actor, action, or object_type with object_id" in problem["detail"]


@pytest.mark.parametrize(("role", "status"), [("admin", 200), ("operator", 403), ("user_manager", 403), ("user", 403)])
def test_who_may_export(cast: Cast, role: str, status: int) -> None:
    assert cast.get(PATH + "/export", role).status_code == status
    assert len(audited("audit.export")) == (status == 200)


EVIL = {
    "=cmd|' /C calc'!A0": "'=cmd|' /C calc'!A0", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t'=1",
    "\r=1": "'\r'=1", "x;=HYPERLINK(1)": "x;'=HYPERLINK(1)", 'x; "=1': "x; \"'=1", "a\t+1": "a\t'+1", "a\n@b": "a\n'@b",
    "a;=1;-2": "a;'=1;'-2", " =1": "' =1", '"=1': "'\"=1",
    **{harmless: harmless for harmless in ("'=1", "a,b;c", 'quo"te', "line\nend", "a=b;c=d", "x-1; y+2")},
}  # fmt: skip
"""What strangers write, and how it stands in a cell."""


def test_formulas_in_an_export_are_only_text(cast: Cast) -> None:
    for text in EVIL:
        audit.record(text, "test.act", "thing", text, None, text, {"=1": text})
    answer = cast.get(PATH + "/export", "admin", params={"action": "test.act"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [row["actor"] for row in rows] == list(EVIL.values())
    for separator in ",;\t":  # whatever a spreadsheet's language takes for one
        for row in csv.reader(io.StringIO(answer.text, newline=""), delimiter=separator):
            assert not [cell for cell in row if cell.lstrip(' "').startswith(("=", "+", "-", "@"))]


def test_every_cell_is_quoted(cast: Cast) -> None:
    audit.record("cli:test", "test.act", "thing", "1")
    answer = cast.get(PATH + "/export", "admin", params={"action": "test.act"})
    for line in answer.text.splitlines():
        assert re.fullmatch(r'("[^"]*",){8}"[^"]*"', line), line


def test_json_lines_hold_what_was_written(cast: Cast) -> None:
    for text in EVIL:
        audit.record(text, "test.act", "thing", text, None, None, {"text": text})
    answer = cast.get(PATH + "/export", "admin", params={"action": "test.act", "format": "jsonl"})
    assert answer.headers["content-type"] == "application/jsonl"
    rows = [json.loads(line) for line in answer.text.split("\n") if line]
    assert [(row["actor"], row["details"]["text"]) for row in rows] == [(text, text) for text in EVIL]


def test_an_export_is_of_any_length_and_leaves_a_row(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_export, "_AT_ONCE", 4)
    for number in range(11):
        audit.record("cli:test", "test.act", "thing", str(number))
    answer = cast.get(PATH + "/export", "admin", params={"actor": "cli:test"})
    assert [row["object_id"] for row in csv.DictReader(answer.text.splitlines())] == [str(number) for number in range(11)]
    [row] = audited("audit.export")
    assert row.actor == "user:admin@example.org"
    assert json.loads(row.details)["actor"] == "cli:test"
    assert_problem(cast.get(PATH + "/export", "admin", params={"object_type": "x"}), 400, "filter-not-indexed")
    assert_problem(cast.get(PATH + "/export", "admin", params={"format": "xml"}), 400, "invalid-parameter")
