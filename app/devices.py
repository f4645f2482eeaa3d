"""What a client runs on, said in words that its owner knows: "Firefox on Windows"."""

from functools import lru_cache

import ua_parser

MAX_READ = 256  # characters of a user agent: nonsense of that length takes 5 ms, what browsers send takes 1
MAX_NAME = 100  # characters; as many as a client that names itself may send (`Credentials.device_name`)


def load() -> None:
    """Read the patterns, which takes 90 ms: at the start, and not while somebody signs in."""
    ua_parser.parse("")


@lru_cache(4096)  # clients come again
def device_name(user_agent: str) -> str | None:
    """Program and system of a `User-Agent` (RFC 9110 §10.1.5); None if it names no program that is known."""
    found = ua_parser.parse(user_agent[:MAX_READ])
    if found.user_agent is None:
        return None
    place = found.os and found.os.family
    if found.device is not None and found.device.family in ("iPhone", "iPad"):
        place = found.device.family
    program = found.user_agent.family.removesuffix(" Mobile")
    name = f"{program} on {place}" if place else program
    return name[:MAX_NAME] if name.isprintable() else None
