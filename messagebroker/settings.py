"""Everything that can be configured, in one frozen object, built once.

Sources, strongest first: the environment, `NAME_FILE` (a file that holds NAME's value), `.env` in the
working directory, `.env` in DATA_DIR, the defaults below. `load()` reports every error at once.
"""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from messagebroker.errors import ConfigurationError

Port = Annotated[int, Field(ge=0, le=65535)]  # 0: any free port, for tests
Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]

DEFAULT_DATA_DIR = Path("messagebroker-data")
_PLACEHOLDER = re.compile(r"your.?(very|strong|secret|password)|change.?me|placeholder|^secret$|^password$", re.I)


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
    redis_connect_timeout: Seconds = 0.5
    redis_read_timeout: Seconds = 1.0

    # secrets and files
    jwt_secret: SecretStr | None = None  # None: a generated file in data_dir/secrets, development only
    encryption_key_path: Path = Path("secrets/encryption.key")  # private master keys; main and worker
    sender_key_path: Path = Path("secrets/sender.key")  # HMAC key for search by sender; main and proxy
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
    metrics_enabled: bool = True
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9100

    # sizes and times of the servers
    worker_count: Positive = 1
    worker_threads: Positive = 2  # per process, beside those of `critical`
    proxy_threads: Positive = 40
    main_threads: Positive = 16
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
    refuse_above_memory: Annotated[float, Field(gt=0, le=1)] = 0.8  # of Redis' maxmemory

    # periodic work
    schedule_timezone: str = "UTC"
    retention_days: Positive = 90
    backup_schedule: str = "0 2 * * *"
    cleanup_schedule: str = "30 3 * * *"
    token_minutes: Positive = 60

    @field_validator("database_url", "redis_url", "jwt_secret", "redis_password", "log_file_path", mode="before")
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

    @model_validator(mode="after")
    def _production_is_strict(self) -> Settings:
        if self.environment != "production":
            return self
        problems = []
        secrets = {"JWT_SECRET": self.jwt_secret, "DATABASE_URL": self.database_url, "REDIS_PASSWORD": self.redis_password}
        for name, secret in secrets.items():
            if secret is not None and _PLACEHOLDER.search(secret.get_secret_value()):
                problems.append(f"{name} still holds a placeholder; set a secret of your own")
        if self.jwt_secret is not None and len(self.jwt_secret.get_secret_value()) < 32:
            problems.append("JWT_SECRET has under 32 characters; `openssl rand -hex 32` makes a good one")
        if problems:
            raise ValueError("; ".join(problems))
        return self

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
        password = f":{quote(self.redis_password.get_secret_value(), safe='')}@" if self.redis_password else ""
        return f"redis://{password}{self.redis_host}:{self.redis_port}/{self.redis_db}"

    def url_of(self, role: str) -> str:
        """Where other roles and people on this machine reach `main`, `proxy` or `portal`."""
        given = {"main": self.main_server_url, "proxy": self.proxy_url, "portal": self.portal_url}[role]
        port = {"main": self.main_server_port, "proxy": self.proxy_port, "portal": self.portal_port}[role]
        return (given or f"https://localhost:{port}").rstrip("/")


def _file_values(values: dict[str, str], errors: list[str]) -> dict[str, str]:
    """NAME from NAME_FILE wherever NAME itself is not given."""
    found = {}
    for field in Settings.model_fields:
        name = field.upper()
        pointer = values.get(f"{name}_FILE")
        if pointer and name not in values:
            try:
                found[name] = Path(pointer).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                errors.append(f"{name}_FILE: cannot read {pointer}: {error}")
    return found


def _merged(environ: dict[str, str], errors: list[str]) -> dict[str, str]:
    environ = {key.upper(): value for key, value in environ.items()}
    here = {k.upper(): v for k, v in dotenv_values(".env", encoding="utf-8").items() if v is not None}
    data_dir = Path(environ.get("DATA_DIR") or here.get("DATA_DIR") or DEFAULT_DATA_DIR)
    there = {k.upper(): v for k, v in dotenv_values(data_dir / ".env", encoding="utf-8").items() if v is not None}
    merged: dict[str, str] = {}
    for layer in (there, here, environ):  # weakest first
        merged.update(layer)
        merged.update(_file_values(layer, errors))
    return merged


def load(environ: dict[str, str] | None = None, **overrides: Any) -> Settings:
    """Settings from all sources.

    Raises:
        ConfigurationError: with one line per wrong variable, all of them together.
    """
    errors: list[str] = []
    merged = _merged(dict(os.environ) if environ is None else environ, errors)
    values: dict[str, Any] = {f: merged[f.upper()] for f in Settings.model_fields if f.upper() in merged}
    values.update(overrides)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            where = ".".join(str(part) for part in item["loc"]).upper()
            message = item["msg"].removeprefix("Value error, ")
            errors.append(f"{where}: {message}" if where else message)
    if errors:
        raise ConfigurationError("the configuration has errors:\n  " + "\n  ".join(errors))
    return settings
