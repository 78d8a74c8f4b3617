"""Upgrades that go back by themselves: a new release is made beside the old one, one role after another changes to it, and a
message that goes all the way is the proof.

Without a change of the database's schema nothing stands still. With one, the roles that use the database stop for a backup and
the migration; proxies go on accepting meanwhile, as they need Redis alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from messagebroker.errors import BrokerError, Refused, Unavailable
from messagebroker.ops.services.manager import Manager
from messagebroker.ops.services.order import start_order, stop_order
from messagebroker.ops.services.plan import HEALTH_WAIT_SECONDS, PLAN_OF
from messagebroker.ops.services.releases import Releases
from messagebroker.ops.services.verbs import Tell
from messagebroker.settings import WITH_DATABASE

ASK_SECONDS = 120.0
REFUSED = 1
"""The exit code of a command that was refused, and changed nothing."""

MIGRATION_SECONDS = 4 * 3600.0
"""Of a backup or a migration: large tables take their time, and nobody wants them to be cut off."""


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The database's schema as one release sees it."""

    missing: tuple[str, ...]  # migrations that the release brings
    unknown: tuple[str, ...]  # migrations of a newer one


class Upgrade:
    """Changes the release that a home's roles run.

    Args:
        manager: of the home.
        releases: of the home.
        tell: gets a sentence for a person, as things happen.
        wait: seconds that a role may take to become ready.
    """

    def __init__(
        self, manager: Manager, releases: Releases, tell: Tell = lambda text: None, wait: float = HEALTH_WAIT_SECONDS
    ) -> None:
        self._manager = manager
        self._releases = releases
        self._tell = tell
        self._wait = wait

    def upgrade(self, source: str | None = None) -> None:
        """To the release that is made from `source`.

        Raises:
            Refused: it could not be made, or it failed and the one before runs again.
            Unavailable: it failed and going back is up to the operator; the message says how.
        """
        old = self._releases.in_use()
        new = self._releases.prepare(source)
        if new == old:
            self._tell(f"{old} is in use already, there is nothing to do")
            return
        self._tell(f"{new} is made; in use is {old}")
        schema = self._schema(new)
        if schema.unknown:
            raise Refused(f"{new} does not know {', '.join(schema.unknown)} of the database: it is older than {old}")
        if schema.missing:
            self._migrate(old, new, schema)
        else:
            self._change(old, new)
        self._releases.tidy()
        self._tell(f"{new} is in use; `messagebroker services rollback` goes back to {old}")

    def rollback(self, backup: str | None = None) -> None:
        """To the release before.

        Args:
            backup: of the database as that release knew it: what was stored since is lost (the restore keeps a copy).

        Raises:
            Refused: there is none, or the database's schema is newer than it and there is no backup; nothing was changed.
            Unavailable: it failed and going on is up to the operator; the message says how.
        """
        old, previous = self._releases.in_use(), self._releases.previous()
        if previous is None:
            raise Refused(f"no release before {old} is kept here")
        unknown = self._schema(previous).unknown
        if unknown and backup is None:
            raise Refused(
                f"{previous} does not know {', '.join(unknown)}, which the database has since the upgrade. To go back all the"
                " same, and lose what was stored since: `messagebroker services rollback --restore BACKUP` with the backup that"
                " the upgrade made (`messagebroker backup list`)"
            )
        if backup is None:
            self._change(old, previous)
        else:
            self._restore(old, previous, backup)
        self._tell(f"{previous} is in use again")

    def _restore(self, old: str, previous: str, backup: str) -> None:
        """By the release before, as its program alone brings the database back without migrating it."""
        before, touched = self._schema(old), False
        words = ["backup", "restore", "--database-only", "--yes", backup]
        try:
            self._stop_those_with_database()
            touched = True
            answer = self._releases.ask(previous, words, seconds=MIGRATION_SECONDS)
            touched = answer.code != REFUSED  # else nothing was changed; the schema alone would not tell of missing rows
            if answer.code:
                raise Refused(f"`messagebroker {' '.join(words)}` of {previous} failed: {answer.words}")
        except BrokerError as error:
            if not touched and self._schema_is(old, before):
                self._go_back(old, previous)
                raise Refused(f"the backup was not restored and {old} runs again: {error}") from error
            raise Unavailable(f"the database may be incomplete: {error}. Correct the cause and say this again") from error
        self._tell(f"the database is as {backup} holds it")
        try:
            self._take_up(old, previous)
        except BrokerError as error:
            then = "`messagebroker services start`" if self._releases.in_use() == previous else "say this again"
            raise Unavailable(
                f"the database is as {backup} holds it, but then: {error}. Correct the cause and {then}"
            ) from error

    def _schema(self, release: str) -> Schema:
        answer = self._releases.ask(release, ["db", "status", "--json"], seconds=ASK_SECONDS)
        try:
            said = json.loads(answer.out)
            return Schema(missing=tuple(said["missing"]), unknown=tuple(said["unknown"]))
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(f"{release} cannot say which schema the database has: {answer.words}") from error

    def _change(self, old: str, new: str) -> None:
        """One role after another, and back again when it does not work."""
        before = self._releases.previous()
        try:
            self._take_up(old, new)
        except BrokerError as error:
            self._tell(f"{new} failed: {error}")
            self._go_back(old, before)
            raise Refused(f"{new} failed and {old} runs again, nothing is lost: {error}") from error

    def _take_up(self, old: str, new: str) -> None:
        self._releases.settle(new)
        self._releases.use(new, old)
        for role in start_order():
            self._replace(role)
        self._prove(new)

    def _go_back(self, old: str, before: str | None) -> None:
        self._tell(f"going back to {old}")
        problems = []
        try:
            self._releases.settle(old)
        except BrokerError as error:
            problems.append(str(error))
        self._releases.use(old, before)
        for role in start_order():
            try:
                self._replace(role)
            except BrokerError as error:
                problems.append(f"{role}: {error}")
        if problems:
            raise Unavailable(f"{old} is in use again but not all is well: {'; '.join(problems)}")

    def _migrate(self, old: str, new: str, schema: Schema) -> None:
        """With the database to itself, after a backup."""
        self._tell(f"the database gets {', '.join(schema.missing)}: roles that use it stop, proxies go on accepting")
        before = self._releases.previous()
        try:
            self._stop_those_with_database()
            backup = self._backup(old)
        except BrokerError as error:
            self._go_back(old, before)
            raise Refused(f"the database was not touched and {old} runs again, as the backup failed: {error}") from error
        try:
            self._must(new, ["db", "upgrade"])
        except BrokerError as error:
            if not self._schema_is(new, schema):
                raise Unavailable(
                    f"{new} may have changed a part of the database and failed: {error}. Keep the roles stopped; then either"
                    f" correct the cause and upgrade again, or `messagebroker backup restore --database-only {backup}` and"
                    " `messagebroker services start`"
                ) from error
            self._go_back(old, before)
            raise Refused(f"{new} could not change the database, which is as it was, and {old} runs again: {error}") from error
        self._tell("the database has the new schema")
        try:
            self._take_up(old, new)
        except BrokerError as error:
            raise Unavailable(
                f"{new} changed the database, but then: {error}. {old} does not know the new schema, so nothing goes back"
                " by itself. Correct the cause and `messagebroker services start`; or, losing what was stored since:"
                f" `messagebroker services rollback --restore {backup}`"
            ) from error

    def _stop_those_with_database(self) -> None:
        for role in stop_order(WITH_DATABASE):
            self._manager.stop(role, seconds=PLAN_OF[role].stop_seconds)
            self._tell(f"{role} stopped")

    def _schema_is(self, release: str, before: Schema) -> bool:
        try:
            return self._schema(release) == before
        except BrokerError:  # nobody knows
            return False

    def _backup(self, release: str) -> str:
        said = self._must(release, ["backup", "create", "--json"])
        try:
            path = str(json.loads(said)["path"])
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(f"the backup did not say where it is: {said}") from error
        self._tell(f"backed up to {path}")
        return path

    def _must(self, release: str, words: list[str]) -> str:
        answer = self._releases.ask(release, words, seconds=MIGRATION_SECONDS)
        if answer.code:
            raise Refused(f"`messagebroker {' '.join(words)}` of {release} failed: {answer.words}")
        return answer.out

    def _replace(self, role: str) -> None:
        self._releases.replace(role, seconds=PLAN_OF[role].stop_seconds)
        missing = self._manager.readiness(role, wait=self._wait)
        if missing is not None:
            raise Unavailable(f"{role} is not ready after {self._wait:.0f} s: {missing}")
        self._tell(f"{role} replaced, ready")

    def _prove(self, release: str) -> None:
        """A message goes all the way."""
        answer = self._releases.ask(release, ["smoke"], seconds=ASK_SECONDS)
        if answer.code:
            raise Unavailable(f"the smoke test failed: {answer.words}")
        self._tell("a message went all the way")
