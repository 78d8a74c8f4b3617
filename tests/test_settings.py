from __future__ import annotations

from pathlib import Path

import pytest

from messagebroker.errors import ConfigurationError
from messagebroker.settings import Settings, load

PRODUCTION = {
    "ENVIRONMENT": "production",
    "JWT_SECRET": "0123456789abcdef0123456789abcdef",
    "DATABASE_URL": "mysql+pymysql://systemuser:k3Jd82hs@db.example.org:3306/message_system",
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No .env of the developer's."""
    monkeypatch.chdir(tmp_path)


def errors_of(environ: dict[str, str], role: str | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(environ, role=role)
    return str(caught.value).splitlines()[1:]


def test_defaults_need_nothing() -> None:
    settings = load({})
    assert settings.environment == "development"
    assert settings.is_sqlite
    assert settings.redis == "redis://localhost:6379/0"
    assert (settings.main_server_port, settings.proxy_port, settings.portal_port, settings.metrics_port) == (
        8000,
        8001,
        5000,
        9100,
    )


def test_an_empty_data_dir_is_not_the_current_folder() -> None:
    assert load({"DATA_DIR": ""}).data_dir == load({}).data_dir != Path()


def test_the_variables_of_the_deployment_guide_are_honoured() -> None:
    settings = load({
        "DATABASE_URL": "mysql+pymysql://systemuser:pw@localhost:3306/message_system",
        "REDIS_HOST": "redis.example.org", "REDIS_PORT": "6380", "REDIS_DB": "2",
        "JWT_SECRET": "x" * 40, "ENCRYPTION_KEY_PATH": "/etc/mb/encryption.key", "ENVIRONMENT": "test",
        "LOG_LEVEL": "debug", "LOG_FILE_PATH": "/var/log/mb", "MAIN_SERVER_HOST": "0.0.0.0", "MAIN_SERVER_PORT": "9000",
        "PROXY_HOST": "0.0.0.0", "PROXY_PORT": "9001", "PORTAL_HOST": "0.0.0.0", "PORTAL_PORT": "9002",
        "METRICS_ENABLED": "false", "METRICS_PORT": "9003", "PRIMARY_DOMAIN": "mb.example.org", "WORKER_COUNT": "4",
        "MAINTENANCE_MODE": "true", "DATABASE_POOL_SIZE": "7", "BACKUP_DIR": "/srv/backups",
    })  # fmt: skip
    assert settings.database == "mysql+pymysql://systemuser:pw@localhost:3306/message_system"
    assert settings.redis == "redis://redis.example.org:6380/2"
    assert settings.path(settings.encryption_key_path) == Path("/etc/mb/encryption.key").absolute()
    assert settings.log_level == "DEBUG"
    assert settings.log_file_path == Path("/var/log/mb")
    assert (settings.main_server_host, settings.main_server_port) == ("0.0.0.0", 9000)
    assert (settings.proxy_port, settings.portal_port, settings.metrics_port) == (9001, 9002, 9003)
    assert settings.metrics_enabled is False
    assert settings.maintenance_mode is True
    assert (settings.worker_count, settings.database_pool_size) == (4, 7)
    assert settings.primary_domain == "mb.example.org"
    assert settings.backup_dir == Path("/srv/backups")


def test_all_errors_are_reported_together_with_their_variables(tmp_path: Path) -> None:
    lines = errors_of(
        {
            "ENVIRONMENT": "production",
            "PROXY_PORT": "eight thousand",
            "WORKER_COUNT": "0",
            "SCHEDULE_TIMEZONE": "Mars/Olympus",
            "BACKUP_SCHEDULE": "61 2 * * *",
            "JWT_SECRET": "changeme",
            "REDIS_URL": "http://localhost",
            "REDIS_PASSWORD_FILE": str(tmp_path / "missing"),
            "MAX_BODY_BYTES": "9000000",
        },
        role="worker",
    )
    for name in (
        "PROXY_PORT", "WORKER_COUNT", "SCHEDULE_TIMEZONE", "BACKUP_SCHEDULE", "JWT_SECRET", "REDIS_URL", "REDIS_PASSWORD_FILE",
        "MAX_BODY_BYTES", "DATABASE_URL",
    ):  # fmt: skip
        assert any(line.strip().startswith(f"{name}: ") for line in lines), f"{name} is missing in {lines}"
    assert "(it is 'eight thousand')" in "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PROXY_PORT", "eight thousand", "must be a whole number"),
        ("PROXY_PORT", "70000", "must be at most 65535"),
        ("REDIS_DB", "-1", "must be at least 0"),
        ("WORKER_COUNT", "0", "must be above 0"),
        ("WORKER_COUNT", "9" * 5000, "must be a whole number"),
        ("HANDSHAKE_SECONDS", "soon", "must be a number"),
        ("METRICS_ENABLED", "perhaps", "must be true or false"),
        ("ENVIRONMENT", "live", "must be 'development', 'test' or 'production'"),
        ("SCHEDULE_TIMEZONE", "Mars/Olympus", "is no time zone; names look like Europe/Berlin or UTC"),
    ],
)
def test_errors_are_sentences_of_ours(name: str, value: str, said: str) -> None:
    (line,) = errors_of({name: value})
    assert line.strip() == f"{name}: {said} (it is {value!r})"


@pytest.mark.parametrize("value", ["zzz", "\udcff"])  # the second: what Python makes of an environment that is not UTF-8
def test_no_variable_is_answered_in_the_words_of_a_library(value: str) -> None:
    lines = errors_of({field.upper(): value for field in Settings.model_fields if not field.endswith(("_dir", "_path"))})
    assert len(lines) > 20
    assert [line for line in lines if "nput" in line or "Value" in line] == []


def test_a_file_that_is_no_text_is_said_so(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff")
    (tmp_path / "secret").write_bytes(b"\xff")
    first, second = errors_of({"JWT_SECRET_FILE": str(tmp_path / "secret")})
    assert first.strip() == ".env: cannot be read: it is no UTF-8 text"
    assert second.strip() == f"JWT_SECRET_FILE: cannot read {tmp_path / 'secret'}: it is no UTF-8 text"


def test_a_wrong_secret_is_never_repeated() -> None:
    (line,) = errors_of({"DATABASE_URL": "postgres://me:hunter2@db/x"})
    assert "DATABASE_URL" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JWT_SECRET", "YourVeryLongAndSecureSecretKeyForJWT!"),
        ("JWT_SECRET", "please-change-me-please-change-me-12"),
        ("DATABASE_URL", "mysql+pymysql://systemuser:YourStrongPasswordHere@localhost/message_system"),
        ("REDIS_PASSWORD", "changeme"),
        ("REDIS_URL", "redis://:your_password@localhost:6379/0"),
    ],
)
def test_production_refuses_placeholders(name: str, value: str) -> None:
    (line,) = errors_of({**PRODUCTION, name: value}, role="main")
    assert line.strip().startswith(f"{name}: still holds a placeholder")
    assert load({**PRODUCTION, name: value, "ENVIRONMENT": "development"}).environment == "development"


def test_production_wants_a_long_jwt_secret_of_main_alone() -> None:
    without = {key: value for key, value in PRODUCTION.items() if key != "JWT_SECRET"}
    assert errors_of(without, role="main")[0].strip().startswith("JWT_SECRET: is missing")
    assert "under 32 characters" in errors_of({**PRODUCTION, "JWT_SECRET": "s3cr3tly-short"}, role="main")[0]
    assert load(without, role="worker").jwt_secret is None


def test_production_refuses_sqlite_where_a_database_is_used_unless_allowed() -> None:
    without = {key: value for key, value in PRODUCTION.items() if key != "DATABASE_URL"}
    for role in ("main", "worker", "scheduler"):
        (line,) = errors_of(without, role=role)
        assert line.strip().startswith("DATABASE_URL: ")
    assert load({**without, "ALLOW_SQLITE_IN_PRODUCTION": "true"}, role="main").is_sqlite
    assert load(without, role="proxy").database_url is None


def test_two_servers_cannot_share_a_port() -> None:
    (line,) = errors_of({"PROXY_PORT": "8000"})
    assert line.strip() == "PROXY_PORT: is 8000, as MAIN_SERVER_PORT is; every server needs a port of its own"
    assert load({"PROXY_PORT": "0", "PORTAL_PORT": "0"}).proxy_port == 0


def test_sources_in_their_order(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    secret = tmp_path / "redis-password"
    secret.write_text("from a file\n", encoding="utf-8")
    (data / ".env").write_text("PRIMARY_DOMAIN=data\nWORKER_COUNT=2\nPROXY_PORT=1111\nREDIS_PASSWORD=weak\n", encoding="utf-8")
    (tmp_path / ".env").write_text(
        f"DATA_DIR={data}\nPRIMARY_DOMAIN=here\nWORKER_COUNT=3\nREDIS_PASSWORD_FILE={secret}\n", encoding="utf-8"
    )
    settings = load({"PRIMARY_DOMAIN": "environment"})
    assert settings.primary_domain == "environment"
    assert settings.worker_count == 3
    assert settings.proxy_port == 1111
    assert settings.redis_password is not None
    assert settings.redis_password.get_secret_value() == "from a file"


def test_every_variable_can_be_read_from_a_file(tmp_path: Path) -> None:
    given = {}
    for name, value in {**PRODUCTION, "REDIS_URL": "redis://:pw@redis/0", "PROXY_PORT": "9001"}.items():
        path = tmp_path / name.lower()
        path.write_text(f"{value}\n", encoding="utf-8")
        given[f"{name}_FILE"] = str(path)
    settings = load(given, role="main")
    assert (settings.environment, settings.proxy_port) == ("production", 9001)
    assert (settings.database, settings.redis) == (PRODUCTION["DATABASE_URL"], "redis://:pw@redis/0")
    (tmp_path / "jwt_secret").write_text("YourVeryLongRandomSecretKeyHere-and-more\n", encoding="utf-8")
    (line,) = errors_of(given, role="main")
    assert line.strip().startswith("JWT_SECRET: still holds a placeholder")


def test_a_value_and_its_file_together_are_an_error(tmp_path: Path) -> None:
    (line,) = errors_of({"JWT_SECRET": "a", "JWT_SECRET_FILE": str(tmp_path / "x")})
    assert line.strip() == "JWT_SECRET_FILE: is set beside JWT_SECRET; keep one of the two"


def test_a_dollar_in_a_password_is_a_dollar(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REDIS_PASSWORD='a$b${HOME}'\n", encoding="utf-8")
    password = load({}).redis_password
    assert password is not None
    assert password.get_secret_value() == "a$b${HOME}"


def test_the_embedded_redis_gives_way_to_any_named_one(tmp_path: Path) -> None:
    embedded = {"EMBEDDED_REDIS_URL": "redis://:x@127.0.0.1:4000/0"}
    assert load(embedded).redis.endswith(":4000/0")
    assert load({**embedded, "REDIS_HOST": "elsewhere"}).redis == "redis://elsewhere:6379/0"
    assert load({**embedded, "REDIS_URL": "redis://there:1/0"}).redis == "redis://there:1/0"


def test_settings_are_frozen_and_hide_their_secrets() -> None:
    settings = load(PRODUCTION, role="main")
    with pytest.raises(ValueError, match="frozen"):
        settings.worker_count = 3
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert "k3Jd82hs" not in text
        assert PRODUCTION["JWT_SECRET"] not in text


def test_relative_paths_are_inside_the_data_directory(tmp_path: Path) -> None:
    settings = load({}, data_dir=tmp_path / "d")
    assert settings.path(settings.ca_dir) == tmp_path / "d" / "ca"
    assert settings.database == f"sqlite:///{(tmp_path / 'd' / 'message_system.db').as_posix()}"


def shown(default: object) -> str:
    if default is None:
        return "–"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return (
        f"`{default:g}`" if isinstance(default, float) else f"`{default.as_posix() if isinstance(default, Path) else default}`"
    )


def test_the_documents_list_every_variable_with_its_default() -> None:
    text = (Path(__file__).parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = {f"| `{field.upper()}` | {shown(info.default)} | " for field, info in Settings.model_fields.items()}
    assert not {row for row in rows if row not in text}
    assert text.count("\n| `") == len(rows), "docs/settings.md lists a variable that does not exist, or one twice"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"SMTP_HOST": "mail.example.org", "SMTP_PASSWORD": "x", "SMTP_SECURITY": "none"}, "SMTP_SECURITY"),
        ({"MAIL_FROM": "Broker <a@b.c>"}, "MAIL_FROM"),
        ({"MAIL_FROM": "a@b.c\r\nBcc: x@y.z"}, "MAIL_FROM"),
    ],
)
def test_mail_that_would_give_itself_away_is_refused(given: dict[str, str], name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"  {name}: "):
        load(given, data_dir=tmp_path, environment="test")
