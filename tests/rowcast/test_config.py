import base64
import json

import pytest

from rowcast.config import Config, read_config
from rowcast.errors import ConfigError

URL = "https://abc.supabase.co"
KEY = "sb_secret_abc"


def jwt(role: str) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256'})}.{part({'role': role})}.signature"


def test_reads_the_environment():
    assert read_config(None, None, {"SUPABASE_URL": URL, "SUPABASE_SECRET_KEY": KEY}) == Config(URL, KEY)


def test_takes_the_legacy_variable_when_the_new_one_is_missing_or_empty():
    environ = {"SUPABASE_URL": URL, "SUPABASE_SECRET_KEY": " ", "SUPABASE_SERVICE_ROLE_KEY": jwt("service_role")}
    assert read_config(None, None, environ).key == jwt("service_role")


def test_arguments_beat_the_environment():
    environ = {"SUPABASE_URL": "https://other", "SUPABASE_SECRET_KEY": "sb_secret_other"}
    assert read_config(URL, KEY, environ) == Config(URL, KEY)


@pytest.mark.parametrize("url", [URL + "/", URL + "/rest/v1", URL + "/rest/v1/", f" {URL}\n"])
def test_the_address_may_be_written_in_several_ways(url):
    assert read_config(url, KEY, {}).url == URL


@pytest.mark.parametrize(
    ("url", "key", "told"),
    [
        (None, None, "Not set: SUPABASE_URL .* and SUPABASE_SECRET_KEY"),
        (URL, None, "Not set: SUPABASE_SECRET_KEY"),
        (None, KEY, "Not set: SUPABASE_URL"),
        ("", KEY, "Not set: url"),
        ("abc.supabase.co", KEY, "url must be an http or https address"),
        ("ftp://abc.supabase.co", KEY, "url must be an http or https address"),
        ("http://[::1", KEY, "url is not a URL"),
        (URL + "?x=1", KEY, "url must be the bare address"),
        (URL, "sb_publishable_abc", "key is a publishable key"),
        (URL, jwt("anon"), "key is the anon key"),
        (URL, jwt("authenticated"), "key is an access token of role 'authenticated'"),
        (URL, "a.b.c", "key is no Supabase key"),
        (URL, "hello", "key is no Supabase key"),
        (URL, "sb_secret_a sb_secret_b", "key holds spaces"),
        (URL, "sb_secret_…", "key holds spaces or other characters"),
    ],
)
def test_says_what_is_missing_or_wrong(url, key, told):
    with pytest.raises(ConfigError, match=told):
        read_config(url, key, {})


@pytest.mark.parametrize("key", ["sb_publishable_hidden", "hidden", "x.hidden.y", "sb_secret_hidden hidden"])
def test_never_repeats_a_key(key):
    with pytest.raises(ConfigError) as caught:
        read_config(URL, key, {})
    assert "hidden" not in str(caught.value)
    assert KEY not in repr(Config(URL, KEY))
