"""VALKEY_URL: what is there (a server, sentinels, a cluster), how it is reached, and whom to trust."""

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, unquote

from app import setting_values as read

Kind = Literal["server", "sentinel", "cluster"]

SCHEMES: dict[str, tuple[Kind, bool]] = {  # and whether the way is encrypted
    "valkey": ("server", False),
    "redis": ("server", False),
    "valkeys": ("server", True),
    "rediss": ("server", True),
    "valkey+sentinel": ("sentinel", False),
    "valkeys+sentinel": ("sentinel", True),
    "valkey+cluster": ("cluster", False),
    "valkeys+cluster": ("cluster", True),
}
PORT, SENTINEL_PORT = 6379, 26379  # where the URL says none
ENCRYPTION = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")  # parameters; the names are valkey-py's
SENTINEL = ("sentinel_username", "sentinel_password")  # what sentinels themselves ask for
URL = re.compile(
    r"(?P<scheme>[A-Za-z+]+)://(?:(?P<user>[^/?#:]*)(?::(?P<password>[^/?#]*))?@)?(?P<hosts>[^/?#@]+)"
    r"(?:/(?P<path>[^?#]*))?(?:\?(?P<query>[^#]*))?"
)
HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]\s]+))(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, kw_only=True)
class ValkeyUrl:
    kind: Kind
    encrypted: bool
    hosts: tuple[tuple[str, int], ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    service: str = ""  # what the sentinels call the primary
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None  # whom to trust in the place of the machine's own authorities
    certificate_file: Path | None = None  # by which we say who we are
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext | None:
        """What the way is encrypted by: a certificate of a trusted authority, of the very host that was asked for.

        Raises:
            OSError: a file cannot be read, or holds no certificate.
        """
        if not self.encrypted:
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context


def checked(raw: str) -> str:
    """The URL, if it can be read; as every reader of a setting."""
    parse(raw)
    return raw


def parse(raw: str) -> ValkeyUrl:
    """Read the URL.

    Raises:
        ValueError: with what is wrong, and nothing of the URL.
    """
    match = URL.fullmatch(raw)
    if match is None or match["scheme"].lower() not in SCHEMES:
        raise ValueError(f"has to be a URL beginning with {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
    kind, encrypted = SCHEMES[match["scheme"].lower()]
    hosts = _hosts(match["hosts"], SENTINEL_PORT if kind == "sentinel" else PORT)
    if kind == "server" and len(hosts) > 1:
        raise ValueError("has to name one host; for several there are valkey+sentinel:// and valkey+cluster://")
    service, database = _path(kind, match["path"] or "")
    given = _parameters(match["query"] or "", (*ENCRYPTION * encrypted, *SENTINEL * (kind == "sentinel")))
    if "ssl_keyfile" in given and "ssl_certfile" not in given:
        raise ValueError("may have ssl_keyfile only with ssl_certfile")
    return ValkeyUrl(
        kind=kind,
        encrypted=encrypted,
        hosts=hosts,
        username=unquote(match["user"] or "") or None,
        password=unquote(match["password"] or "") or None,
        database=database,
        service=service,
        sentinel_username=given.get("sentinel_username"),
        sentinel_password=given.get("sentinel_password"),
        ca_file=_file(given, "ssl_ca_certs"),
        certificate_file=_file(given, "ssl_certfile"),
        key_file=_file(given, "ssl_keyfile"),
    )


def _hosts(text: str, default_port: int) -> tuple[tuple[str, int], ...]:
    matches = [HOST.fullmatch(host) for host in text.split(",")]
    hosts = [(m["address"] or m["name"], int(m["port"] or default_port)) for m in matches if m is not None]
    if len(hosts) < len(matches) or not all(0 < port <= read.MAX_PORT for _, port in hosts):
        raise ValueError("has to name hosts as host:port, several of them separated by commas")
    return tuple(hosts)


def _path(kind: Kind, path: str) -> tuple[str, int]:
    """The name of the primary, for sentinels, and the number of the database."""
    service = ""
    if kind == "sentinel":
        service, _, path = path.partition("/")
        if not service:
            raise ValueError("has to end in the name that the sentinels have for the primary: …:26379/mymaster/0")
    if not re.fullmatch(r"[0-9]{0,4}", path) or (kind == "cluster" and path.strip("0")):
        raise ValueError("has to end in the number of a database, and a cluster has but 0")
    return unquote(service), int(path or 0)


def _parameters(query: str, known: tuple[str, ...]) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        pairs = [("", "")]
    if {name for name, _ in pairs} - set(known) or len(pairs) > len(dict(pairs)):
        raise ValueError(f"may have these parameters, each once: {', '.join(known) or 'none with this scheme'}")
    return dict(pairs)


def _file(given: dict[str, str], name: str) -> Path | None:
    return read.file(given[name]) if name in given else None
