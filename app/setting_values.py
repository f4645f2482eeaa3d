"""How the value of a setting is read: ValueError, with what it has to be, for any other. None repeats the value."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from app import usernames

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MIN_SECRET_BYTES = 32  # 256 bits: RFC 7518 §3.2 asks as much of an HS256 key
DIFFERENT_IN_SECRET = 8  # characters; fewer were typed, not generated
MAX_PASSWORD = 1024  # characters; nobody could sign in with a longer one
MOST_CODE_POINTS = 4 * MAX_PASSWORD  # as it is typed, before NFC, which is quadratic in marks: 25 ms for as many
MAX_PORT = 65535
LOOPBACK = ("localhost", "127.0.0.1", "::1")  # hosts that the way to is no network
ADDRESS = re.compile(  # a mailbox of RFC 5321 §4.1.2 without its quoted forms; `=?` would be read as an encoded word
    r"(?!.*=\?)[^\s\x00-\x1f\x7f@<>()\[\]\\,;:\"]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?"
)
MAIL_FROM = re.compile(r'(?:(?:(?P<name>[^"<>@,;:]*)|"(?P<quoted>[^"\\]*)")\s*<(?P<address>[^<>]+)>|(?P<bare>[^<>]+))')
HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?")
ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?")


@dataclass(frozen=True)
class Rate:
    """At most `limit` events in any window of `seconds`."""

    limit: int
    seconds: int


def text(raw: str) -> str:
    return raw


def password(raw: str) -> str:
    if len(raw) > MAX_PASSWORD:
        raise ValueError(f"has to be at most {MAX_PASSWORD} characters long")
    return raw


def token(raw: str) -> str:
    if raw.lower() == "off":
        return "off"
    if not re.fullmatch(r"[!-~]+", raw):
        raise ValueError("has to be of ASCII characters without spaces, or be off")
    return raw


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        by_fold = {choice.lower(): choice for choice in choices}
        if raw.lower() not in by_fold:
            raise ValueError(f"has to be one of {', '.join(choices)}")
        return by_fold[raw.lower()]

    return parse


def switch(raw: str) -> bool:
    return one_of("on", "off")(raw) == "on"


def whole(minimum: int, maximum: int, unit: str) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", raw) or not minimum <= int(raw) <= maximum:
            raise ValueError(f"has to be a whole number of {unit} from {minimum} to {maximum}")
        return int(raw)

    return parse


def seconds(raw: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", raw):
        raise ValueError("has to be a number of seconds below 1000, such as 10 or 2.5")
    return float(raw)


def secret(raw: str) -> str:
    if len(raw.encode()) < MIN_SECRET_BYTES:
        raise ValueError(
            f"has to be at least {MIN_SECRET_BYTES} bytes long; generate one with: openssl rand -base64 48"
        )
    if len(set(raw)) < DIFFERENT_IN_SECRET or raw.casefold().startswith(("change", "replace", "secret", "example")):
        raise ValueError("is guessable; generate one with: openssl rand -base64 48")
    return raw


def split(raw: str) -> SplitResult | None:
    """None for what is no URL; urlsplit's own messages would repeat it. There may be several hosts, with commas."""
    try:
        parts = urlsplit(raw)
    except ValueError:
        return None
    hosts = [HOST.fullmatch(host) for host in parts.netloc.rpartition("@")[2].split(",")]
    fits = all(host and (host["port"] is None or 0 < int(host["port"]) <= MAX_PORT) for host in hosts)
    return parts if fits else None


def url(*schemes: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        parts = split(raw)
        if parts is None or parts.scheme not in schemes or not (parts.netloc or parts.query):
            raise ValueError(f"has to be a URL beginning with {' or '.join(f'{s}://' for s in schemes)}")
        return raw

    return parse


def public_url(raw: str) -> str:
    parts = split(raw)
    if parts is None or not parts.hostname or not re.fullmatch(r"https?://(?:(?![@?#,\\])[!-~])+", raw):
        raise ValueError("has to be an https:// URL of ASCII characters without user, query and fragment")
    return raw


def smtp_url(raw: str) -> str:
    parts = split(raw)
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


def mail_from(raw: str) -> str:
    name, address = name_and_address(raw)
    if not ADDRESS.fullmatch(address) or not address.isascii() or not name.isprintable():
        raise ValueError("has to be an address, or Name <address>")
    return raw


def name_and_address(mail_from: str) -> tuple[str, str]:
    """The parts of MAIL_FROM; two empty ones if it is nothing of the kind."""
    match = MAIL_FROM.fullmatch(mail_from)
    if match is None:
        return "", ""
    return (match["name"] or match["quoted"] or "").strip(), match["address"] or match["bare"]


def directory(raw: str) -> Path:
    if not Path(raw).is_dir():
        raise ValueError("has to be a directory that is there")
    return Path(raw)


def file(raw: str) -> Path:
    if not Path(raw).is_file():
        raise ValueError("has to be a file that is there")
    return Path(raw)


def is_server_url(raw: str) -> bool:
    """Whether a server's paths begin there: a host, and neither user, query nor fragment."""
    parts = split(raw)
    return parts is not None and bool(parts.hostname and re.fullmatch(r"https?://(?:(?![@?#,\\])[!-~])+", raw))


def header(raw: str) -> tuple[str, str]:
    """As OTEL_EXPORTER_OTLP_HEADERS has it (W3C Baggage): `name=value`, the value percent-encoded."""
    match = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*([!-~]+(?: +[!-~]+)*)", raw)
    value = unquote(match[2]) if match else ""
    if match is None or not re.fullmatch(r"[ -~]+", value):
        raise ValueError("has to be a list of name=value, separated by commas, the values percent-encoded")
    return match[1].lower(), value


def ratio(raw: str) -> float:
    if not re.fullmatch(r"0(\.[0-9]{1,9})?|1(\.0{1,9})?", raw):
        raise ValueError("has to be a number from 0 to 1, such as 0.05")
    return float(raw)


def server_url(raw: str) -> str:
    if not is_server_url(raw):
        raise ValueError("has to be an https:// URL of ASCII characters without user, query and fragment")
    return raw.rstrip("/")


def redirect_uri(raw: str) -> str:
    """RFC 8252 §7: of a page, of a program on this machine, or of an app's own scheme, which is a domain reversed."""
    parts = split(raw)
    fits = parts is not None and re.fullmatch(r"(?:(?![\\#])[!-~])+", raw) and "@" not in parts.netloc
    if (
        parts is None
        or not fits
        or not (
            (parts.scheme == "https" and parts.hostname)
            or (parts.scheme == "http" and parts.hostname in LOOPBACK)
            or ("." in parts.scheme and parts.path)
        )
    ):
        raise ValueError(
            "has to be a list of https:// URLs without fragments (http:// on loopback, or com.example.app:/path)"
        )
    return raw


def network(raw: str) -> Network:
    try:
        return ipaddress.ip_network(raw, strict=False)
    except ValueError:
        raise ValueError("has to be a list of addresses or networks (CIDR), separated by commas") from None


def origin(raw: str) -> str:
    if split(raw) is None or not ORIGIN.fullmatch(raw):
        raise ValueError("has to be a list of origins like https://app.example.org, without paths, separated by commas")
    return origin_of(raw)


def origin_of(url: str) -> str:
    """As a browser writes it in `Origin` (RFC 6454 §6.2): in lower case, without a port that goes without saying."""
    parts = urlsplit(url.lower())
    usual = ":80" if parts.scheme == "http" else ":443"
    return f"{parts.scheme}://{parts.netloc.removesuffix(usual)}"


def list_of(parse: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    return lambda raw: tuple(parse(part.strip()) for part in raw.split(",") if part.strip())


def rate(raw: str) -> Rate | None:
    """`5/15m`: at most 5 in 15 minutes; units s, m, h, d; `off` turns the limit off."""
    if raw.lower() == "off":
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,4})([smhd])", raw)
    if match is None:
        raise ValueError("has to look like 5/15m (at most 5 in 15 minutes; s, m, h, d), or be off")
    return Rate(int(match[1]), int(match[2]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[3]])


def username(raw: str) -> str:
    if not usernames.fits(raw):
        raise ValueError(f"has to be 1 to {usernames.LONGEST} of A-Z a-z 0-9 . _ - and begin with a letter or digit")
    return raw
