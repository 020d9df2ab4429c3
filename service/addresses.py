"""Addresses of servers, as people write them."""

import re

import httpx

HOST = re.compile(r"[\w.-]+|[0-9a-fA-F:.]+")
SUPABASE_PATHS = ("/rest/v1", "/auth/v1", "/realtime/v1")


def base_address(text: str) -> str:
    """An http or https address without a slash at its end.

    Raises ValueError; its message says what is wrong and goes behind the name of whatever held the address.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(f"is no address: {error}") from None
    is_reachable = HOST.fullmatch(url.host) and 0 <= (url.port or 0) < 1 << 16
    if url.scheme not in ("http", "https") or not is_reachable:
        raise ValueError("must be an http or https address, like https://abcd.supabase.co or http://127.0.0.1:8000")
    if url.query or url.fragment or url.userinfo or url.path.rstrip("/").endswith(SUPABASE_PATHS):
        raise ValueError("must be the bare address: no user name, no '?' or '#', and no /rest/v1")
    return text.rstrip("/")
