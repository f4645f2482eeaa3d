"""Who is the primary, by what most of the sentinels say."""

import asyncio
import ssl
from collections import Counter

from valkey.asyncio import Valkey
from valkey.exceptions import ConnectionError as ValkeyConnectionError
from valkey.exceptions import ValkeyError

from app.cache.server import HOST_DEADLINE, Address, ask, connected, pool, text_of
from app.valkey_url import ValkeyUrl


async def primary(url: ValkeyUrl, context: ssl.SSLContext | None) -> Address:
    """The address that most of those who answer have for the primary.

    One that is cut off from the others may know an older one. Whether the server agrees is asked of itself.

    Raises:
        ValkeyConnectionError: none of them answers, or none knows this name.
    """
    answers = await asyncio.gather(*(_named(url, context, sentinel) for sentinel in url.hosts))
    named = Counter(address for address in answers if address is not None)
    if not named:
        raise ValkeyConnectionError("no sentinel answers and knows a primary of this name")
    return named.most_common(1)[0][0]


async def _named(url: ValkeyUrl, context: ssl.SSLContext | None, sentinel: Address) -> Address | None:
    credentials = {"username": url.sentinel_username, "password": url.sentinel_password}
    client = Valkey(connection_pool=pool(context, sentinel, max_connections=1, **credentials))
    try:
        async with asyncio.timeout(HOST_DEADLINE), connected(client) as connection:
            answer = await ask(connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", url.service)
            return (text_of(answer[0]), int(answer[1])) if answer else None
    except (ValkeyError, OSError, TimeoutError, TypeError, ValueError, LookupError):  # also what is no address
        return None
