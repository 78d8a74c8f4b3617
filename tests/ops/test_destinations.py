from __future__ import annotations

import asyncio

import pytest
from support.webhooks import Allowed

from messagebroker.ops.destinations import Forbidden, Guard, destination
from messagebroker.ops.resolver import Resolver
from messagebroker.settings import load


@pytest.mark.parametrize(
    ("url", "host", "port", "target", "authority"),
    [
        ("https://Shop.Example.org/hooks?a=1&b=%20", "shop.example.org", 443, "/hooks?a=1&b=%20", "shop.example.org"),
        ("https://shop.example.org", "shop.example.org", 443, "/", "shop.example.org"),
        ("https://shop.example.org:443?x", "shop.example.org", 443, "/?x", "shop.example.org"),
        ("http://shop.example.org:8080//x", "shop.example.org", 8080, "//x", "shop.example.org:8080"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443, "/", "xn--bcher-kva.example"),
        ("https://[2606:4700::0001]:8443/", "2606:4700::1", 8443, "/", "[2606:4700::1]:8443"),
        ("https://[::ffff:7f00:1]/", "127.0.0.1", 443, "/", "127.0.0.1"),
        ("https://0x7f.1/", "127.0.0.1", 443, "/", "127.0.0.1"),
        ("https://2130706433/", "127.0.0.1", 443, "/", "127.0.0.1"),
        ("https://0177.0.0.01/", "127.0.0.1", 443, "/", "127.0.0.1"),
        ("https://127.0.0.1./", "127.0.0.1", 443, "/", "127.0.0.1"),
        ("https://0/", "0.0.0.0", 443, "/", "0.0.0.0"),
    ],
)
def test_parts(url: str, host: str, port: int, target: str, authority: str) -> None:
    found = destination(url)
    assert (found.host, found.port, found.target, found.authority) == (host, port, target, authority)
    assert found.is_literal == (":" in host or host[-1].isdigit())


@pytest.mark.parametrize(
    "url",
    ["", "shop.example", "//shop.example/", "file:///etc/passwd", "gopher://shop.example/", "https:shop.example", "https:///x",
     "https://user@shop.example/", "https://user:secret@shop.example/", "https://@shop.example/", "https://good.example\\@127.0.0.1/",
     "https://shop.example/#f", "https://shop.example:0/", "https://shop.example:99999/", "https://shop.example:x/",
     "https://shop example/", "https://shop.example/a b", "https://shop.example/\n", "https://shop.exämple/", "https://[::1/",
     "https://[fe80::1%25eth0]/", "https://[shop.example]/", "https://a..b/", "https://1.2.3.4.5/", "https://shop.0x/",
     "https://256.1.1.1/",
     "https://-/", "https://a%2eb/", "https://" + "a" * 300 + ".example/", "https://a.example/" + "x" * 2000],
)  # fmt: skip
def test_no_destinations(url: str) -> None:
    with pytest.raises(Forbidden) as caught:
        destination(url)
    assert caught.value.permanent
    assert "secret" not in str(caught.value)


def checked(url: str, answer: list[str], *networks: str, http: bool = False) -> tuple[str, ...]:
    async def run() -> tuple[str, ...]:
        settings = load({}, environment="test", webhook_allow_http=http)
        guard = Guard(settings, resolver=Resolver(lambda host: answer), allow_list=Allowed(*networks))
        return await guard.addresses(destination(url))

    return asyncio.run(run())


def test_public_addresses_go_through_in_their_order() -> None:
    answer = ["2606:4700:4700::1111", "1.1.1.1", "::ffff:8.8.8.8"]
    assert checked("https://shop.example/", answer) == ("2606:4700:4700::1111", "1.1.1.1", "8.8.8.8")


def test_one_private_address_is_enough_to_refuse() -> None:
    with pytest.raises(Forbidden, match=r"shop.example is 10.0.0.7, which is private; .* of its network") as caught:
        checked("https://shop.example/", ["1.1.1.1", "10.0.0.7"])
    assert not caught.value.permanent  # a name can be given another address


def test_allowed_networks_are_reached_by_https_and_http() -> None:
    for scheme in ("https", "http"):
        assert checked(f"{scheme}://shop.example/", ["10.0.0.7"], "10.0.0.0/24") == ("10.0.0.7",)
        with pytest.raises(Forbidden):
            checked(f"{scheme}://shop.example/", ["10.0.1.7"], "10.0.0.0/24")


def test_http_to_public_addresses_is_for_who_allows_it() -> None:
    with pytest.raises(Forbidden, match="WEBHOOK_ALLOW_HTTP") as caught:
        checked("http://shop.example/", ["1.1.1.1"])
    assert caught.value.permanent
    assert checked("http://shop.example/", ["1.1.1.1"], http=True) == ("1.1.1.1",)
    with pytest.raises(Forbidden):
        checked("http://shop.example/", ["10.0.0.7"], http=True)
