"""The settings: environment variables or `.env`, checked at start, one clear line for each that is wrong.

`.env.example` lists them for operators; a test keeps the two alike.
"""

import io
import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from dotenv.parser import parse_stream

BASE = "/api/auth/v2"  # of the API; the contract's, and no setting

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Algorithm = Literal["ES256", "EdDSA", "RS256", "HS256"]

MIN_SECRET_BYTES = 32  # 256 bits: RFC 7518 §3.2 asks as much of an HS256 key
DIFFERENT_IN_SECRET = 8  # characters; fewer were typed, not generated
DIFFERENT_IN_PASSWORD = 5  # characters
MAX_PASSWORD = 1024  # characters; nobody could sign in with a longer one
MAX_PORT = 65535
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
LOOPBACK = ("localhost", "127.0.0.1", "::1")  # hosts that the way to is no network
ADDRESS = re.compile(  # a mailbox of RFC 5321 §4.1.2 without its quoted forms; `=?` would be read as an encoded word
    r"(?!.*=\?)[^\s\x00-\x1f\x7f@<>()\[\]\\,;:\"]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?"
)
MAIL_FROM = re.compile(r'(?:(?:(?P<name>[^"<>@,;:]*)|"(?P<quoted>[^"\\]*)")\s*<(?P<address>[^<>]+)>|(?P<bare>[^<>]+))')
HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?")


class InvalidSettings(Exception):
    """One line for each setting that is missing or wrong; never its value where that may be secret."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Rate:
    """At most `limit` events in any window of `seconds`."""

    limit: int
    seconds: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set. A field is the environment variable of the same name in capitals."""

    environment: Literal["development", "production"] = "production"
    public_url: str = ""
    audience: str = ""
    secret_key: str = field(default="", repr=False)
    secret_key_previous: str = field(default="", repr=False)

    database_url: str = field(default="", repr=False)
    database_pool_size: int = 10  # connections a worker; 3 more are held for the outbox and the lists
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
    rate_limit_account: Rate | None = Rate(10, 900)
    rate_limit_register: Rate | None = Rate(3, 3600)
    rate_limit_forgot: Rate | None = Rate(3, 3600)  # mails that anybody can have sent to an address

    trusted_proxies: tuple[Network, ...] = ()

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
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    api_docs: bool = True
    drain_seconds: float = 10.0

    @property
    def development(self) -> bool:
        return self.environment == "development"

    @property
    def mail_sender(self) -> tuple[str, str]:
        """Name and address that mail is from; in development nobody has to say."""
        return _name_and_address(self.mail_from or f"Gatehouse <no-reply@{_mail_domain(self.public_url)}>")


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
    return host if ADDRESS.fullmatch(f"no-reply@{host}") and not re.fullmatch(r"[0-9.]+", host) else "localhost"


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
    if s.smtp_url and not s.mail_from and not s.development:
        problems.append("MAIL_FROM: is required with SMTP_URL; for example Gatehouse <no-reply@example.org>")
    if s.admin_password and not s.development:
        weakness = guessable(s.admin_password, s.admin_username, s.password_min_length)
        if weakness:
            problems.append(f"ADMIN_PASSWORD: {weakness}")
    return problems


def guessable(password: str, username: str, min_length: int) -> str | None:
    """Why a password for the first administrator is refused in production; None if it may be used."""
    plain = password.casefold()
    if len(password) < max(min_length, 12):
        return f"is too short: at least {max(min_length, 12)} characters in production"
    if (
        len(set(plain)) < DIFFERENT_IN_PASSWORD
        or plain.startswith(GUESSABLE_PASSWORDS)
        or plain.rstrip("0123456789!") == username.casefold()
    ):
        return "is guessable; leave it empty and use `gatehouse users create-admin`, or choose another"
    return None


# ---- how a value is read ------------------------------------------------------------------------------------------


def _text(raw: str) -> str:
    return raw


def _password(raw: str) -> str:
    if len(raw) > MAX_PASSWORD:
        raise ValueError(f"has to be at most {MAX_PASSWORD} characters long")
    return raw


def _token(raw: str) -> str:
    if raw.lower() == "off":
        return "off"
    if not re.fullmatch(r"[!-~]+", raw):
        raise ValueError("has to be of ASCII characters without spaces, or be off")
    return raw


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        by_fold = {choice.lower(): choice for choice in choices}
        if raw.lower() not in by_fold:
            raise ValueError(f"has to be one of {', '.join(choices)}")
        return by_fold[raw.lower()]

    return parse


def _switch(raw: str) -> bool:
    return _one_of("on", "off")(raw) == "on"


def _whole(minimum: int, maximum: int, unit: str) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", raw) or not minimum <= int(raw) <= maximum:
            raise ValueError(f"has to be a whole number of {unit} from {minimum} to {maximum}")
        return int(raw)

    return parse


def _seconds(raw: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", raw):
        raise ValueError("has to be a number of seconds below 1000, such as 10 or 2.5")
    return float(raw)


def _secret(raw: str) -> str:
    if len(raw.encode()) < MIN_SECRET_BYTES:
        raise ValueError(
            f"has to be at least {MIN_SECRET_BYTES} bytes long; generate one with: openssl rand -base64 48"
        )
    if len(set(raw)) < DIFFERENT_IN_SECRET or raw.casefold().startswith(("change", "replace", "secret", "example")):
        raise ValueError("is guessable; generate one with: openssl rand -base64 48")
    return raw


def _split(raw: str) -> SplitResult | None:
    """None for what is no URL; urlsplit's own messages would repeat it. There may be several hosts, with commas."""
    try:
        parts = urlsplit(raw)
    except ValueError:
        return None
    hosts = [HOST.fullmatch(host) for host in parts.netloc.rpartition("@")[2].split(",")]
    fits = all(host and (host["port"] is None or 0 < int(host["port"]) <= MAX_PORT) for host in hosts)
    return parts if fits else None


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        parts = _split(raw)
        if parts is None or parts.scheme not in schemes or not (parts.netloc or parts.query):
            raise ValueError(f"has to be a URL beginning with {' or '.join(f'{s}://' for s in schemes)}")
        return raw

    return parse


def _public_url(raw: str) -> str:
    parts = _split(raw)
    if parts is None or not parts.hostname or not re.fullmatch(r"https?://(?:(?![@?#,\\])[!-~])+", raw):
        raise ValueError("has to be an https:// URL of ASCII characters without user, query and fragment")
    return raw


def _smtp_url(raw: str) -> str:
    parts = _split(raw)
    if (
        parts is None
        or parts.scheme not in ("smtp", "smtp+starttls", "smtps")
        or not re.fullmatch(r"[A-Za-z0-9._:-]+", parts.hostname or "")
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
    ):
        raise ValueError(
            "has to look like smtp://user:password@host:port, or begin with smtp+starttls:// or smtps://; "
            "in user and password / ? # @ : and % are percent-encoded"
        )
    if "@" in parts.netloc and not (parts.username and parts.password):
        raise ValueError("has to have a user and a password, or neither")
    return raw


def _mail_from(raw: str) -> str:
    name, address = _name_and_address(raw)
    if not ADDRESS.fullmatch(address) or not address.isascii() or not name.isprintable():
        raise ValueError("has to be an address, or Name <address>")
    return raw


def _name_and_address(mail_from: str) -> tuple[str, str]:
    """The parts of MAIL_FROM; two empty ones if it is nothing of the kind."""
    match = MAIL_FROM.fullmatch(mail_from)
    if match is None:
        return "", ""
    return (match["name"] or match["quoted"] or "").strip(), match["address"] or match["bare"]


def _directory(raw: str) -> Path:
    if not Path(raw).is_dir():
        raise ValueError("has to be a directory that is there")
    return Path(raw)


def _network(raw: str) -> Network:
    try:
        return ipaddress.ip_network(raw, strict=False)
    except ValueError:
        raise ValueError("has to be a list of addresses or networks (CIDR), separated by commas") from None


def _list_of(parse: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    return lambda raw: tuple(parse(part.strip()) for part in raw.split(",") if part.strip())


def _rate(raw: str) -> Rate | None:
    """`5/15m`: at most 5 in 15 minutes; units s, m, h, d; `off` turns the limit off."""
    if raw.lower() == "off":
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,4})([smhd])", raw)
    if match is None:
        raise ValueError("has to look like 5/15m (at most 5 in 15 minutes; s, m, h, d), or be off")
    return Rate(int(match[1]), int(match[2]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[3]])


def _username(raw: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", raw):
        raise ValueError("has to be 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or digit")
    return raw


PARSERS: dict[str, Callable[[str], Any]] = {
    "environment": _one_of("development", "production"),
    "public_url": _public_url,
    "audience": _text,
    "secret_key": _secret,
    "secret_key_previous": _secret,
    "database_url": _url("postgresql", "postgres"),
    "database_pool_size": _whole(1, 1000, "connections"),
    "valkey_url": _url("valkey", "valkeys", "redis", "rediss"),
    "jwt_algorithm": _one_of("ES256", "EdDSA", "RS256", "HS256"),
    "jwt_secret": _secret,
    "access_token_expire_minutes": _whole(1, 1440, "minutes"),
    "refresh_token_expire_days": _whole(1, 3650, "days"),
    "refresh_grace_seconds": _whole(0, 300, "seconds"),
    "strict_revocation": _switch,
    "registration": _one_of("open", "closed"),
    "password_grant": _switch,
    "password_min_length": _whole(8, 128, "characters"),
    "argon2_memory_kib": _whole(8192, 4194304, "KiB"),
    "argon2_time_cost": _whole(1, 100, "passes"),
    "argon2_parallelism": _whole(1, 64, "lanes"),
    "rate_limit_login": _rate,
    "rate_limit_mfa": _rate,
    "rate_limit_account": _rate,
    "rate_limit_register": _rate,
    "rate_limit_forgot": _rate,
    "trusted_proxies": _list_of(_network),
    "smtp_url": _smtp_url,
    "mail_from": _mail_from,
    "mail_templates_dir": _directory,
    "new_device_mail": _switch,
    "admin_username": _username,
    "admin_password": _password,
    "session_retention_days": _whole(0, 36500, "days"),
    "audit_retention_days": _whole(1, 36500, "days"),
    "sessions_per_user": _whole(0, 100000, "sessions"),
    "metrics_token": _token,
    "log_format": _one_of("json", "console"),
    "log_level": _one_of("debug", "info", "warning", "error"),
    "api_docs": _switch,
    "drain_seconds": _seconds,
}
