from __future__ import annotations

import pytest

from messagebroker.ops.private_networks import parsed, why_not_public

PRIVATE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "168.63.129.16",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "fc00::1", "fd00:ec2::254",
    "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
    "2001::1", "2001:0:7f00:1::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::1", "2002:a00:1::", "3fff::1",
    "100::1", "5f00::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.1", "223.255.255.255",
          "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001::1", "2620:fe::fe"]  # fmt: skip


@pytest.mark.parametrize("text", PRIVATE)
def test_not_public(text: str) -> None:
    assert why_not_public(parsed(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_public(text: str) -> None:
    assert why_not_public(parsed(text)) is None


def test_no_address() -> None:
    for text in ("", "localhost", "127.1", "1.2.3.4.5"):
        with pytest.raises(ValueError, match="does not appear"):
            parsed(text)
