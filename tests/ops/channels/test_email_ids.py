"""Message-IDs that nobody else can make."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from messagebroker.ops import ids, keyring
from messagebroker.ops.channels.email_ids import Named, Signer, packed
from messagebroker.settings import Settings, load


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    settings = load({}, data_dir=tmp_path, environment="test")
    keyring.create_master_key(settings)
    return settings


def test_what_was_signed_is_read(home: Settings) -> None:
    one, many = Named((ids.new(),), 7), Named((ids.new(), ids.new()), 8)
    signer = Signer(home)
    assert signer.read(signer.message_id(one, "example.org"), None) == one
    assert signer.read(f"  {signer.message_id(one, 'example.org')} \r\n", None) == one
    assert signer.read(signer.message_id(many, "example.org"), packed(many.message_ids).replace(" ", "\r\n ")) == many


def test_after_a_rotation_older_ones_are_read_too(home: Settings) -> None:
    named = Named((ids.new(),), 7)
    old = Signer(home).message_id(named, "example.org")
    keyring.create_master_key(home)
    assert Signer(home).read(old, None) == named
    assert Signer(home).message_id(named, "example.org") != old


def test_changed_or_foreign_ones_are_not(home: Settings, tmp_path: Path) -> None:
    signer = Signer(home)
    named, many = Named((ids.new(),), 7), Named((ids.new(), ids.new()), 7)
    right = signer.message_id(named, "example.org")
    elsewhere = load({}, data_dir=tmp_path / "other", environment="test")
    keyring.create_master_key(elsewhere)
    wrong = [
        right.replace(".7.", ".8."),
        right.replace(named.message_ids[0].hex(), ids.new().hex()),
        right.replace("mb.", ""),
        Signer(elsewhere).message_id(named, "example.org"),
        signer.message_id(many, "example.org"),
        f"<mb.{os.urandom(16).hex()}.7.{'0' * 32}@example.org>",
        "",
        "<x@example.org>",
    ]
    assert [signer.read(one, None) for one in wrong] == [None] * len(wrong)
    digest = signer.message_id(many, "example.org")
    for others in (
        packed(many.message_ids[:1]),
        packed((*many.message_ids, ids.new())),
        "",
        "!",
        packed(many.message_ids[::-1]),
    ):
        assert signer.read(digest, others) is None
    assert signer.read(right, packed((*named.message_ids, ids.new()))) is None
