"""What the service is told by its environment. README.md lists every variable with its default."""

from collections.abc import Mapping
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.errors import SettingsError


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be the project's URL, like https://abcd.supabase.co")
    return value.rstrip("/")


def _secret_key(value: str) -> str:
    if value.startswith("sb_publishable_"):
        raise ValueError("is a publishable key; the service needs the secret one (sb_secret_… or service_role)")
    return value


def _publishable_key(value: str) -> str:
    if value.startswith("sb_secret_"):
        raise ValueError("is a secret key; viewers' questions must be asked with the publishable one")
    return value


def _origins(value: Any) -> Any:
    return (
        tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
        if isinstance(value, str)
        else value
    )


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path:
        raise ValueError(f"{value!r} is no origin; an origin looks like https://app.example.com")
    return value


class Settings(BaseModel):
    """Immutable settings; durations in seconds, sizes in bytes. Make them with :meth:`from_environment`."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=True)

    supabase_url: Annotated[str, AfterValidator(_url)] = Field(validation_alias="SUPABASE_URL")
    secret_key: Annotated[str, AfterValidator(_secret_key)] = Field(
        min_length=1, repr=False, validation_alias=AliasChoices("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY")
    )
    publishable_key: Annotated[str, AfterValidator(_publishable_key)] = Field(
        min_length=1, validation_alias=AliasChoices("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY")
    )
    jwt_secret: str | None = Field(None, repr=False, min_length=16, validation_alias="SUPABASE_JWT_SECRET")
    jwt_issuer: str | None = Field(None, validation_alias="SUPABASE_JWT_ISSUER")
    cors_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        (), validation_alias="ROWCAST_CORS_ORIGINS"
    )

    heads_seconds: float = Field(5.0, gt=0, le=60, validation_alias="ROWCAST_HEADS_SECONDS")
    linger_seconds: float = Field(30.0, ge=0, validation_alias="ROWCAST_LINGER_SECONDS")
    keepalive_seconds: float = Field(25.0, gt=0, le=300, validation_alias="ROWCAST_KEEPALIVE_SECONDS")
    stream_max_age_seconds: float = Field(3600.0, ge=10, validation_alias="ROWCAST_STREAM_MAX_AGE_SECONDS")
    outbox_bytes: int = Field(1 << 20, ge=16 << 10, validation_alias="ROWCAST_OUTBOX_BYTES")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", validation_alias="ROWCAST_LOG_LEVEL")

    @model_validator(mode="before")
    @classmethod
    def _split_origins(cls, values: dict[str, Any]) -> dict[str, Any]:
        if "ROWCAST_CORS_ORIGINS" in values:
            values = {**values, "ROWCAST_CORS_ORIGINS": _origins(values["ROWCAST_CORS_ORIGINS"])}
        return values

    @property
    def issuer(self) -> str | None:
        """The ``iss`` that access tokens must have; None when SUPABASE_JWT_ISSUER is set to nothing."""
        return f"{self.supabase_url}/auth/v1" if self.jwt_issuer is None else self.jwt_issuer or None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Reads the variables. An empty one counts as not set, but for SUPABASE_JWT_ISSUER, where it means "any".

        Raises :class:`SettingsError` naming every variable that is missing or wrong, and what would be right.
        """
        values = {name: value for name, value in environment.items() if value or name == "SUPABASE_JWT_ISSUER"}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError("\n".join(_complaints(error))) from None


def _complaints(error: ValidationError) -> list[str]:
    told = []
    for item in error.errors():
        name = str(item["loc"][0])
        if item["type"] == "missing":
            told.append(f"{name} is not set.")
        elif item["type"] == "value_error":
            told.append(f"{name} {item['ctx']['error']}.")
        else:
            told.append(f"{name} is wrong: {item['msg'][0].lower()}{item['msg'][1:]}.")
    return told
