"""Everything that can be configured, in one frozen object, built once.

Sources, strongest first: the environment, `NAME_FILE` (a file that holds NAME's value), `.env` in the
working directory, `.env` in DATA_DIR, the defaults below. `load()` reports every error at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from messagebroker import crontab
from messagebroker.errors import ConfigurationError
from messagebroker.settings_sources import Errors, in_words, merged

Port = Annotated[int, Field(ge=0, le=65535)]  # 0: any free port, for tests
Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]

DEFAULT_DATA_DIR = Path("messagebroker-data")
JWT_SECRET_LENGTH = 32
WITH_DATABASE = ("main", "worker", "scheduler")
"""The roles that hold DATABASE_URL; the others must not."""

PLACEHOLDER = re.compile(r"your.?(very|strong|secret|password)|change.?me|placeholder|^secret$|^password$", re.I)


class Settings(BaseSettings):
    """Field `x_y` is the variable `X_Y`. Relative paths are inside `data_dir`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", case_sensitive=False)

    # where and what
    environment: Literal["development", "test", "production"] = "development"
    data_dir: Path = DEFAULT_DATA_DIR
    primary_domain: str = "localhost"
    maintenance_mode: bool = False

    # servers this system stands on
    database_url: SecretStr | None = None  # mysql://, mysql+pymysql://, sqlite:///; None: SQLite in data_dir
    database_pool_size: Positive = 20
    database_connect_timeout: Seconds = 5.0
    allow_sqlite_in_production: bool = False
    redis_url: SecretStr | None = None  # wins over REDIS_HOST, REDIS_PORT, REDIS_DB
    redis_host: str = "localhost"
    redis_port: Port = 6379
    redis_db: Annotated[int, Field(ge=0)] = 0
    redis_password: SecretStr | None = None
    embedded_redis_url: SecretStr | None = None  # of the Redis that `up` runs; it writes this into DATA_DIR/.env itself
    redis_connect_timeout: Seconds = 0.5
    redis_read_timeout: Seconds = 1.0

    # secrets and files
    jwt_secret: SecretStr | None = None  # None: a generated file in data_dir/secrets, development only
    encryption_key_path: Path = Path("secrets/encryption.key")  # private master keys; main and worker
    sender_key_path: Path = Path("secrets/sender.key")  # HMAC key for search by sender; main and proxy
    main_secret_path: Path = Path("secrets/main.secret")  # main only: keys of the audit chain and second factors
    audit_head_path: Path = Path("audit-head.jsonl")  # main appends the head of the audit chain to it
    recovery_key_path: Path = Path("secrets/recovery.pub")  # public half; seals secrets inside backups
    ca_dir: Path = Path("ca")  # CA key and issued certificates; main only
    certs_dir: Path = Path("certs")  # NAME.crt, NAME.key, ca.crt of components and bundles
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    log_file_path: Path | None = Path("logs")  # a folder; None or "": stderr only
    backup_dir: Path = Path("backups")

    # listening
    main_server_host: str = "127.0.0.1"
    main_server_port: Port = 8000
    main_server_url: str | None = None  # how others reach main; None: https://localhost:MAIN_SERVER_PORT
    proxy_host: str = "127.0.0.1"
    proxy_port: Port = 8001
    proxy_url: str | None = None
    portal_host: str = "127.0.0.1"
    portal_port: Port = 5000
    portal_url: str | None = None
    portal_public_url: str | None = None  # what people type, for links in e-mails; None: PORTAL_URL
    metrics_enabled: bool = True
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9100

    # sizes and times of the servers
    worker_count: Positive = 1
    worker_threads: Positive = 2  # per process, beside those of `critical`
    deliveries_at_once: Positive = 1000  # attempts under way, per process
    webhook_allow_http: bool = False  # to public addresses; private networks on the allow-list may be reached by http
    proxy_threads: Positive = 40
    main_threads: Positive = 16
    pull_waiters: Positive = 1000  # pulls that wait in one main at a time, none of them in a thread
    max_body_bytes: Positive = 256 * 1024
    max_request_bytes: Positive = 8 * 1024 * 1024
    max_header_bytes: Positive = 16 * 1024
    max_metadata_bytes: Positive = 8 * 1024
    max_metadata_depth: Positive = 5
    max_batch_items: Positive = 1000
    max_connections: Positive = 2000
    max_connections_per_address: Positive = 64
    handshake_seconds: Seconds = 5.0
    header_seconds: Seconds = 10.0
    body_seconds: Seconds = 30.0
    min_body_rate: Positive = 1024  # bytes a second, after the first five seconds of a body
    data_key_seconds: Seconds = 300.0  # how long a proxy uses one data key
    idempotency_seconds: Positive = 24 * 3600
    api_rate_per_client: Positive = 50  # requests a second that proxies pass on to main; submits have the client's own rate
    refuse_above_memory: Annotated[float, Field(gt=0, le=1)] = 0.8  # of Redis' maxmemory

    # destinations that fail
    breaker_failures: Positive = 10  # in a row, then nothing is sent to a destination for a while
    breaker_seconds: Seconds = 30.0  # the first while; twice as long after each probe that fails
    breaker_max_seconds: Seconds = 600.0
    subscription_disable_after: Positive = 100  # failed attempts in a row
    subscription_disable_hours: Positive = 24  # and so long without a success, then a subscription is disabled

    # periodic work
    schedule_timezone: str = "UTC"
    retention_days: Positive = 90
    backup_schedule: str = "0 2 * * *"
    cleanup_schedule: str = "30 3 * * *"

    # people
    token_minutes: Positive = 15
    session_idle_hours: Positive = 24 * 7  # a session ends this long after its last refresh
    session_days: Positive = 30  # and this long after the login, however often it is refreshed
    api_rate_per_user: Positive = 50  # requests a second on main
    api_rate_per_address: Positive = 100
    smtp_host: str | None = None  # None: no e-mail is sent
    smtp_port: Port = 587
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    smtp_security: Literal["none", "starttls", "tls"] = "starttls"
    mail_from: str | None = None  # None: messagebroker@PRIMARY_DOMAIN
    portal_idle_seconds: Seconds = 1800.0  # without a page or a click, then the portal asks to log in again

    @field_validator(
        "database_url",
        "redis_url",
        "jwt_secret",
        "redis_password",
        "log_file_path",
        "smtp_host",
        "smtp_user",
        "smtp_password",
        "mail_from",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _known_scheme(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"(mysql|mysql\+pymysql|mariadb|sqlite)://", value.get_secret_value()):
            raise ValueError("must begin with mysql://, mysql+pymysql://, mariadb:// or sqlite:///")
        return value

    @field_validator("redis_url")
    @classmethod
    def _known_redis_scheme(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"(redis|rediss|unix)://", value.get_secret_value()):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return value

    @field_validator("schedule_timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("is no time zone; names look like Europe/Berlin or UTC") from error
        return value

    @field_validator("backup_schedule", "cleanup_schedule")
    @classmethod
    def _crontab_line(cls, value: str) -> str:
        if (problem := crontab.problem(value)) is not None:
            raise ValueError(problem)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` passes: it merges the sources itself, so that NAME_FILE works everywhere."""
        return (init_settings,)

    # derived

    def path(self, value: Path) -> Path:
        """`value` itself when absolute, else inside the data directory."""
        return value if value.is_absolute() else self.data_dir.absolute() / value

    @cached_property
    def database(self) -> str:
        """The database URL in use (SQLite inside the data directory by default)."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.path(Path('message_system.db')).as_posix()}"

    @property
    def is_sqlite(self) -> bool:
        """True on the embedded default."""
        return self.database.startswith("sqlite")

    @cached_property
    def redis(self) -> str:
        """The Redis URL in use."""
        if self.redis_url is not None:
            return self.redis_url.get_secret_value()
        if self.embedded_redis_url is not None and self.uses_embedded_redis:
            return self.embedded_redis_url.get_secret_value()
        password = f":{quote(self.redis_password.get_secret_value(), safe='')}@" if self.redis_password else ""
        return f"redis://{password}{self.redis_host}:{self.redis_port}/{self.redis_db}"

    @property
    def uses_embedded_redis(self) -> bool:
        """True when no variable names a Redis of the operator's."""
        return not self.model_fields_set & {"redis_host", "redis_port"} and self.redis_url is None

    def url_of(self, role: str) -> str:
        """Where other roles and people on this machine reach `main`, `proxy` or `portal`."""
        given = {"main": self.main_server_url, "proxy": self.proxy_url, "portal": self.portal_url}[role]
        port = {"main": self.main_server_port, "proxy": self.proxy_port, "portal": self.portal_port}[role]
        return (given or f"https://localhost:{port}").rstrip("/")


def load(environ: dict[str, str] | None = None, *, role: str | None = None, **overrides: Any) -> Settings:
    """Settings from all sources, fit for `role` (None: a tool that is no role).

    Raises:
        ConfigurationError: with one line per wrong variable, all of them together.
    """
    errors: Errors = []
    names = {field.upper(): field for field in Settings.model_fields}
    given = dict(os.environ) if environ is None else dict(environ)
    if "data_dir" in overrides:
        given["DATA_DIR"] = str(overrides["data_dir"])
    values: dict[str, Any] = {names[name]: value for name, value in merged(given, names, DEFAULT_DATA_DIR, errors).items()}
    values.update(overrides)
    settings = _validated(values, errors)
    wrong = {name for name, _ in errors}
    errors += [(name, message) for name, message in _broken_rules(settings, role) if name not in wrong]
    if errors:
        raise ConfigurationError("the configuration has errors:" + "".join(f"\n  {name}: {text}" for name, text in errors))
    return settings


def _validated(values: dict[str, Any], errors: Errors) -> Settings:
    """Settings from what is valid; wrong fields go to `errors` and keep their default, so that the rules run too."""
    try:
        return Settings(**values)
    except ValidationError as error:
        found = error.errors(include_url=False)
        wrong = {str(item["loc"][0]): in_words(item["type"], item["msg"], item.get("ctx", {})) for item in found}
    for field, message in wrong.items():
        shown = "" if is_secret(field) else f" (it is {str(values[field])!r})"
        errors.append((field.upper(), message + shown))
    return Settings(**{field: value for field, value in values.items() if field not in wrong})


def is_secret(field: str) -> bool:
    """Whether nobody may be told the value of this field."""
    return "SecretStr" in str(Settings.model_fields[field].annotation)


def _broken_rules(settings: Settings, role: str | None) -> Iterator[tuple[str, str]]:
    """What no field can know alone."""
    if settings.max_body_bytes > settings.max_request_bytes:
        yield "MAX_BODY_BYTES", "is above MAX_REQUEST_BYTES, so the largest body could never arrive"
    yield from _shared_ports(settings)
    yield from _broken_mail(settings)
    if settings.environment == "production":
        yield from _broken_in_production(settings, role)


def _broken_mail(settings: Settings) -> Iterator[tuple[str, str]]:
    here = settings.smtp_host in (None, "localhost", "127.0.0.1", "::1")
    if settings.smtp_password is not None and settings.smtp_security == "none" and not here:
        yield "SMTP_SECURITY", "is none, so SMTP_PASSWORD would cross the network in plain text; set starttls or tls"
    if settings.mail_from is not None and not re.fullmatch(r"[!-?A-~]{1,64}@[!-?A-~]{1,189}", settings.mail_from):
        yield "MAIL_FROM", "is no e-mail address such as broker@example.org (the address alone, in ASCII)"


def _shared_ports(settings: Settings) -> Iterator[tuple[str, str]]:
    seen: dict[int, str] = {}
    for field in ("main_server_port", "proxy_port", "portal_port", "metrics_port"):
        port = getattr(settings, field)
        if port in seen:
            yield field.upper(), f"is {port}, as {seen[port]} is; every server needs a port of its own"
        elif port:
            seen[port] = field.upper()


def _broken_in_production(settings: Settings, role: str | None) -> Iterator[tuple[str, str]]:
    for field in (name for name in Settings.model_fields if is_secret(name)):
        secret = getattr(settings, field)
        if secret is not None and PLACEHOLDER.search(secret.get_secret_value()):
            yield field.upper(), "still holds a placeholder; set a secret of your own"
    if settings.jwt_secret is not None and len(settings.jwt_secret.get_secret_value()) < JWT_SECRET_LENGTH:
        yield "JWT_SECRET", f"has under {JWT_SECRET_LENGTH} characters; `openssl rand -hex 32` makes a good one"
    if settings.jwt_secret is None and role == "main":
        yield "JWT_SECRET", "is missing; `openssl rand -hex 32` makes a good one"
    if settings.is_sqlite and not settings.allow_sqlite_in_production and role in WITH_DATABASE:
        yield (
            "DATABASE_URL",
            "names no MySQL or MariaDB; set mysql+pymysql://USER:PASSWORD@HOST:3306/message_system"
            " (or ALLOW_SQLITE_IN_PRODUCTION=true, one machine, see docs/operations.md)",
        )
