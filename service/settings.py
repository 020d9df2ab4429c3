"""What the service is told by its environment. docs/operations.md lists every variable."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import jwt
from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from service.addresses import base_address
from service.errors import SettingsError
from service.proxies import Proxies, proxies
from service.tables import STANDARD, Tables, mapped

MEANT = {
    "SUPABASE_URL": "the project's address, like https://abcd.supabase.co",
    "SUPABASE_SECRET_KEY": "its secret key, sb_secret_… or the service_role key",
    "SUPABASE_PUBLISHABLE_KEY": "its publishable key, sb_publishable_… or the anon key",
}
"""What must be set."""
ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def legacy_role(key: str) -> str | None:
    """The role that a legacy API key (a JWT) is for; None for the new keys."""
    try:
        claims = jwt.decode(key, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError):
        return None
    return str(claims.get("role"))


def _key(value: str) -> str:
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("holds characters that no key has; it may not be copied whole")
    return value


def _secret_key(value: str) -> str:
    if value.startswith("sb_publishable_") or legacy_role(value) == "anon":
        raise ValueError("is a publishable key; the service needs the secret one (sb_secret_… or service_role)")
    return value


def _publishable_key(value: str) -> str:
    if value.startswith("sb_secret_") or legacy_role(value) == "service_role":
        raise ValueError("is a secret key; viewers' questions must be asked with the publishable one")
    return value


def _parts(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _proxies(value: Any) -> Any:
    return proxies(_parts(value)) if isinstance(value, str) else value


def _tables(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        document = tomllib.loads(Path(value).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"names {value!r}, which can't be read: {error.strerror or error}") from None
    except ValueError as error:  # what decoding, and what TOML has against it
        raise ValueError(f"names {value!r}, which is no TOML: {error}") from None
    try:
        return mapped(document)
    except ValueError as error:
        raise ValueError(f"names {value!r}, in which {error}") from None


def _origin(value: str) -> str:
    origin = value.rstrip("/").lower()  # as browsers write it
    if not ORIGIN.fullmatch(origin):
        raise ValueError(f"{value!r} is no origin; an origin looks like https://app.example.com")
    return origin


def _export(value: Path) -> Path:
    if not (value / "index.html").is_file():
        raise ValueError(f"names {str(value)!r}, which holds no index.html; `make web` makes web/out")
    return value.resolve()


class Settings(BaseModel):
    """Immutable settings; durations in seconds, sizes in bytes. Make them with :meth:`from_environment`."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", validate_default=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )

    supabase_url: Annotated[str, AfterValidator(base_address)] = Field(validation_alias="SUPABASE_URL")
    secret_key: Annotated[str, AfterValidator(_key), AfterValidator(_secret_key)] = Field(
        repr=False, validation_alias=AliasChoices("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY")
    )
    publishable_key: Annotated[str, AfterValidator(_key), AfterValidator(_publishable_key)] = Field(
        validation_alias=AliasChoices("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY")
    )
    jwt_secret: str | None = Field(None, repr=False, min_length=16, validation_alias="SUPABASE_JWT_SECRET")
    jwt_issuer: str | None = Field(None, validation_alias="SUPABASE_JWT_ISSUER")
    cors_origins: Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(_parts)] = Field(
        (), validation_alias="ROWCAST_CORS_ORIGINS"
    )

    tables: Annotated[Tables, BeforeValidator(_tables)] = Field(STANDARD, validation_alias="ROWCAST_TABLES")
    reread_seconds: float = Field(30.0, gt=0, le=600, validation_alias="ROWCAST_REREAD_SECONDS")
    heads_seconds: float = Field(5.0, gt=0, le=60, validation_alias="ROWCAST_HEADS_SECONDS")
    linger_seconds: float = Field(30.0, ge=0, validation_alias="ROWCAST_LINGER_SECONDS")
    keepalive_seconds: float = Field(25.0, gt=0, le=300, validation_alias="ROWCAST_KEEPALIVE_SECONDS")
    stream_max_age_seconds: float = Field(3600.0, ge=10, validation_alias="ROWCAST_STREAM_MAX_AGE_SECONDS")
    stuck_seconds: float = Field(30.0, ge=1, le=600, validation_alias="ROWCAST_STUCK_SECONDS")
    outbox_bytes: int = Field(1 << 20, ge=16 << 10, validation_alias="ROWCAST_OUTBOX_BYTES")
    streams_per_user: int = Field(100, ge=0, validation_alias="ROWCAST_STREAMS_PER_USER")
    streams_per_project: int = Field(2_000, ge=0, validation_alias="ROWCAST_STREAMS_PER_PROJECT")
    streams_per_organization: int = Field(5_000, ge=0, validation_alias="ROWCAST_STREAMS_PER_ORGANIZATION")
    streams_per_address: int = Field(1_000, ge=0, validation_alias="ROWCAST_STREAMS_PER_ADDRESS")
    streams: int = Field(10_000, ge=0, validation_alias="ROWCAST_STREAMS")
    requests_per_minute: int = Field(6_000, ge=0, validation_alias="ROWCAST_REQUESTS_PER_MINUTE")
    trusted_proxies: Annotated[Proxies, BeforeValidator(_proxies)] = Field(
        Proxies(), validation_alias="ROWCAST_TRUSTED_PROXIES"
    )
    admin_token: Annotated[str, Field(min_length=32), AfterValidator(_key)] | None = Field(
        None, repr=False, validation_alias="ROWCAST_ADMIN_TOKEN"
    )
    retention_days: float = Field(7.0, ge=0, le=3650, validation_alias="ROWCAST_RETENTION_DAYS")
    stall_seconds: float = Field(10.0, ge=0.1, le=600, validation_alias="ROWCAST_STALL_SECONDS")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", validation_alias="ROWCAST_LOG_LEVEL")
    log_format: Literal["text", "json"] = Field("text", validation_alias="ROWCAST_LOG_FORMAT")
    debug: bool = Field(False, validation_alias="ROWCAST_DEBUG")
    web_directory: Annotated[Path, AfterValidator(_export)] | None = Field(None, validation_alias="ROWCAST_WEB_DIR")

    @property
    def issuer(self) -> str | None:
        """The ``iss`` that access tokens must have; None when SUPABASE_JWT_ISSUER is set to nothing."""
        return f"{self.supabase_url}/auth/v1" if self.jwt_issuer is None else self.jwt_issuer or None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no log may show."""
        return tuple(secret for secret in (self.secret_key, self.jwt_secret, self.admin_token) if secret)

    @property
    def stream_limits(self) -> dict[str, int]:
        """How many streams may be open at once, by what they are counted for; 0 is no limit."""
        return {
            "user": self.streams_per_user,
            "project": self.streams_per_project,
            "organization": self.streams_per_organization,
            "address": self.streams_per_address,
            "process": self.streams,
        }

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Reads the variables. An empty one counts as not set, but for SUPABASE_JWT_ISSUER, where it means "any".

        Raises :class:`SettingsError` naming every variable that is missing or wrong, and what would be right.
        """
        stripped = {name: value.strip() for name, value in environment.items()}
        values = {name: value for name, value in stripped.items() if value or name == "SUPABASE_JWT_ISSUER"}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(" ".join(_complaints(error))) from None


def tables_in(environment: Mapping[str, str]) -> Tables:
    """What ROWCAST_TABLES maps, for who needs no other setting. Raises :class:`SettingsError`."""
    if not (file := environment.get("ROWCAST_TABLES", "").strip()):
        return STANDARD
    try:
        found: Tables = _tables(file)
    except ValueError as error:
        raise SettingsError(f"ROWCAST_TABLES {error}.") from None
    return found


def _complaints(error: ValidationError) -> list[str]:
    told = []
    for item in error.errors(include_input=False, include_url=False):
        name = str(item["loc"][0])
        if item["type"] == "missing":
            told.append(f"{name} is not set ({MEANT[name]}).")
        elif item["type"] == "value_error":
            told.append(f"{name} {item['ctx']['error']}.")
        else:
            told.append(f"{name} is wrong: {item['msg'][0].lower()}{item['msg'][1:]}.")
    return told
