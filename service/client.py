"""The HTTP client that all questions to Supabase go out with: so many at once, the others in line.

aiohttp carries what httpx asks: httpcore (1.0) takes three times its time for a question, looks at everybody in line
whenever one begins or ends, and loses connections when whoever asked leaves at the wrong moment.
"""

from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from service.errors import SettingsError

AT_ONCE = 20
"""A Supabase 50 ms away answers 400 a second on 20 connections."""
SECONDS = 10.0
"""How long a question may wait in line, and then again for each step of its answer."""


def environment_proxy(url: str) -> httpx.Proxy | None:
    """The way to an address that the environment prescribes (HTTPS_PROXY, NO_PROXY …), None for the straight one.

    aiohttp (3.14) can look for itself, and does for every question anew: in two threads, for half of its time.

    Raises :class:`SettingsError`.
    """
    address = urlsplit(url)
    proxy = getproxies().get(address.scheme)
    if not proxy or any(proxy_bypass(host) for host in (address.netloc, address.hostname) if host):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    try:
        found = httpx.Proxy(proxy)
    except (httpx.InvalidURL, ValueError):
        found = None
    if found is None or found.url.scheme not in ("http", "https") or not found.url.host:
        variable = f"{address.scheme.upper()}_PROXY"  # its value may hold a password
        raise SettingsError(
            f"{variable} names no proxy that can be used; one looks like http://proxy.example.com:3128."
        )
    return found


class Client(httpx.AsyncClient):
    """``at_once`` requests are under way at most, by way of the ``proxy`` if there is one.

    Whatever goes wrong is a :class:`httpx.HTTPError`.
    """

    def __init__(self, at_once: int = AT_ONCE, seconds: float = SECONDS, proxy: httpx.Proxy | None = None) -> None:
        def session() -> aiohttp.ClientSession:
            connector = aiohttp.TCPConnector(limit=at_once, ssl=httpx.create_ssl_context())
            # What one user's question is answered with is not sent along with another's: no cookies.
            session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
            # It would ask again where a connection ends: also a DELETE, which may have spent a ticket the first time.
            session._retry_connection = False  # noqa: SLF001 - there is no other way to say so
            return session

        self._only_transport = _Transport(client=session, proxy=proxy)
        super().__init__(timeout=seconds, transport=self._only_transport)

    async def send(self, request: httpx.Request, *, stream: bool = False, **_: Any) -> httpx.Response:
        """As any client's, without redirects, cookies and logins: Supabase does not answer with them."""
        response = await self._only_transport.handle_async_request(request)
        response.request = request
        if not stream:
            try:
                await response.aread()
            except BaseException:
                await response.aclose()
                raise
        return response


class _Transport(AiohttpTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except (aiohttp.ClientError, OSError, UnicodeError) as error:  # what the base leaves as it is: a bad answer
            raise httpx.RemoteProtocolError(str(error), request=request) from error
        except Exception as error:  # aiohttp says in several ways that its session was closed under a question
            if isinstance(self.client, aiohttp.ClientSession) and self.client.closed:
                raise httpx.TransportError(str(error), request=request) from error
            raise
