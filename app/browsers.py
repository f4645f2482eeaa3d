"""What browsers are told with every answer: what a page may do with it, and which front ends may read it."""

from collections.abc import Mapping

from litestar.types import HTTPScope

from app.settings import Settings

Headers = list[tuple[bytes, bytes]]

HSTS_SECONDS = 31_536_000  # a year, the least that ASVS 5.0 (3.4.1) takes
PREFLIGHT_SECONDS = 600  # that a browser keeps what a preflight said; Chromium keeps none longer than two hours
METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS = b"Authorization, Content-Type, X-Request-ID"
READABLE_HEADERS = b"Retry-After, WWW-Authenticate, X-Request-ID"

# Nothing that we answer is a page, but for those that say so and bring a policy of their own (app/documentation).
EVERYWHERE: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Browsers:
    """The headers of every answer, by the origin that the request names; what an answer says itself comes first."""

    def __init__(self, settings: Settings) -> None:
        self.headers = list(EVERYWHERE)
        if settings.public_url.startswith("https://"):
            self.headers.append((b"strict-transport-security", b"max-age=%d; includeSubDomains" % HSTS_SECONDS))
        if settings.cors_origins:
            self.headers.append((b"vary", b"Origin"))
        self._readers: Mapping[bytes, Headers] = {
            origin.encode(): [
                *self.headers,
                (b"access-control-allow-origin", origin.encode()),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", READABLE_HEADERS),
            ]
            for origin in settings.cors_origins
        }

    def of(self, origin: bytes | None) -> Headers:
        return self._readers.get(origin, self.headers) if origin else self.headers

    def preflight(self, scope: HTTPScope, origin: bytes | None) -> Headers | None:
        """What a front end of ours is told that asks before it sends a request (Fetch §4.8); None for all else."""
        asks = any(name == b"access-control-request-method" for name, _ in scope["headers"])
        if origin not in self._readers or not asks:
            return None
        return [
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", REQUEST_HEADERS),
            (b"access-control-max-age", b"%d" % PREFLIGHT_SECONDS),
        ]
