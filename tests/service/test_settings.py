"""Every variable, every alias, and what is said of each wrong value."""

import re

import jwt
import pytest
from pydantic import ValidationError

from service.errors import SettingsError
from service.proxies import Proxies, proxies
from service.settings import MEANT, Settings
from service.tables import STANDARD

SECRET_KEY = "sb_secret_0123456789"
PUBLISHABLE_KEY = "sb_publishable_0123456789"
JWT_SECRET = "a-legacy-secret-of-at-least-thirty-two-characters"
REQUIRED = {
    "SUPABASE_URL": "https://abcd.supabase.co",
    "SUPABASE_SECRET_KEY": SECRET_KEY,
    "SUPABASE_PUBLISHABLE_KEY": PUBLISHABLE_KEY,
}


def read(**variables):
    return Settings.from_environment({**REQUIRED, **variables})


def complaint(**variables):
    with pytest.raises(SettingsError) as raised:
        read(**variables)
    return str(raised.value)


def legacy_key(role):
    return jwt.encode({"iss": "supabase", "ref": "abcd", "role": role}, JWT_SECRET, algorithm="HS256")


def test_three_variables_are_enough():
    assert dict(read()) == {
        "supabase_url": "https://abcd.supabase.co",
        "secret_key": SECRET_KEY,
        "publishable_key": PUBLISHABLE_KEY,
        "jwt_secret": None,
        "jwt_issuer": None,
        "cors_origins": (),
        "tables": STANDARD,
        "reread_seconds": 30.0,
        "heads_seconds": 5.0,
        "retention_days": 7.0,
        "stuck_seconds": 30.0,
        "linger_seconds": 30.0,
        "keepalive_seconds": 25.0,
        "stream_max_age_seconds": 3600.0,
        "outbox_bytes": 1 << 20,
        "streams_per_user": 100,
        "streams_per_project": 2_000,
        "streams_per_organization": 5_000,
        "streams_per_address": 1_000,
        "streams": 10_000,
        "requests_per_minute": 6_000,
        "trusted_proxies": Proxies(),
        "admin_token": None,
        "stall_seconds": 10.0,
        "log_level": "info",
        "log_format": "text",
        "debug": False,
        "web_directory": None,
    }


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("SUPABASE_URL", "http://127.0.0.1:54321/", "supabase_url", "http://127.0.0.1:54321"),
        ("SUPABASE_SECRET_KEY", legacy_key("service_role"), "secret_key", legacy_key("service_role")),
        ("SUPABASE_PUBLISHABLE_KEY", legacy_key("anon"), "publishable_key", legacy_key("anon")),
        ("SUPABASE_JWT_SECRET", JWT_SECRET, "jwt_secret", JWT_SECRET),
        ("SUPABASE_JWT_SECRET", "", "jwt_secret", None),
        ("SUPABASE_JWT_ISSUER", "https://auth.example.com", "jwt_issuer", "https://auth.example.com"),
        ("SUPABASE_JWT_ISSUER", "", "jwt_issuer", ""),
        ("ROWCAST_CORS_ORIGINS", "", "cors_origins", ()),
        ("ROWCAST_CORS_ORIGINS", "https://app.example.com", "cors_origins", ("https://app.example.com",)),
        ("ROWCAST_CORS_ORIGINS", " http://a.b:3000/ ,, https://[::1] ,", "cors_origins",
         ("http://a.b:3000", "https://[::1]")),
        ("ROWCAST_CORS_ORIGINS", "https://App.Example.com", "cors_origins", ("https://app.example.com",)),
        ("ROWCAST_REREAD_SECONDS", "0.5", "reread_seconds", 0.5),
        ("ROWCAST_HEADS_SECONDS", "0.5", "heads_seconds", 0.5),
        ("ROWCAST_LINGER_SECONDS", "0", "linger_seconds", 0.0),
        ("ROWCAST_KEEPALIVE_SECONDS", "300", "keepalive_seconds", 300.0),
        ("ROWCAST_STREAM_MAX_AGE_SECONDS", "10", "stream_max_age_seconds", 10.0),
        ("ROWCAST_OUTBOX_BYTES", "16384", "outbox_bytes", 16384),
        ("ROWCAST_STREAMS_PER_USER", "0", "streams_per_user", 0),
        ("ROWCAST_STREAMS_PER_PROJECT", "1", "streams_per_project", 1),
        ("ROWCAST_STREAMS_PER_ORGANIZATION", "2", "streams_per_organization", 2),
        ("ROWCAST_STREAMS_PER_ADDRESS", "3", "streams_per_address", 3),
        ("ROWCAST_STREAMS", "4", "streams", 4),
        ("ROWCAST_REQUESTS_PER_MINUTE", "5", "requests_per_minute", 5),
        ("ROWCAST_TRUSTED_PROXIES", "", "trusted_proxies", Proxies()),
        ("ROWCAST_TRUSTED_PROXIES", "10.0.0.0/8, unix,", "trusted_proxies", proxies(["10.0.0.0/8", "unix"])),
        ("ROWCAST_ADMIN_TOKEN", "a" * 32, "admin_token", "a" * 32),
        ("ROWCAST_RETENTION_DAYS", "0", "retention_days", 0.0),
        ("ROWCAST_STUCK_SECONDS", "1", "stuck_seconds", 1.0),
        ("ROWCAST_STALL_SECONDS", "0.1", "stall_seconds", 0.1),
        ("ROWCAST_LOG_LEVEL", "debug", "log_level", "debug"),
        ("ROWCAST_LOG_FORMAT", "json", "log_format", "json"),
        ("ROWCAST_DEBUG", "1", "debug", True),
        ("ROWCAST_DEBUG", "0", "debug", False),
        ("ROWCAST_DEBUG", "", "debug", False),
    ],
)  # fmt: skip
def test_a_variable_is_read(name, text, field, value):
    for padded in (text, f" {text}\n"):
        assert getattr(read(**{name: padded}), field) == value


def test_the_page_is_where_it_is_said_to_be(tmp_path):
    (tmp_path / "index.html").touch()
    assert read(ROWCAST_WEB_DIR=str(tmp_path)).web_directory == tmp_path.resolve()


def test_every_setting_has_a_variable_that_is_tested():
    assert len(Settings.model_fields) == 28


@pytest.mark.parametrize(
    ("first", "second", "field"),
    [
        ("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY", "secret_key"),
        ("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY", "publishable_key"),
    ],
)
def test_the_older_names_of_keys_are_known(first, second, field):
    others = {name: value for name, value in REQUIRED.items() if name != first}
    assert getattr(Settings.from_environment({**others, second: "older"}), field) == "older"
    assert getattr(Settings.from_environment({**others, first: "", second: "older"}), field) == "older"
    assert getattr(Settings.from_environment({**others, first: "newer", second: "older"}), field) == "newer"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("SUPABASE_URL", "abcd.supabase.co", "SUPABASE_URL must be an http or https address, like"),
        ("SUPABASE_URL", "https://abcd.supabase.co/rest/v1", "SUPABASE_URL must be the bare address"),
        ("SUPABASE_URL", "http://a:b", "SUPABASE_URL is no address: Invalid port: 'b'."),
        ("SUPABASE_SECRET_KEY", PUBLISHABLE_KEY, "SUPABASE_SECRET_KEY is a publishable key; the service needs"),
        ("SUPABASE_SECRET_KEY", legacy_key("anon"), "SUPABASE_SECRET_KEY is a publishable key; the service needs"),
        ("SUPABASE_SECRET_KEY", "sb secret", "SUPABASE_SECRET_KEY holds characters that no key has"),
        ("SUPABASE_SECRET_KEY", "“sb_secret”", "SUPABASE_SECRET_KEY holds characters that no key has"),
        ("SUPABASE_PUBLISHABLE_KEY", SECRET_KEY, "SUPABASE_PUBLISHABLE_KEY is a secret key; viewers'"),
        ("SUPABASE_PUBLISHABLE_KEY", legacy_key("service_role"), "SUPABASE_PUBLISHABLE_KEY is a secret key; viewers'"),
        ("SUPABASE_PUBLISHABLE_KEY", "a\nb", "SUPABASE_PUBLISHABLE_KEY holds characters that no key has"),
        ("SUPABASE_JWT_SECRET", "fifteen-letters", "SUPABASE_JWT_SECRET is wrong: string should have at least 16"),
        ("ROWCAST_CORS_ORIGINS", "*", "ROWCAST_CORS_ORIGINS '*' is no origin; an origin looks like https://app."),
        ("ROWCAST_CORS_ORIGINS", "https://a/b", "ROWCAST_CORS_ORIGINS 'https://a/b' is no origin"),
        ("ROWCAST_CORS_ORIGINS", "http://ok,null", "ROWCAST_CORS_ORIGINS 'null' is no origin"),
        ("ROWCAST_CORS_ORIGINS", "https://*.example.com", "'https://*.example.com' is no origin"),
        ("ROWCAST_CORS_ORIGINS", "http://a http://b", "'http://a http://b' is no origin"),
        ("ROWCAST_CORS_ORIGINS", "https://u@a", "'https://u@a' is no origin"),
        ("ROWCAST_CORS_ORIGINS", "https://a?b", "'https://a?b' is no origin"),
        ("ROWCAST_CORS_ORIGINS", "http://[", "'http://[' is no origin"),
        ("ROWCAST_HEADS_SECONDS", "0", "ROWCAST_HEADS_SECONDS is wrong: input should be greater than 0."),
        ("ROWCAST_HEADS_SECONDS", "61", "ROWCAST_HEADS_SECONDS is wrong: input should be less than or equal to 60."),
        ("ROWCAST_HEADS_SECONDS", "five", "ROWCAST_HEADS_SECONDS is wrong: input should be a valid number"),
        ("ROWCAST_HEADS_SECONDS", "nan", "ROWCAST_HEADS_SECONDS is wrong: input should be a finite number."),
        ("ROWCAST_LINGER_SECONDS", "-1", "ROWCAST_LINGER_SECONDS is wrong: input should be greater than or equal"),
        ("ROWCAST_LINGER_SECONDS", "inf", "ROWCAST_LINGER_SECONDS is wrong: input should be a finite number."),
        ("ROWCAST_KEEPALIVE_SECONDS", "301", "ROWCAST_KEEPALIVE_SECONDS is wrong: input should be less than"),
        ("ROWCAST_STREAM_MAX_AGE_SECONDS", "9", "ROWCAST_STREAM_MAX_AGE_SECONDS is wrong: input should be greater"),
        ("ROWCAST_OUTBOX_BYTES", "16383", "OUTBOX_BYTES is wrong: input should be greater than or equal to 16384"),
        ("ROWCAST_OUTBOX_BYTES", "1 MiB", "ROWCAST_OUTBOX_BYTES is wrong: input should be a valid integer"),
        ("ROWCAST_STREAMS_PER_USER", "-1", "ROWCAST_STREAMS_PER_USER is wrong: input should be greater than or equal"),
        ("ROWCAST_STREAMS", "many", "ROWCAST_STREAMS is wrong: input should be a valid integer"),
        ("ROWCAST_TRUSTED_PROXIES", "10.0.0.1,proxy.example", "ROWCAST_TRUSTED_PROXIES 'proxy.example' is no address,"),
        ("ROWCAST_TRUSTED_PROXIES", "10.0.0.1/8", "'10.0.0.1/8' is no address, network or 'unix' (10.0.0.1/8 has host"),
        ("ROWCAST_ADMIN_TOKEN", "a" * 31, "ROWCAST_ADMIN_TOKEN is wrong: string should have at least 32 characters."),
        ("ROWCAST_ADMIN_TOKEN", "a" * 32 + " b", "ROWCAST_ADMIN_TOKEN holds characters that no key has"),
        ("ROWCAST_RETENTION_DAYS", "-1", "ROWCAST_RETENTION_DAYS is wrong: input should be greater than or equal to 0"),
        ("ROWCAST_LOG_LEVEL", "loud", "is wrong: input should be 'debug', 'info', 'warning' or 'error'."),
        ("ROWCAST_DEBUG", "perhaps", "ROWCAST_DEBUG is wrong: input should be a valid boolean"),
        ("ROWCAST_WEB_DIR", "nowhere", "ROWCAST_WEB_DIR names 'nowhere', which holds no index.html; `make web` makes"),
        ("ROWCAST_LOG_FORMAT", "xml", "ROWCAST_LOG_FORMAT is wrong: input should be 'text' or 'json'."),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_what_would_be_right(name, text, said):
    told = complaint(**{name: text})
    assert said in told
    assert set(re.findall(r"(?:SUPABASE|ROWCAST)_[A-Z_]+", told)) == {name}


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
@pytest.mark.parametrize("name", REQUIRED)
def test_empty_is_not_set(name, empty):
    assert complaint(**{name: empty}) == f"{name} is not set ({MEANT[name]})."


def test_one_line_names_everything_that_is_missing():
    with pytest.raises(SettingsError) as raised:
        Settings.from_environment({})
    assert str(raised.value) == " ".join(f"{name} is not set ({meant})." for name, meant in MEANT.items())


def test_one_line_names_everything_that_is_wrong():
    told = complaint(SUPABASE_URL="", ROWCAST_LINGER_SECONDS="x", ROWCAST_LOG_LEVEL="x", ROWCAST_CORS_ORIGINS="*,x")
    assert "\n" not in told
    assert len(re.findall("SUPABASE_URL|ROWCAST_LINGER_SECONDS|ROWCAST_LOG_LEVEL|ROWCAST_CORS_ORIGINS", told)) == 5


def test_the_issuer_is_the_projects_unless_told_otherwise():
    assert read().issuer == "https://abcd.supabase.co/auth/v1"
    assert read(SUPABASE_JWT_ISSUER="https://auth.example.com").issuer == "https://auth.example.com"
    assert read(SUPABASE_JWT_ISSUER="").issuer is None


SECRETS = ["SUPABASE_SECRET_KEY", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_JWT_SECRET", "ROWCAST_ADMIN_TOKEN"]


def test_secrets_are_in_no_repr():
    settings = read(SUPABASE_JWT_SECRET=JWT_SECRET, ROWCAST_ADMIN_TOKEN="admin" * 10)
    for shown in (repr(settings), str(settings)):
        assert SECRET_KEY not in shown
        assert JWT_SECRET not in shown
        assert "adminadmin" not in shown


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("text", ["sb_publishable_hush", "sb_secret_hush", "hush hush", "hüsh-hush", "hush"])
def test_secrets_are_in_no_complaint(name, text):
    try:
        told = complaint(**{name: text, "ROWCAST_LOG_LEVEL": "loud"})
    except ValidationError as error:
        pytest.fail(f"not a SettingsError: {type(error)}")
    assert "hush" not in told
    assert "sh-h" not in told


def test_a_complaint_drags_no_input_along():
    with pytest.raises(SettingsError) as raised:
        read(SUPABASE_JWT_SECRET="hush")
    assert raised.value.__suppress_context__
    assert raised.value.__cause__ is None


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        read().log_level = "debug"


def test_other_variables_are_nobodys_business():
    assert read(PATH="/bin", secret_key="x", supabase_url="y", ROWCAST_URL="z") == read()


def test_tables_are_mapped_by_a_file(tmp_path):
    file = tmp_path / "tables.toml"
    file.write_text('[jobs]\ntable = "tasks"\n')
    assert read(ROWCAST_TABLES=str(file)).tables.ours["jobs"].there == "tasks"
    file.write_text("[jobs")
    assert "which is no TOML: " in complaint(ROWCAST_TABLES=str(file))
    file.write_text('[documents]\ntable = "x"\n')
    assert complaint(ROWCAST_TABLES=str(file)).endswith(
        "tables.toml', in which 'documents' is none of ingestion_sources, jobs, proposed_nodes."
    )
    assert complaint(ROWCAST_TABLES=str(tmp_path / "none.toml")).endswith("can't be read: No such file or directory.")
