"""Whom a request is counted for, whatever it writes into X-Forwarded-For."""

import pytest

from service.proxies import Proxies, proxies

OURS = proxies(["10.0.0.0/8", "fd00::/8", "192.0.2.7"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        # nobody in between
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # anybody may write that
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", [], "203.0.113.9"),
        ("fe80::1%eth0", [], "fe80::/64"),
        # behind a proxy of ours
        ("10.1.2.3", ["203.0.113.9"], "203.0.113.9"),
        ("::ffff:10.1.2.3", ["203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),  # the first is what the client wrote
        ("10.1.2.3", ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", ["203.0.113.9, 192.0.2.7", "10.9.9.9"], "203.0.113.9"),  # three of ours
        ("10.1.2.3", ["203.0.113.9,fd00::1"], "203.0.113.9"),
        ("10.1.2.3", ["2001:db8::1"], "2001:db8::/64"),
        ("10.1.2.3", ["203.0.113.9:41234"], "203.0.113.9"),
        ("10.1.2.3", ["[2001:db8::1]:41234"], "2001:db8::/64"),
        ("10.1.2.3", [" 203.0.113.9 "], "203.0.113.9"),
        # nothing to be learnt
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", [""], "10.1.2.3"),
        ("10.1.2.3", ["unknown"], "10.1.2.3"),
        ("10.1.2.3", ["203.0.113.9, _hidden"], "10.1.2.3"),
        ("10.1.2.3", ["203.0.113.9,"], "10.1.2.3"),
        ("10.1.2.3", ["203.0.113.9, garbage, 10.9.9.9"], "10.9.9.9"),
        ("10.1.2.3", ["010.1.1.1", "1.2.3.4.5", "203.0.113.256"], "10.1.2.3"),
        ("10.1.2.3", ["," * 30_000], "10.1.2.3"),
        ("10.1.2.3", ["10.9.9.9"] * 1000, "10.9.9.9"),
        (None, ["203.0.113.9"], "unix"),
    ],
)
def test_the_first_address_from_the_right_that_is_no_proxy_of_ours_is_the_client(
    peer: str | None, forwarded: list[str], client: str
) -> None:
    assert OURS.client(peer, forwarded) == client


def test_without_proxies_nothing_is_assumed() -> None:
    for peer in ("127.0.0.1", "::1", "10.0.0.1"):
        assert "203.0.113.9" not in Proxies().client(peer, ["203.0.113.9"])


def test_a_unix_socket_is_a_proxy_when_it_is_named() -> None:
    assert proxies(["unix"]).client(None, ["203.0.113.9"]) == "203.0.113.9"
    assert proxies(["unix"]).client("10.0.0.1", ["203.0.113.9"]) == "10.0.0.1"


@pytest.mark.parametrize("part", ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", "*", "::1/200", "Unix"])
def test_what_is_no_network_is_named(part: str) -> None:
    with pytest.raises(ValueError, match="is no address, network or 'unix'") as raised:
        proxies(["10.0.0.1", part])
    assert repr(part) in str(raised.value)
