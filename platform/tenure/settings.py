"""Settings: one frozen class, read from the environment once at each door, all problems at once.

`load()` reads `TENURE_*` (and `NAME_FILE` for values kept in files), lets a running stack in the data
directory fill what is unset, and raises BadSettings that names every variable that is wrong. Unknown
`TENURE_*` names are errors, because a misspelt limit is a limit that is off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from tenure.errors import BadSettings, FieldError
from tenure.kit import crash
from tenure.kit.environment_values import boolean, comma_list, json_value, signing_secret
from tenure.kit.secret_key import read_or_make_key
from tenure.kit.url_secrets import secrets_in

STACK_FILE: Final = "stack.json"
_PREFIX: Final = "TENURE_"
_SHORTEST_KEY: Final = 32

SigningSecret = Annotated[SecretStr, AfterValidator(signing_secret)]
Bool = Annotated[bool, BeforeValidator(boolean)]
Names = Annotated[tuple[str, ...], BeforeValidator(comma_list)]


class _Part(BaseModel):
    """A piece of the settings given as JSON; misspelt keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Asset(_Part):
    """A token that is accepted on a chain; `contract` null is the chain's own coin."""

    symbol: str = Field(min_length=1, max_length=16)
    contract: str | None = Field(pattern=r"^0x[0-9a-fA-F]{40}$")
    decimals: int = Field(ge=0, le=36)


class Chain(_Part):
    """A chain that is watched, and the addresses that receive there."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,32}$")
    kind: Literal["evm"]
    chain_id: int = Field(gt=0)
    rpc_urls: tuple[str, ...] = Field(min_length=1)
    confirmations: int = Field(ge=1, le=10_000)
    assets: tuple[Asset, ...] = Field(min_length=1)
    addresses: tuple[Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")], ...] = Field(min_length=1)


class PaymentProvider(_Part):
    """An invoice provider that tells of payments by signed webhooks."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,32}$")
    kind: Literal["hmac", "cryptopay"]
    secret: SigningSecret
    secret_previous: SigningSecret | None = None  # believed as well, while the secret is being changed
    api_url: str | None = None

    def secrets(self) -> list[str]:
        """What its messages may be signed with, the newest first."""
        return [one.get_secret_value() for one in (self.secret, self.secret_previous) if one is not None]


class JobOverride(_Part):
    """What may be changed of a job of the catalog."""

    every_s: float | None = Field(default=None, gt=0, le=86_400 * 31)
    soft_s: float | None = Field(default=None, gt=0, le=3600)
    hard_s: float | None = Field(default=None, gt=0, le=7200)
    batch: int | None = Field(default=None, ge=1, le=100_000)
    max_attempts: int | None = Field(default=None, ge=1, le=10)


class Limits(_Part):
    """Limits at the gate; 0 turns one off."""

    ws_handshakes_per_min: int = Field(default=20, ge=0)
    ws_open_per_address: int = Field(default=100, ge=0)
    ws_open_per_user: int = Field(default=10, ge=0)
    ws_messages_per_s: int = Field(default=20, ge=0)
    ws_burst: int = Field(default=40, ge=0)
    ws_channels: int = Field(default=50, ge=0)
    login_per_min: int = Field(default=20, ge=0)
    api_per_min: int = Field(default=600, ge=0)
    run_per_min: int = Field(default=10, ge=0)


class Settings(BaseModel):
    """Everything that can be set: a field is the variable's name without the prefix, in lower case."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    env: Literal["development", "production"] = "development"
    """`production` demands a key, refuses what is only for trying out, and sends no demo."""
    data_dir: Path = Path(".tenure")
    """Where a stack keeps its data, keys and logs; how commands find it."""
    database_url: SecretStr | None = None
    """PostgreSQL; unset means the running stack's."""
    broker_url: SecretStr | None = None
    """Redis or Valkey for Celery; unset means the running stack's."""
    live_url: SecretStr | None = None
    """Redis or Valkey for the live layer; unset means the broker."""
    secret_key: SecretStr | None = None
    """Signs tokens; in development made once in the data directory."""
    secret_key_previous: SecretStr | None = None
    """The key before, while TENURE_SECRET_KEY is being changed; see `tenure keys rotate`."""
    allowed_origins: Names = ()
    """Exact origins of browsers, comma separated; unset means the own one."""
    trusted_proxies: Names = ()
    """Addresses whose X-Forwarded-* are believed, comma separated."""
    db_pool_max_size: int = Field(default=25, ge=1, le=1000)
    """Database connections of one web process."""
    node_lease_s: float = Field(default=15, ge=1, le=600)
    """How long a silent node counts as alive."""
    watchdog_s: float = Field(default=180, gt=0)
    """How long a process may go without progress."""
    watchdog_grace_s: float = Field(default=60, ge=0)
    """How long after its start nothing is asked of it."""
    drain_delay_s: float | None = Field(default=None, ge=0, le=300)
    """How long `/readyz` says 503 before a shutdown goes on; production: 5."""
    provisioner_url: str | None = None
    """The service whose accounts are switched; unset means off."""
    provisioner_secret: SigningSecret | None = None
    """Signs the calls to the provisioner."""
    telegram_token: SecretStr | None = None
    """The bot's token; unset means no Telegram."""
    telegram_api_url: str = "https://api.telegram.org"
    """Where the Bot API is."""
    telegram_webhook_secret: SecretStr | None = None
    """What Telegram sends with its updates."""
    smtp_url: SecretStr | None = None
    """smtp://user:password@host:port or smtps://; unset means no mail."""
    mail_from: str = "Tenure <tenure@localhost>"
    """The sender of mails."""
    chains: Annotated[tuple[Chain, ...], BeforeValidator(json_value)] = ()
    """Chains to watch, a JSON list."""
    rates: Annotated[dict[str, dict[str, Decimal]], BeforeValidator(json_value)] = {}
    """Price of one unit of an asset by currency, JSON."""
    payment_providers: Annotated[tuple[PaymentProvider, ...], BeforeValidator(json_value)] = ()
    """Invoice providers that tell by webhook, a JSON list."""
    allow_private_urls: Bool | None = None
    """Whether webhook endpoints may be private; default only in development."""
    reopen_hold_s: float = Field(default=900, ge=0)
    """After own downtime, how long expiry waits where only webhooks tell of payments."""
    blind_max_h: float = Field(default=24, gt=0)
    """After how many hours of blindness a person is asked."""
    flower_url: SecretStr | None = None
    """Flower on another host: http://user:password@host:port; unset means the stack's own."""
    sentry_dsn: SecretStr | None = None
    """Sentry's DSN, where errors are reported; needs the extra `sentry`. Unset means nowhere."""
    crash_at: str | None = None
    """Crash points for tests, `point[@job][*times][=action]`, comma separated; refused in production."""
    jobs: Annotated[dict[str, JobOverride], BeforeValidator(json_value)] = {}
    """Changes of jobs, JSON: `{"expiry": {"every_s": 30}}`."""
    limits: Annotated[Limits, BeforeValidator(json_value)] = Limits()
    """Limits at the gate, JSON; 0 turns one off."""

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must start with postgresql:// (no other database is supported)")
        return value

    @field_validator("broker_url", "live_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("redis://", "rediss://")):
            raise ValueError("must start with redis:// or rediss://")
        return value

    @field_validator("crash_at")
    @classmethod
    def _names_crash_points(cls, value: str | None) -> str | None:
        crash.parse(value or "")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _is_smtp(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("smtp://", "smtps://")):
            raise ValueError("must start with smtp:// or smtps://")
        return value

    @field_validator("flower_url")
    @classmethod
    def _has_a_login(cls, value: SecretStr | None) -> SecretStr | None:
        parts = urlsplit(value.get_secret_value()) if value is not None else None
        if parts is not None and not (parts.scheme == "http" and parts.hostname and parts.password):
            raise ValueError("must be http://user:password@host:port")
        return value

    @field_validator("sentry_dsn")
    @classmethod
    def _is_a_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        parts = urlsplit(value.get_secret_value()) if value is not None else None
        if parts is not None and not (
            parts.scheme in {"http", "https"} and parts.hostname and parts.username and parts.path.strip("/")
        ):
            raise ValueError("must be https://key@host/project")
        return value

    @field_validator("provisioner_url", "telegram_api_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/") if value else value

    @field_validator("allowed_origins")
    @classmethod
    def _are_exact(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if "*" in origin or not origin.startswith(("http://", "https://")):
                raise ValueError(f"{origin!r} is not an exact origin such as https://app.example.com")
        return value

    @field_validator("chains")
    @classmethod
    def _have_distinct_names(cls, value: tuple[Chain, ...]) -> tuple[Chain, ...]:
        if len({chain.name for chain in value}) != len(value):
            raise ValueError("two chains have the same name")
        return value

    @field_validator("rates")
    @classmethod
    def _are_positive(cls, value: dict[str, dict[str, Decimal]]) -> dict[str, dict[str, Decimal]]:
        for symbol, prices in value.items():
            for currency, price in prices.items():
                if not price.is_finite() or price <= 0:
                    raise ValueError(f"the price of {symbol} in {currency} must be above 0")
        return value

    @model_validator(mode="after")
    def _is_fit_for_production(self) -> Self:
        if self.provisioner_url and self.provisioner_secret is None:
            raise ValueError("TENURE_PROVISIONER_SECRET: required when TENURE_PROVISIONER_URL is set")
        if not self.is_production:
            return self
        problems = []
        key = self.secret_key.get_secret_value() if self.secret_key else ""
        if len(key) < _SHORTEST_KEY:
            problems.append(f"TENURE_SECRET_KEY: required in production, at least {_SHORTEST_KEY} characters")
        if self.allow_private_urls:
            problems.append("TENURE_ALLOW_PRIVATE_URLS: refused in production")
        if self.crash_at:
            problems.append("TENURE_CRASH_AT: refused in production")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def is_production(self) -> bool:
        """Whether this install serves real customers."""
        return self.env == "production"

    @property
    def private_urls_allowed(self) -> bool:
        """Whether provider URLs may lead to private addresses: by default only in development."""
        return not self.is_production if self.allow_private_urls is None else self.allow_private_urls

    @property
    def drain_s(self) -> float:
        """How long `/readyz` says 503 before sockets are closed at shutdown."""
        return (5.0 if self.is_production else 0.0) if self.drain_delay_s is None else self.drain_delay_s

    def require_database_url(self) -> str:
        """The database's URL. Raises BadSettings when neither the environment nor a running stack has one."""
        return _required(self.database_url, "TENURE_DATABASE_URL", self.data_dir)

    def require_broker_url(self) -> str:
        """The broker's URL. Raises BadSettings when neither the environment nor a running stack has one."""
        return _required(self.broker_url, "TENURE_BROKER_URL", self.data_dir)

    def require_live_url(self) -> str:
        """The live layer's URL: by default the broker."""
        return self.live_url.get_secret_value() if self.live_url else self.require_broker_url()

    def key(self) -> str:
        """The signing key: from the environment, or in development from a 0600 file made once."""
        if self.secret_key is not None:
            return self.secret_key.get_secret_value()
        return read_or_make_key(self.data_dir / "secret.key")

    def secrets(self) -> list[str]:
        """Every secret value set here, those inside of URLs too, for masking in logs."""
        found = [value.get_secret_value() for value in dict(self).values() if isinstance(value, SecretStr)]
        found += [secret for provider in self.payment_providers for secret in provider.secrets()]
        urls = [*found, self.provisioner_url, *(provider.api_url for provider in self.payment_providers)]
        urls += [url for chain in self.chains for url in chain.rpc_urls]
        return found + [secret for url in urls if url and "://" in url for secret in secrets_in(url)]


def _required(value: SecretStr | None, name: str, data_dir: Path) -> str:
    if value is None:
        raise BadSettings(
            f"{name} is not set and no stack runs in {data_dir}",
            errors=[FieldError(name, "missing", "set it, or start a stack with `tenure up`")],
        )
    return value.get_secret_value()


def load(environ: Mapping[str, str] | None = None, *, data_dir: Path | None = None) -> Settings:
    """Read the settings of this process. Raises BadSettings with every problem at once.

    Order: the environment, then (for what is unset there) the stack that runs in the data directory.
    """
    given = dict(os.environ if environ is None else environ)  # noqa: TID251 - this is the place
    problems: list[FieldError] = []
    values = _from_environment(given, problems)
    if data_dir is not None:
        values["data_dir"] = data_dir
    directory = Path(values.get("data_dir") or ".tenure").absolute()
    values["data_dir"] = directory
    values = {**_from_environment(_stack_overlay(directory), problems), **values}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems += _explained(error)
    if problems:
        raise BadSettings(
            "settings:\n" + "\n".join(f"  {p.field}: {p.message}" for p in problems), errors=problems
        )
    return settings


def environment_with(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with these changes: for child processes."""
    return {**os.environ, **changes}  # noqa: TID251 - this is the place


def _stack_overlay(directory: Path) -> dict[str, str]:
    try:
        stack = json.loads((directory / STACK_FILE).read_text())
    except FileNotFoundError:
        return {}
    except (OSError, json.JSONDecodeError) as error:
        raise BadSettings(f"{directory / STACK_FILE} cannot be read: {error}") from error
    overlay: dict[str, str] = stack.get("env", {})
    return overlay


def _from_environment(given: Mapping[str, str], problems: list[FieldError]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in given.items():
        if not name.startswith(_PREFIX):
            continue
        field = name.removeprefix(_PREFIX).lower()
        if field in Settings.model_fields:
            if text != "":
                values[field] = text
        elif field.endswith("_file") and field.removesuffix("_file") in Settings.model_fields:
            try:
                kept = Path(text).read_text().strip()
            except OSError as error:
                problems.append(FieldError(name, "unreadable", f"{text}: {error.strerror}"))
                continue
            if kept:
                values.setdefault(field.removesuffix("_file"), kept)
            else:
                problems.append(FieldError(name, "empty", f"{text} is empty"))
        else:
            problems.append(FieldError(name, "unknown", "there is no such setting"))
    return values


def _explained(error: ValidationError) -> list[FieldError]:
    problems = []
    for detail in error.errors(include_url=False, include_input=False):
        path = [str(part) for part in detail["loc"]]
        message = detail["msg"].removeprefix("Value error, ")
        if not path:  # from the check of the whole: each line names its own variable
            for line in message.splitlines():
                name, _, text = line.partition(": ")
                problems.append(FieldError(name, "refused", text))
            continue
        where = f" (at {'.'.join(path[1:])})" if path[1:] else ""
        problems.append(FieldError(f"{_PREFIX}{path[0].upper()}", detail["type"], message + where))
    return problems
