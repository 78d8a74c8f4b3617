"""Releases in memory, for tests of upgrades: what each says of the schema, what fails, what was done."""

from __future__ import annotations

import json
from collections.abc import Sequence

from support.fake_manager import FakeManager

from messagebroker.errors import Refused
from messagebroker.ops.services.programs import Answer


class FakeReleases:
    """Two migrations at most: release "new" may bring `brings`, which the database has once it was upgraded."""

    def __init__(self, manager: FakeManager, *, brings: Sequence[str] = ()) -> None:
        self.manager = manager
        self.current, self.kept = "old", None
        self.knows = {"older": ["001"], "old": ["001"], "new": ["001", *brings]}
        self.database = ["001"]
        self.fails: set[str] = set()  # "new smoke", "new db upgrade", "settle new", "proxy new"
        self.runs = dict.fromkeys(("main", "proxy", "worker", "scheduler", "portal"), "old")
        self.did: list[str] = []

    def in_use(self) -> str:
        return self.current

    def previous(self) -> str | None:
        return self.kept

    def prepare(self, source: str | None) -> str:
        return source or "new"

    def ask(self, release: str, words: Sequence[str], *, seconds: float) -> Answer:
        asked = " ".join(words).removesuffix(" --json")
        if asked == "db status":
            known = self.knows[release]
            missing = [name for name in known if name not in self.database]
            unknown = [name for name in self.database if name not in known]
            return Answer(1 if missing or unknown else 0, json.dumps({"missing": missing, "unknown": unknown}), "")
        self.did.append(f"{release}: {asked}")
        if f"{release} {asked}" in self.fails:
            return Answer(1, "", f"{asked} did not work")
        if asked == "db upgrade":
            self.database = list(self.knows[release])
        if asked.startswith("backup restore"):
            self.database = ["001"]
        return Answer(0, json.dumps({"path": "/backups/one.zip"}), "")

    def settle(self, release: str) -> None:
        self.did.append(f"settle {release}")
        if f"settle {release}" in self.fails:
            raise Refused(f"settle {release} did not work")

    def use(self, release: str, previous: str | None) -> None:
        self.current, self.kept = release, previous

    def tidy(self) -> None:
        self.did.append("tidy")

    def replace(self, role: str, *, seconds: float) -> None:
        self.runs[role] = self.current
        self.manager.running.add(role)
        self.did.append(f"replace {role}")
        broken = f"{role} {self.current}" in self.fails
        self.manager.unready = {role: "it broke"} if broken else {}
