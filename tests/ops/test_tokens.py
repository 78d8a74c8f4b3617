"""Attacks on tokens are in tests/http/main/test_callers.py; here is where the secret comes from."""

from __future__ import annotations

import pytest

from messagebroker.errors import ConfigurationError
from messagebroker.ops import keyring
from messagebroker.ops.tokens import Tokens
from messagebroker.settings import Settings, load


def test_the_generated_secret_is_used_outside_production(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"jwt\.key"):
        Tokens.load(settings)
    keyring.first_secrets(settings)
    assert len(Tokens.load(settings)._secret) >= 32


def test_jwt_secret_wins(settings: Settings) -> None:
    chosen = load({}, data_dir=settings.data_dir, environment="test", jwt_secret="0123456789abcdef" * 2)
    assert Tokens.load(chosen)._secret == b"0123456789abcdef" * 2


def test_a_short_secret_is_refused(settings: Settings) -> None:
    path = keyring.jwt_key_path(settings)
    path.parent.mkdir()
    path.write_text("short")
    with pytest.raises(ConfigurationError, match="openssl rand"):
        Tokens.load(settings)


def test_production_has_a_secret_of_its_own(settings: Settings) -> None:
    keyring.first_secrets(settings)
    with pytest.raises(ConfigurationError, match="JWT_SECRET"):
        Tokens.load(settings.model_copy(update={"environment": "production"}))
