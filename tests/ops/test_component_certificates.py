from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from messagebroker.errors import Refused
from messagebroker.ops import certificates, clock, component_certificates, pki
from messagebroker.ops.component_certificates import COMPONENTS, ensure
from messagebroker.settings import Settings, load


def domains(settings: Settings, name: str) -> set[str]:
    certificate = pki.load_certificate((settings.path(settings.certs_dir) / f"{name}.crt").read_bytes())
    return set(pki.domains_of(certificate))


def files(settings: Settings) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in settings.path(settings.certs_dir).iterdir()}


def test_every_component_gets_a_certificate_once(settings: Settings) -> None:
    assert ensure(settings) == list(COMPONENTS) == ["main", "proxy", "portal", "monitoring"]
    before = files(settings)
    assert ensure(settings) == []
    assert files(settings) == before


def test_a_certificate_is_good_for_what_others_call_its_holder(tmp_path: Path) -> None:
    urls = {
        "MAIN_SERVER_URL": "https://main:8000",
        "PROXY_URL": "https://Broker.example.org",
        "PORTAL_URL": "https://[2001:db8::1]:5000/",
    }
    settings = load({**urls, "PRIMARY_DOMAIN": "example.org"}, data_dir=tmp_path, environment="test")
    ensure(settings, ["10.0.0.5"])
    everybody = {"localhost", "127.0.0.1", "::1", "example.org", "10.0.0.5"}
    assert domains(settings, "main") == everybody | {"main"}
    assert domains(settings, "proxy") == everybody | {"broker.example.org"}
    assert domains(settings, "portal") == everybody | {"2001:db8::1"}
    assert domains(settings, "monitoring") == everybody


def test_a_further_name_renews_and_keeps_the_earlier_ones(settings: Settings) -> None:
    ensure(settings, ["one.example.org"])
    assert ensure(settings, ["two.example.org"]) == list(COMPONENTS)
    assert {"one.example.org", "two.example.org"} <= domains(settings, "proxy")
    assert ensure(settings, ["ONE.example.org"]) == [], "names have no case"


def test_what_ends_within_a_month_is_renewed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure(settings)
    certificates.renew(settings, "portal", days=40, announce=False)
    assert ensure(settings) == []
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(days=11))
    assert ensure(settings) == ["portal"]


def test_a_certificate_that_ends_with_the_ca_is_not_renewed_for_ever(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure(settings)
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(days=pki.CA_DAYS - 20))
    assert ensure(settings) == list(COMPONENTS)
    assert ensure(settings) == []


@pytest.mark.parametrize("damage", ["key of another", "no key", "cut off"])
def test_a_pair_that_does_not_fit_is_replaced(settings: Settings, damage: str) -> None:
    ensure(settings)
    folder = settings.path(settings.certs_dir)
    key = folder / "proxy.key"
    if damage == "key of another":
        key.write_bytes((folder / "main.key").read_bytes())
    elif damage == "no key":
        key.unlink()
    else:
        (folder / "proxy.crt").write_bytes((folder / "proxy.crt").read_bytes()[:100])
    assert ensure(settings) == ["proxy"]
    assert pki.Pair.parse((folder / "proxy.crt").read_bytes(), key.read_bytes())


def test_a_certificate_of_nobody_here_is_left_to_people(settings: Settings) -> None:
    ensure(settings)
    for path in (settings.path(settings.ca_dir) / "issued").iterdir():
        path.unlink()
    (settings.path(settings.certs_dir) / "proxy.crt").write_bytes(b"?")
    with pytest.raises(Refused, match=r"proxy\.crt is none of this CA's certificates"):
        ensure(settings)


def test_a_wrong_name_changes_nothing(settings: Settings) -> None:
    ensure(settings)
    before = files(settings)
    with pytest.raises(Refused, match="neither a host name"):
        ensure(settings, ["not a name"])
    assert files(settings) == before


def test_neither_the_database_nor_redis_is_asked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """In containers they start later; six waits for six certificates would be a minute."""

    def asked(settings: Settings) -> None:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(certificates, "register_issued", asked)
    monkeypatch.setattr("messagebroker.ops.policy.publish_if_changed", asked)
    ensure(settings)
    component_certificates.ensure(settings, ["a.example.org"])
