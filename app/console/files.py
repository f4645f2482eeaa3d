"""The style and the scripts of the pages: Bootstrap out of its package, and our own over it."""

import gzip
import hashlib
import re
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.params import FromPath
from msgspec import Struct

from app.errors import NotFound

OURS = Path(__file__).parent / "static"
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
BOOTSTRAP = "bootstrap.min.css"
SYSTEM = "dark.css"  # the dark colours, for who leaves the choice to the system
KEEP = "public, max-age=31536000, immutable"  # a year: the name changes with the content
DIGITS = 12  # of the hash in a name: 48 bits
ZIPPED = re.compile(r"\bgzip\b(?!\s*;\s*q=0(?:\.0{0,3})?\s*(?:,|$))")  # asked for, and not refused (RFC 9110 §12.5.3)
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
DARK, BY_SYSTEM = "[data-bs-theme=dark]", "[data-bs-theme=system]"


class File(Struct, frozen=True):
    kind: str
    content: bytes
    zipped: bytes
    url: str


@cache
def files() -> dict[str, File]:
    """Each by the name that templates call it by. Some 300 kB, read when the first page is asked for."""
    bootstrap = Path(str(distribution("bootstrap-wrapper").locate_file("bootstrap/css"))) / BOOTSTRAP
    contents = {path.name: path.read_bytes() for path in sorted(OURS.iterdir())}
    contents[BOOTSTRAP] = re.sub(rb"/\*# sourceMappingURL=.*?\*/", b"", bootstrap.read_bytes())
    contents[SYSTEM] = b"".join(_dark(contents[name].decode()).encode() for name in (BOOTSTRAP, "console.css"))
    return {name: _file(name, content) for name, content in contents.items()}


def _dark(style: str) -> str:
    """The rules of a style for the dark, as rules for who leaves it to the system; linked where that is dark."""
    found = [(selector, body) for selector, body in RULE.findall(style) if DARK in selector]
    return "".join(f"{selector.strip().replace(DARK, BY_SYSTEM)}{{{body}}}\n" for selector, body in found)


def _file(name: str, content: bytes) -> File:
    stem, suffix = Path(name).stem, Path(name).suffix
    digest = hashlib.sha256(content).hexdigest()[:DIGITS]
    zipped = gzip.compress(content, mtime=0)
    return File(kind=KINDS[suffix], content=content, zipped=zipped, url=f"/console/static/{stem}.{digest}{suffix}")


@cache
def _by_url() -> dict[str, File]:
    return {file.url: file for file in files().values()}


@get("/static/{name:str}", exclude_from_auth=True, sync_to_thread=True)
def read_file(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    file = _by_url().get(f"/console/static/{name}")
    if file is None:
        raise NotFound
    headers = {"Cache-Control": KEEP, "Vary": "Accept-Encoding"}
    content = file.content
    if ZIPPED.search(request.headers.get("accept-encoding", "")):
        content = file.zipped
        headers["Content-Encoding"] = "gzip"
    return Response(content, media_type=file.kind, headers=headers)
