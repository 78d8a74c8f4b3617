from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from support.cast import Cast, assert_problem

from messagebroker.db.models import Certificate
from messagebroker.ops import certificates, clock


def test_anybody_gets_the_ca_and_its_revocations(cast: Cast) -> None:
    certificates.init_ca(cast.settings)
    issued = certificates.issue(cast.settings, "acme").issued
    Certificate.update(revoked_at=clock.now() - timedelta(seconds=1)).where(Certificate.serial == issued.serial).execute()
    answer = cast.get("/api/v1/ca.crt")
    ca = x509.load_pem_x509_certificate(answer.content)
    assert answer.headers["content-type"] == "application/x-pem-file"
    assert b"PRIVATE" not in answer.content
    crl = x509.load_pem_x509_crl(cast.get("/api/v1/crl").content)
    assert crl.is_signature_valid(ca.public_key())  # type: ignore[arg-type]
    assert crl.get_revoked_certificate_by_serial_number(int(issued.serial, 16)) is not None


def test_strangers_cannot_make_main_sign_all_day(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    signed: list[int] = []
    monkeypatch.setattr(certificates, "crl", lambda _: signed.append(1) or b"pem")
    for _ in range(20):
        assert cast.get("/api/v1/crl").content == b"pem"
    assert len(signed) == 1


def test_without_a_ca_it_is_an_error_with_an_id(cast: Cast) -> None:
    assert_problem(cast.get("/api/v1/ca.crt"), 500, "internal-error")
