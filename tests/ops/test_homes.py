"""What each role finds in its home, and what it must not find anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.homes import DATABASE_URL, REDIS_URL, Recorded

from messagebroker.cli.run import refuse_secrets_of_others
from messagebroker.errors import ConfigurationError, Refused
from messagebroker.ops import certificates, first_start, homes, junctions, pki
from messagebroker.roles import BY_NAME, ROLES, SECRET_FILES, SECRET_VARIABLES, Role
from messagebroker.settings import Settings, load

each_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
others = pytest.mark.parametrize("role", ROLES[1:], ids=lambda role: role.name)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation in production, as operators begin it: secrets are in ROOT/.env."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"# ours\nENVIRONMENT=production\nDATABASE_URL={DATABASE_URL}\n", encoding="utf-8")
    homes.shared_settings(tmp_path)
    settings = mains(tmp_path, REDIS_URL=REDIS_URL)
    first_start.secret_files(settings)
    first_start.certificate_files(settings)
    hand_out(settings, tmp_path)
    return tmp_path


def mains(root: Path, **environ: str) -> Settings:
    return load(environ, data_dir=homes.main_home(root))


def hand_out(settings: Settings, root: Path) -> list[str]:
    return [
        f"{change.path.relative_to(root).as_posix()}: {change.what}" for change in homes.hand_out(settings, root, Recorded())
    ]


def as_role(root: Path, role: Role) -> Settings:
    """What the role's process loads: it runs in ROOT with nothing but its home's variables."""
    (home,) = (home for home in homes.homes(root) if home.role is role)
    return load(home.environment, role=role.name)


def secrets_in(home: Path) -> set[str]:
    return {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"}


# the table


@each_role
def test_a_role_sees_the_shared_settings_and_of_the_secrets_only_its_own(root: Path, role: Role) -> None:
    settings = as_role(root, role)
    assert settings.environment == "production"
    assert settings.log_file_path == root / "logs"
    seen = {name for name in SECRET_VARIABLES if getattr(settings, name.lower()) is not None}
    assert seen == set(role.variables) - {
        "REDIS_PASSWORD",
        "SMTP_PASSWORD",
    }  # the first is inside REDIS_URL here, no mail is sent
    if "DATABASE_URL" in seen:
        assert settings.database == DATABASE_URL
    if "REDIS_URL" in seen:
        assert settings.redis == REDIS_URL


@others
def test_a_home_holds_what_the_table_says_and_nothing_else(root: Path, role: Role) -> None:
    certificate = {f"certs/{role.name}.crt", f"certs/{role.name}.key", "certs/ca.crt"} if role.has_certificate else set()
    assert secrets_in(root / role.folder) == {".env", *role.files, *certificate}
    for name in (*role.files, *certificate):
        assert (root / role.folder / name).read_bytes() == (root / "main_server" / name).read_bytes()


@each_role
def test_in_production_every_role_accepts_its_home(root: Path, role: Role) -> None:
    refuse_secrets_of_others(role.name, as_role(root, role))


def test_the_file_that_everybody_reads_holds_no_secret_any_more(root: Path) -> None:
    text = (root / ".env").read_text(encoding="utf-8")
    assert text.startswith("# ours\nENVIRONMENT=production\n")
    assert "k3Jd82hs" not in text
    assert "DATA_DIR=main_server\n" in text


def test_mains_token_secret_is_made_and_stays(root: Path) -> None:
    first = as_role(root, BY_NAME["main"]).jwt_secret
    assert first is not None
    assert len(first.get_secret_value()) == 64
    hand_out(mains(root), root)
    assert as_role(root, BY_NAME["main"]).jwt_secret == first


def test_the_documents_say_who_may_read_what() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" *`/") for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    columns = ["DATABASE_URL", "REDIS_URL", "JWT_SECRET", *SECRET_FILES]
    begin = rows.index(["role", "home", *columns, "its own certificate, `ca.crt"])
    for role, row in zip(ROLES, rows[begin + 2 :], strict=False):
        said = [{"yes": True, "no": False}[cell] for cell in row[2:]]
        assert row[:2] == [role.name, role.folder]
        assert said == [*(name in (*role.variables, *role.files) for name in columns), role.has_certificate]


# healing


def test_the_second_time_there_is_nothing_to_do(root: Path) -> None:
    assert hand_out(mains(root), root) == []


def test_what_was_lost_or_changed_comes_back_from_main(root: Path) -> None:
    (root / "proxy" / "certs" / "proxy.key").unlink()
    (root / "worker" / "secrets" / "encryption.key").write_bytes(b"[]")
    (root / "worker" / ".env").unlink()
    assert sorted(hand_out(mains(root), root)) == [
        "proxy/certs/proxy.key: copied from main's home",
        "worker/.env: written",
        "worker/secrets/encryption.key: copied from main's home",
    ]
    assert as_role(root, BY_NAME["worker"]).database == DATABASE_URL


def test_a_renewed_certificate_reaches_its_role(root: Path) -> None:
    certificates.renew(mains(root), "proxy", announce=False)
    assert len(hand_out(mains(root), root)) == 2
    pair = [(root / "proxy" / "certs" / f"proxy.{ending}").read_bytes() for ending in ("crt", "key")]
    assert pki.Pair.parse(*pair)


@pytest.mark.parametrize("name", ["secrets/encryption.key", "secrets/jwt.key", "certs/main.key", "ca/ca.key", "certs/demo.crt"])
def test_what_a_role_must_not_have_is_taken_away(root: Path, name: str) -> None:
    wrong = root / "proxy" / name
    wrong.parent.mkdir(exist_ok=True)
    wrong.write_bytes((root / "main_server" / name).read_bytes())
    assert hand_out(mains(root), root) == [f"proxy/{name}: removed, it is not this role's"]
    assert not wrong.exists()


def test_a_secret_that_nobody_else_has_is_not_removed(root: Path) -> None:
    only_copy = root / "portal" / "secrets" / "encryption.key"
    only_copy.parent.mkdir()
    only_copy.write_bytes(b"another installation's")
    with pytest.raises(Refused, match=r"portal.secrets.encryption\.key must not be there"):
        hand_out(mains(root), root)
    assert only_copy.read_bytes() == b"another installation's"


def test_the_state_of_a_role_stays(root: Path) -> None:
    state = root / "proxy" / "policy.snapshot"
    state.write_bytes(b"policy 7")
    hand_out(mains(root), root)
    assert state.read_bytes() == b"policy 7"


def test_a_new_password_in_the_shared_file_moves_to_those_who_need_it(root: Path) -> None:
    new = DATABASE_URL.replace("k3Jd82hs", "Zm9vYmFy")
    with (root / ".env").open("a", encoding="utf-8") as file:
        file.write(f"DATABASE_URL={new}\n")
    assert sorted(hand_out(mains(root), root)) == [
        ".env: moved DATABASE_URL to the homes of those who may have it",
        "main_server/.env: written",
        "scheduler/.env: written",
        "worker/.env: written",
    ]
    for role in ROLES:
        assert (as_role(root, role).database_url is not None) == ("DATABASE_URL" in role.variables)
        if role.variables and "DATABASE_URL" in role.variables:
            assert as_role(root, role).database == new


def test_a_pointer_to_a_file_becomes_the_value_in_the_homes(root: Path, tmp_path: Path) -> None:
    (tmp_path / "redis-url").write_text("redis://:Zm9vYmFy@elsewhere:6379/0\n", encoding="utf-8")
    (root / ".env").write_text(f"REDIS_URL_FILE={tmp_path / 'redis-url'}\n", encoding="utf-8")
    assert ".env: moved REDIS_URL_FILE to the homes of those who may have it" in hand_out(mains(root), root)
    (tmp_path / "redis-url").unlink()
    assert as_role(root, BY_NAME["proxy"]).redis == "redis://:Zm9vYmFy@elsewhere:6379/0"


def test_lines_of_operators_in_a_role_s_file_stay_and_secrets_in_it_go(root: Path) -> None:
    with (root / "portal" / ".env").open("a", encoding="utf-8") as file:
        file.write(f"LOG_LEVEL=DEBUG\nDATABASE_URL={DATABASE_URL}\n")
    assert hand_out(mains(root), root) == ["portal/.env: written"]
    assert as_role(root, BY_NAME["portal"]).log_level == "DEBUG"
    assert as_role(root, BY_NAME["portal"]).database_url is None


def test_a_folder_for_monitoring_gets_its_certificate_alone(root: Path) -> None:
    assert not (root / "monitoring").exists()
    (root / "monitoring").mkdir()
    hand_out(mains(root), root)
    assert secrets_in(root / "monitoring") == {"certs/monitoring.crt", "certs/monitoring.key", "certs/ca.crt"}


# refusals


@pytest.mark.parametrize("value", ["/etc/keys/encryption.key", "../encryption.key", "encryption.key"])
def test_keys_where_not_every_role_can_have_its_own_are_refused(root: Path, value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ENCRYPTION_KEY_PATH is .*secrets/encryption\.key"):
        hand_out(mains(root, ENCRYPTION_KEY_PATH=value), root)


def test_keys_under_another_name_are_handed_out_under_it(root: Path) -> None:
    (root / "main_server" / "keys").mkdir()
    (root / "main_server" / "secrets" / "encryption.key").rename(root / "main_server" / "keys" / "master.key")
    (root / "worker" / "secrets" / "encryption.key").unlink()
    hand_out(mains(root, ENCRYPTION_KEY_PATH="keys/master.key"), root)
    assert "keys/master.key" in secrets_in(root / "worker")


def test_a_junction_in_a_home_is_not_followed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is removed behind it: main's own files could be there."""
    hand_out(mains(root), root)
    victim = root / "proxy" / "certs" / "x"
    victim.mkdir()
    (victim / ".env").write_text("SECRET=1", encoding="utf-8")
    monkeypatch.setattr(junctions, "_tag", lambda path: 0xA0000003 if path == victim else 0)
    with pytest.raises(Refused, match="leads elsewhere by a junction"):
        hand_out(mains(root), root)
    assert (victim / ".env").exists()


def test_a_link_in_a_home_is_not_followed(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "somebody.crt").write_bytes(b"x")
    for path in (root / "portal" / "certs").iterdir():
        path.unlink()
    (root / "portal" / "certs").rmdir()
    (root / "portal" / "certs").symlink_to(elsewhere)
    with pytest.raises(Refused, match="by a link"):
        hand_out(mains(root), root)
    assert [path.name for path in elsewhere.iterdir()] == ["somebody.crt"]


# where


def test_the_installation_is_the_one_named_or_this_folder_or_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert homes.root_of(None) == homes.DEFAULT_ROOT
    homes.main_home(tmp_path).mkdir()
    assert homes.root_of(None) == tmp_path
    assert homes.root_of(Path("other")) == tmp_path / "other"


# rights


def test_every_home_and_the_shared_folders_get_their_rights(root: Path) -> None:
    (root / "monitoring").mkdir()
    rights = Recorded()
    homes.hand_out(mains(root), root, rights)
    assert rights.calls == [
        ("root", root, None),
        *(("home", root / role.folder, role.name) for role in ROLES),
        ("home", root / "backups", "main"),
        ("guest", root / "monitoring", None),
        ("logs", root / "logs", None),
    ]
