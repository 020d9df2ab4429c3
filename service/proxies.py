"""From which address a request comes, when proxies stand between.

X-Forwarded-For is what anybody may write. Only what a trusted proxy has added to it counts: from the right, each
address is believed as long as the one who told it is a proxy of ours. The first that is not is the client.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

UNIX = "unix"
"""Names whoever comes through a Unix socket, where there are no addresses."""
IPV6_SITE_BITS = 64
"""What one customer of a provider has at least: a limit by single addresses would be none."""


def proxies(parts: Iterable[str]) -> "Proxies":
    """Reads addresses, networks (10.0.0.0/8) and the word unix. Raises ValueError saying which part is wrong."""
    found = []
    has_unix = False
    for part in parts:
        if part == UNIX:
            has_unix = True
            continue
        try:
            found.append(ip_network(part))
        except ValueError as error:
            raise ValueError(f"{part!r} is no address, network or 'unix' ({error})") from None
    return Proxies(tuple(found), has_unix)


@dataclass(frozen=True)
class Proxies:
    """The proxies whose word on X-Forwarded-For counts."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    unix: bool = False

    def client(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """Whom to count a request for: an IPv4 address, or an IPv6 /64.

        ``peer`` is the other end of the connection, None for a Unix socket; ``forwarded`` are the values of
        X-Forwarded-For in the order of the request. What is no address there ends the search: the proxy that passed it
        on is counted.
        """
        address = None if peer is None else _address(peer)
        hops = [hop for value in forwarded for hop in value.split(",")]
        while hops and self._trusts(address):
            told = _address(hops.pop())
            if told is None:
                break
            address = told
        return UNIX if address is None else _site(address)

    def _trusts(self, address: Address | None) -> bool:
        if address is None:
            return self.unix
        return any(address in network for network in self.networks)


def _address(text: str) -> Address | None:
    """An address as proxies write it: bare, in brackets, or with a port."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _site(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(ip_network((int(address), IPV6_SITE_BITS), strict=False))
