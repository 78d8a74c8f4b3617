from __future__ import annotations

import pytest
from support.fake_manager import FakeManager
from support.fake_releases import FakeReleases

from messagebroker.errors import Refused, Unavailable
from messagebroker.ops.services.programs import Answer
from messagebroker.ops.services.upgrade import Upgrade
from messagebroker.roles import NAMES


def home(*, brings: tuple[str, ...] = ()) -> tuple[FakeManager, FakeReleases, Upgrade]:
    manager = FakeManager(*NAMES)
    releases = FakeReleases(manager, brings=brings)
    return manager, releases, Upgrade(manager, releases, wait=0)


def test_roles_change_one_after_another_and_nothing_stops_for_it() -> None:
    manager, releases, upgrade = home()
    upgrade.upgrade()
    replaced = [f"replace {name}" for name in ("main", "proxy", "scheduler", "worker", "portal")]
    assert releases.did == ["settle new", *replaced, "new: smoke", "tidy"]
    assert manager.calls == []
    assert (releases.current, releases.kept) == ("new", "old")


def test_the_release_in_use_is_left_alone() -> None:
    _, releases, upgrade = home()
    upgrade.upgrade("old")
    assert releases.did == []


@pytest.mark.parametrize("failure", ["proxy new", "new smoke"])
def test_it_goes_back_by_itself(failure: str) -> None:
    _, releases, upgrade = home()
    releases.kept = "older"
    releases.fails = {failure}
    with pytest.raises(Refused, match="new failed and old runs again"):
        upgrade.upgrade()
    assert (releases.current, releases.kept) == ("old", "older")
    assert set(releases.runs.values()) == {"old"}


def test_going_back_that_fails_too_is_said() -> None:
    _, releases, upgrade = home()
    releases.fails = {"new smoke", "main old"}
    with pytest.raises(Unavailable, match=r"old is in use again but not all is well: main: .*it broke"):
        upgrade.upgrade()
    assert set(releases.runs.values()) == {"old"}, "one that is not ready does not keep the others from going back"


def test_before_a_migration_there_is_a_backup_and_proxies_go_on() -> None:
    manager, releases, upgrade = home(brings=("002",))
    upgrade.upgrade()
    assert manager.calls == ["stop worker", "stop scheduler", "stop main"]
    assert releases.did[:3] == ["old: backup create", "new: db upgrade", "settle new"]
    assert releases.database == ["001", "002"]
    assert set(releases.runs.values()) == {"new"}


def test_without_a_backup_there_is_no_migration() -> None:
    _, releases, upgrade = home(brings=("002",))
    releases.fails = {"old backup create"}
    with pytest.raises(Refused, match="was not touched and old runs again, as the backup failed"):
        upgrade.upgrade()
    assert releases.database == ["001"]
    assert set(releases.runs.values()) == {"old"}
    assert "new: db upgrade" not in releases.did


def test_a_migration_that_changed_nothing_is_gone_back_from() -> None:
    _, releases, upgrade = home(brings=("002",))
    releases.fails = {"new db upgrade"}
    with pytest.raises(Refused, match="db upgrade did not work"):
        upgrade.upgrade()
    assert releases.current == "old"


def test_a_half_done_migration_is_left_to_people_with_the_backup_named(monkeypatch: pytest.MonkeyPatch) -> None:
    manager, releases, upgrade = home(brings=("002", "003"))
    releases.fails = {"new db upgrade"}
    ask = releases.ask

    def half(release: str, words: list[str], *, seconds: float) -> object:
        if words == ["db", "upgrade"]:
            releases.database.append("002")
        return ask(release, words, seconds=seconds)

    monkeypatch.setattr(releases, "ask", half)
    with pytest.raises(
        Unavailable, match=r"may have changed a part of the database .*backup restore --database-only /backups/one.zip"
    ):
        upgrade.upgrade()
    assert "main" not in manager.running, "no role meets a schema that nobody knows"


def test_after_a_migration_nothing_goes_back_by_itself() -> None:
    _, releases, upgrade = home(brings=("002",))
    releases.fails = {"new smoke"}
    with pytest.raises(Unavailable, match=r"losing what was stored since.*rollback --restore /backups/one.zip"):
        upgrade.upgrade()
    assert (releases.current, releases.kept) == ("new", "old")


def test_rollback_goes_to_the_release_before_and_forward_again() -> None:
    _, releases, upgrade = home()
    upgrade.upgrade()
    upgrade.rollback()
    assert (releases.current, releases.kept) == ("old", "new")
    upgrade.rollback()
    assert (releases.current, releases.kept) == ("new", "old")


def test_rollback_without_a_release_before() -> None:
    _, _, upgrade = home()
    with pytest.raises(Refused, match="no release before old"):
        upgrade.rollback()


def test_rollback_refuses_a_schema_that_the_release_before_does_not_know() -> None:
    _, releases, upgrade = home(brings=("002",))
    upgrade.upgrade()
    with pytest.raises(Refused, match="old does not know 002"):
        upgrade.rollback()
    assert releases.current == "new"


def test_rollback_with_a_backup_has_the_release_before_restore_it() -> None:
    manager, releases, upgrade = home(brings=("002",))
    upgrade.upgrade()
    manager.calls.clear()
    releases.did.clear()
    upgrade.rollback("one.zip")
    assert manager.calls == ["stop worker", "stop scheduler", "stop main"]
    assert releases.did[:2] == ["old: backup restore --database-only --yes one.zip", "settle old"]
    assert set(releases.runs.values()) == {"old"}
    assert (releases.current, releases.kept, releases.database) == ("old", "new", ["001"])


def test_a_backup_that_was_refused_leaves_the_new_release_running() -> None:
    _, releases, upgrade = home(brings=("002",))
    upgrade.upgrade()
    releases.fails = {"old backup restore --database-only --yes one.zip"}
    with pytest.raises(Refused, match="was not restored and new runs again"):
        upgrade.rollback("one.zip")
    assert (releases.current, releases.kept, releases.database) == ("new", "old", ["001", "002"])
    assert set(releases.runs.values()) == {"new"}


def test_a_restore_that_broke_off_is_not_taken_for_one_that_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema may be the same, and rows are missing."""
    _, releases, upgrade = home(brings=("002",))
    upgrade.upgrade()
    ask = releases.ask

    def broken_off(release: str, words: list[str], *, seconds: float) -> object:
        return Answer(4, "", "went away") if words[:2] == ["backup", "restore"] else ask(release, words, seconds=seconds)

    monkeypatch.setattr(releases, "ask", broken_off)
    with pytest.raises(Unavailable, match="may be incomplete"):
        upgrade.rollback("one.zip")


@pytest.mark.parametrize(("failure", "then"), [("main old", "messagebroker services start"), ("settle old", "say this again")])
def test_after_the_restore_nothing_goes_forward_by_itself(failure: str, then: str) -> None:
    _, releases, upgrade = home(brings=("002",))
    upgrade.upgrade()
    releases.fails = {failure}
    with pytest.raises(Unavailable, match=rf"is as one.zip holds it, but then: .*{then}"):
        upgrade.rollback("one.zip")


def test_an_older_release_is_refused() -> None:
    _, releases, upgrade = home()
    releases.database = ["001", "002"]
    with pytest.raises(Refused, match="does not know 002 of the database"):
        upgrade.upgrade("older")
    assert releases.did == []
