"""Addresses as people write them."""

import pytest

from service.addresses import base_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://abcd.supabase.co", "https://abcd.supabase.co"),
        ("https://abcd.supabase.co/", "https://abcd.supabase.co"),
        ("http://127.0.0.1:54321", "http://127.0.0.1:54321"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("http://exämple.com", "http://exämple.com"),
        ("http://my_host-1", "http://my_host-1"),
        ("http://localhost:65535", "http://localhost:65535"),
        ("https://example.com/behind/a/proxy//", "https://example.com/behind/a/proxy"),
        ("HTTPS://Example.COM", "HTTPS://Example.COM"),
    ],
)
def test_an_address_loses_its_last_slash(text, address):
    assert base_address(text) == address


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must be an http or https address"),
        ("abcd", "must be an http or https address"),
        ("abcd.supabase.co", "must be an http or https address"),
        ("127.0.0.1:8000", "must be an http or https address|is no address"),
        ("localhost:8000", "must be an http or https address"),
        ("ftp://example.com", "must be an http or https address"),
        ("postgresql://u:p@127.0.0.1:5432/postgres", "must be an http or https address"),
        ("http://", "must be an http or https address"),
        ("http://[", "must be an http or https address"),
        ("http://two words", "must be an http or https address"),
        ("http:///path", "must be an http or https address"),
        ("http://example.com:99999", "must be an http or https address"),
        ("http://example.com:-1", "must be an http or https address"),
        ("http://example.com:abc", "is no address"),
        ("http://1.2.3.400", "is no address"),
        ("http://exam\nple.com", "is no address"),
        ("http://user:password@example.com", "must be the bare address"),
        ("http://example.com?apikey=1", "must be the bare address"),
        ("http://example.com#there", "must be the bare address"),
        ("https://abcd.supabase.co/rest/v1", "must be the bare address"),
        ("https://abcd.supabase.co/auth/v1/", "must be the bare address"),
    ],
)
def test_what_is_none_is_told_with_what_would_be(text, complaint):
    with pytest.raises(ValueError, match=complaint) as raised:
        base_address(text)
    assert "password" not in str(raised.value)
