"""The table of permissions that people read is the one that decides."""

from __future__ import annotations

import re
from pathlib import Path

from messagebroker.ops.permissions import PERMISSIONS, ROLES, Permission

TEXT = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")


def test_the_documents_show_the_table() -> None:
    heading = re.search(r"^\| permission \| what it allows \|(.+)\|$", TEXT, re.MULTILINE)
    assert heading
    assert [cell.strip() for cell in heading[1].split("|")] == list(ROLES)
    rows = re.findall(r"^\| `([a-z_.]+)` \| [^|]+ \|(.+)\|$", TEXT, re.MULTILINE)
    shown = {name: [cell.strip() == "yes" for cell in cells.split("|")] for name, cells in rows}
    assert shown == {
        permission.value: [permission in PERMISSIONS[role] for role in ROLES] for permission in Permission
    }  # fmt: skip
