"""The settings: environment variables or `.env`, checked at start, one clear line for each that is wrong.

`.env.example` lists them for operators; a test keeps the two alike.
"""

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from dotenv.parser import parse_stream

from app import guesses, providers, valkey_url
from app import setting_values as read
from app.providers import Provider
from app.setting_values import Network, Rate

BASE = "/api/auth/v2"  # of the API; the contract's, and no setting

Sampler = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]
Algorithm = Literal["ES256", "EdDSA", "RS256", "HS256"]

DIFFERENT_IN_PASSWORD = 5  # characters
GUESSABLE_PASSWORDS = (
    "admin",
    "password",
    "gatehouse",
    "changeme",
    "change-me",
    "secret",
    "letmein",
    "123456",
    "qwerty",
)

NAME = re.compile(r"[A-Z][A-Z0-9_]{0,39}|[a-z][a-z0-9_]{0,39}")  # what may be repeated of a name that we do not know


class InvalidSettings(Exception):
    """One line for each setting that is missing or wrong; never its value where that may be secret."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set. A field is the environment variable of the same name in capitals."""

    environment: Literal["development", "production"] = "production"
    public_url: str = ""
    audience: str = ""
    secret_key: str = field(default="", repr=False)
    secret_key_previous: str = field(default="", repr=False)

    database_url: str = field(default="", repr=False)
    database_pool_size: int = 10  # connections a worker; 5 more are held for the outbox, the lists and the reports
    database_pooler: Literal["none", "transaction"] = "none"  # what stands between, and how it hands sessions out
    lossless_failover: bool = False  # on: a new timeline is a synchronous replica that took over, not a restored copy
    valkey_url: str = field(default="", repr=False)

    jwt_algorithm: Algorithm = "ES256"
    jwt_secret: str = field(default="", repr=False)
    access_token_expire_minutes: int = 15
    refresh_token_expire_days: int = 30
    refresh_grace_seconds: int = 10  # a lost answer or a second tab asks again within it
    strict_revocation: bool = False  # on: neither lease nor PostgreSQL is 503, never a cached answer

    registration: Literal["open", "closed"] = "open"
    password_grant: bool = True
    password_min_length: int = 8  # characters; NIST SP 800-63B-4 §3.1.1
    argon2_memory_kib: int = 19456  # OWASP Password Storage Cheat Sheet: 19 MiB, t=2, p=1
    argon2_time_cost: int = 2
    argon2_parallelism: int = 1

    rate_limit_login: Rate | None = Rate(5, 900)
    rate_limit_mfa: Rate | None = Rate(10, 900)  # wrong second factors of an account, over all its logins
    mfa_codes_per_login: int = 5  # tries, right or wrong; then the password is asked for again
    rate_limit_account: Rate | None = Rate(10, 900)
    rate_limit_register: Rate | None = Rate(3, 3600)
    rate_limit_forgot: Rate | None = Rate(3, 3600)  # mails that anybody can have sent to an address
    rate_limit_forgot_ip: Rate | None = Rate(20, 3600)  # asked for from one network, whoever has the addresses

    trusted_proxies: tuple[Network, ...] = ()
    cors_origins: tuple[str, ...] = ()  # whose pages may call us, and use passkeys here

    redirect_uris: tuple[str, ...] = ()  # where a sign-in by a provider may lead, each to the letter (RFC 9700 §2.1)
    oidc_providers: tuple[Provider, ...] = ()
    outbound_ca_file: Path | None = None  # whom we ask is trusted by these certificates as well

    gpustack_url: str = ""
    gpustack_api_key: str = field(default="", repr=False)
    gpustack_offline_hours: int = 24  # that a password is taken while GPUStack is away; 0: never
    gpustack_sync_minutes: int = 10  # between two looks at its list of users; 0: only when asked

    smtp_url: str = field(default="", repr=False)
    mail_from: str = ""  # see `mail_sender`
    mail_templates_dir: Path | None = None

    admin_username: str = "admin"
    admin_password: str = field(default="", repr=False)

    new_device_mail: bool = True  # a notice of a sign-in on a device whose name no kept session has

    session_retention_days: int = 30
    audit_retention_days: int = 400
    sessions_per_user: int = 0  # 0: no cap; else the oldest goes

    metrics_token: str = field(default="", repr=False)

    # the names and the words are OpenTelemetry's; what it knows besides (OTEL_BSP_…) it reads itself
    otel_exporter_otlp_endpoint: str = ""
    otel_exporter_otlp_headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    otel_service_name: str = "gatehouse"
    otel_traces_sampler: Sampler = "parentbased_always_on"
    otel_traces_sampler_arg: float = 1.0  # the part of all traces, for the samplers by ratio

    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    api_docs: bool = True
    drain_seconds: float = 10.0

    @property
    def development(self) -> bool:
        return self.environment == "development"

    @property
    def pooled(self) -> bool:
        """Whether the sessions of PostgreSQL are but a transaction long."""
        return self.database_pooler == "transaction"

    @property
    def mail_sender(self) -> tuple[str, str]:
        """Name and address that mail is from; in development nobody has to say."""
        return read.name_and_address(self.mail_from or f"Gatehouse <no-reply@{_mail_domain(self.public_url)}>")


def load(environ: Mapping[str, str] | None = None, env_file: Path | None = Path(".env")) -> Settings:
    """Read and check the settings; the environment wins over the file.

    Raises:
        InvalidSettings: with a line for each setting that is wrong. A name in `.env` that is no setting is one of them
            (a misspelt setting must not pass for its default); the environment is not ours alone and is not searched.
    """
    problems: list[str] = []
    given: dict[str, str] = {}
    known = {f.name.upper() for f in fields(Settings)}
    if env_file is not None and env_file.is_file():
        given |= _in_file(env_file, known, problems)
    given |= os.environ if environ is None else environ

    values: dict[str, Any] = {}
    for f in fields(Settings):
        raw = given.get(f.name.upper())
        if raw is None or not raw.strip():
            continue
        try:
            values[f.name] = PARSERS[f.name](raw.strip())
        except ValueError as error:
            problems.append(f"{f.name.upper()}: {error}")
    if not problems:
        settings = Settings(**_with_defaults(values))
        problems += _contradictions(settings)
        if not problems:
            return settings
    raise InvalidSettings(problems)


def _in_file(env_file: Path, known: set[str], problems: list[str]) -> dict[str, str]:
    """What stands in `.env`. A line that says nothing might be a piece of a secret: it is named by its number."""
    try:
        text = env_file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{env_file}: cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}")
        return {}
    found = {}
    for binding in parse_stream(io.StringIO(text)):
        name, at = binding.key, f"{env_file}, line {_first_line(binding.original.string, binding.original.line)}"
        if binding.error or (name is not None and binding.value is None):
            problems.append(f"{at}: is not NAME=value")
        elif name is not None and name not in known:
            problems.append(f"{name if NAME.fullmatch(name) else 'a name'}: there is no such setting ({at})")
        elif name is not None:
            found[name] = binding.value or ""
    return found


def _first_line(statement: str, line: int) -> int:
    """The parser counts the empty lines before a statement as its own."""
    return line + statement[: len(statement) - len(statement.lstrip())].count("\n")


def _with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    values["public_url"] = str(values.get("public_url", "")).rstrip("/")
    values.setdefault("audience", values["public_url"])
    return values


def _mail_domain(url: str) -> str:
    """The host of a URL where it is a name; mail has another way to write an address of the network."""
    host = urlsplit(url).hostname or ""
    return host if read.ADDRESS.fullmatch(f"no-reply@{host}") and not re.fullmatch(r"[0-9.]+", host) else "localhost"


def _contradictions(s: Settings) -> list[str]:
    """What no single value shows: things missing, and things that may not be so in production."""
    problems = []
    for name, value, example in (
        ("SECRET_KEY", s.secret_key, "generate one with: openssl rand -base64 48"),
        ("DATABASE_URL", s.database_url, "for example postgresql://user:password@host/gatehouse"),
        ("VALKEY_URL", s.valkey_url, "for example valkey://host:6379/0"),
        ("PUBLIC_URL", s.public_url, "for example https://auth.example.org"),
    ):
        if not value:
            problems.append(f"{name}: is required; {example}")
    if s.jwt_algorithm == "HS256" and not s.jwt_secret:
        problems.append("JWT_SECRET: is required with JWT_ALGORITHM=HS256")
    if s.jwt_secret and s.jwt_secret in (s.secret_key, s.secret_key_previous):
        problems.append("JWT_SECRET: has to differ from SECRET_KEY, for verifiers of tokens know it")
    if s.public_url and not s.development and not s.public_url.startswith("https://"):
        problems.append("PUBLIC_URL: has to begin with https:// in production")
    problems += _in_the_clear(s)
    if s.otel_exporter_otlp_endpoint and not _has_opentelemetry():
        problems.append(
            "OTEL_EXPORTER_OTLP_ENDPOINT: needs the extra `otel` of the package: pip install 'gatehouse[otel]'"
        )
    if s.smtp_url and not s.mail_from and not s.development:
        problems.append("MAIL_FROM: is required with SMTP_URL; for example Gatehouse <no-reply@example.org>")
    if s.admin_password and not s.development:
        weakness = guessable(s.admin_password, s.admin_username, s.password_min_length)
        if weakness:
            problems.append(f"ADMIN_PASSWORD: {weakness}")
    return problems


def _has_opentelemetry() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def _in_the_clear(s: Settings) -> Iterator[str]:
    """Passwords and codes go to these: in the clear only on a laptop, and only within it."""
    for name, url in (
        *(("OIDC_PROVIDERS", each.issuer) for each in s.oidc_providers),
        ("GPUSTACK_URL", s.gpustack_url),
    ):
        if url.startswith("http://") and not (s.development and urlsplit(url).hostname in read.LOOPBACK):
            yield f"{name}: has to begin with https:// (http:// is for development, and for this machine alone)"


def guessable(password: str, username: str, min_length: int) -> str | None:
    """Why a password for the first administrator is refused in production; None if it may be used."""
    plain = password.casefold()
    if len(password) < max(min_length, 12):
        return f"is too short: at least {max(min_length, 12)} characters in production"
    if (
        len(set(plain)) < DIFFERENT_IN_PASSWORD
        or plain.startswith(GUESSABLE_PASSWORDS)
        or plain.rstrip("0123456789!") == username.casefold()
        or guesses.objection(password, [username]) is not None
    ):
        return "is guessable; leave it empty and use `gatehouse users create-admin`, or choose another"
    return None


PARSERS: dict[str, Callable[[str], Any]] = {
    "environment": read.one_of("development", "production"),
    "public_url": read.public_url,
    "audience": read.text,
    "secret_key": read.secret,
    "secret_key_previous": read.secret,
    "database_url": read.url("postgresql", "postgres"),
    "database_pool_size": read.whole(1, 1000, "connections"),
    "database_pooler": read.one_of("none", "transaction"),
    "lossless_failover": read.switch,
    "valkey_url": valkey_url.checked,
    "jwt_algorithm": read.one_of("ES256", "EdDSA", "RS256", "HS256"),
    "jwt_secret": read.secret,
    "access_token_expire_minutes": read.whole(1, 1440, "minutes"),
    "refresh_token_expire_days": read.whole(1, 3650, "days"),
    "refresh_grace_seconds": read.whole(0, 300, "seconds"),
    "strict_revocation": read.switch,
    "registration": read.one_of("open", "closed"),
    "password_grant": read.switch,
    "password_min_length": read.whole(8, 128, "characters"),
    "argon2_memory_kib": read.whole(8192, 4194304, "KiB"),
    "argon2_time_cost": read.whole(1, 100, "passes"),
    "argon2_parallelism": read.whole(1, 64, "lanes"),
    "rate_limit_login": read.rate,
    "rate_limit_mfa": read.rate,
    "mfa_codes_per_login": read.whole(1, 100, "codes"),
    "rate_limit_account": read.rate,
    "rate_limit_register": read.rate,
    "rate_limit_forgot": read.rate,
    "rate_limit_forgot_ip": read.rate,
    "trusted_proxies": read.list_of(read.network),
    "cors_origins": read.list_of(read.origin),
    "redirect_uris": read.list_of(read.redirect_uri),
    "oidc_providers": providers.parse,
    "outbound_ca_file": read.file,
    "gpustack_url": read.server_url,
    "gpustack_api_key": read.token,
    "gpustack_offline_hours": read.whole(0, 8760, "hours"),
    "gpustack_sync_minutes": read.whole(0, 10080, "minutes"),
    "smtp_url": read.smtp_url,
    "mail_from": read.mail_from,
    "mail_templates_dir": read.directory,
    "new_device_mail": read.switch,
    "admin_username": read.username,
    "admin_password": read.password,
    "session_retention_days": read.whole(0, 36500, "days"),
    "audit_retention_days": read.whole(1, 36500, "days"),
    "sessions_per_user": read.whole(0, 100000, "sessions"),
    "metrics_token": read.token,
    "otel_exporter_otlp_endpoint": read.server_url,
    "otel_exporter_otlp_headers": read.list_of(read.header),
    "otel_service_name": read.text,
    "otel_traces_sampler": read.one_of(*get_args(Sampler)),
    "otel_traces_sampler_arg": read.ratio,
    "log_format": read.one_of("json", "console"),
    "log_level": read.one_of("debug", "info", "warning", "error"),
    "api_docs": read.switch,
    "drain_seconds": read.seconds,
}
