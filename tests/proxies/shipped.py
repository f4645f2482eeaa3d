"""The files of deploy/ as they are shipped, but for what is each machine's own: ports, addresses, paths.

A replacement that finds nothing to replace fails, and so does a file that names a place of its own afterwards: what is
tested is what is shipped.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.files import DEPLOY

SHIPPED_PLACES = re.compile(r"(?<![\d.])443\b|(?::|listen )80\b|:800\d\b|:9000\b|/etc/(?:ssl|haproxy)|/var/log")
REPLICAS = ("one", "two", "three")  # as HAProxy's files go on to count


@dataclass(frozen=True)
class Places:
    """Where things are on this machine."""

    directory: Path  # of configurations, logs and what a proxy writes down meanwhile
    certificate: Path  # with its key, of all names
    port: int  # of the proxy, over TLS
    plain_port: int  # of the proxy, without
    replicas: Sequence[int]
    application: int  # its port


def nginx(name: str, places: Places) -> str:
    """A file of deploy/nginx."""
    text = (DEPLOY / "nginx" / name).read_text(encoding="utf-8")
    text = _replaced(text, r"listen 443 ", f"listen 127.0.0.1:{places.port} ")
    text = _replaced(text, r"listen \[::\]:443 ", f"listen [::1]:{places.port} ")
    text = _replaced(text, r"/etc/ssl/\S+\.(pem|key)(?=;)", str(places.certificate))
    if name == "application.conf":
        text = _replaced(text, r"127\.0\.0\.1:9000", f"127.0.0.1:{places.application}")
    else:
        text = _replaced(text, r"listen 80;", f"listen 127.0.0.1:{places.plain_port};")
        text = _replaced(text, r"listen \[::\]:80;", f"listen [::1]:{places.plain_port};")
        servers = "".join(f"    server 127.0.0.1:{port};\n" for port in places.replicas)
        text = _replaced(text, r"( +server 127\.0\.0\.1:800\d;.*\n)+", servers)
        text = _replaced(text, r"/var/log/nginx", str(places.directory))
    return _checked(text)


def haproxy(name: str, places: Places) -> str:
    """A file of deploy/haproxy."""
    text = (DEPLOY / "haproxy" / name).read_text(encoding="utf-8")
    text = _replaced(text, r"bind :443 ", f"bind 127.0.0.1:{places.port} ")
    text = _replaced(text, r"bind :80\n", f"bind 127.0.0.1:{places.plain_port}\n")
    text = _replaced(text, r"/etc/haproxy/\S+\.pem", str(places.certificate))
    text = _with_replicas(text, places.replicas)
    if name == "application.cfg":
        text = _replaced(text, r"127\.0\.0\.1:9000", f"127.0.0.1:{places.application}")
        text = _replaced(text, r"/etc/haproxy/verify\.lua", str(places.directory / "verify.lua"))
        text = _own_socket(text, places)
    return _checked(text)


def lua(places: Places) -> str:
    return _own_socket((DEPLOY / "haproxy/verify.lua").read_text(encoding="utf-8"), places)


def _own_socket(text: str, places: Places) -> str:
    """The socket that verify.lua asks has a name, which another run may have."""
    return _replaced(text, "abns@gatehouse-verify", f"abns@gatehouse-verify-{places.port}")


def _with_replicas(text: str, ports: Sequence[int]) -> str:
    """A line for each, which says what the shipped ones say."""

    def lines(match: re.Match[str]) -> str:
        assert match[2] == match[1].replace("/one", "/two"), "replicas are treated alike"
        servers = zip(REPLICAS, ports, strict=False)
        return "".join(
            f"    server {name} 127.0.0.1:{port}{match[1].replace('/one', f'/{name}')}\n" for name, port in servers
        )

    pattern = r" +server one 127\.0\.0\.1:8000(.*)\n +server two 127\.0\.0\.1:8001(.*)\n"
    text, times = re.subn(pattern, lines, text)
    assert times, "the shipped file names no replicas"
    return text


def _replaced(text: str, pattern: str, replacement: str) -> str:
    text, times = re.subn(pattern, replacement, text)
    assert times, f"the shipped file has no {pattern}"
    return text


def _checked(text: str) -> str:
    said = "\n".join(line.partition("#")[0] for line in text.splitlines())
    assert not (left := SHIPPED_PLACES.findall(said)), left
    return text
