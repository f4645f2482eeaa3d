"""Mail as people read it: who got what, and the token of its link."""

import asyncio
import re
from typing import Any

from httpx import AsyncClient, Response

from app.parts import Parts
from tests.kit import Person, from_ip, new_name, new_password, register
from tests.mail.kit import PATIENCE, Mail, Postbox

LINK = re.compile(r"https://auth\.example\.test/console/([a-z-]+)\?token=([\w-]+)")


async def joined(client: AsyncClient, postbox: Postbox, **fields: Any) -> tuple[Person, str]:
    """Somebody with an address, and the token that was mailed to verify it."""
    person = await register(client, email=f"{new_name()}@example.org", **fields)
    assert person.email is not None
    return person, token(await postbox.to(person.email), "verify-email")


async def proved(client: AsyncClient, postbox: Postbox, **fields: Any) -> Person:
    """Somebody who has shown that he reads his address."""
    person, link = await joined(client, postbox, **fields)
    assert (await use(client, "/email/verify", link)).status_code == 204
    return person


def token(mail: Mail, page: str) -> str:
    """Of the link to this page, the same in text and HTML."""
    links = {found[1]: found[2] for part in ("plain", "html") for found in LINK.finditer(mail.part(part))}
    assert page in links, (mail.message["subject"], links)
    assert mail.part("plain").count(links[page]) == 1
    assert links[page] in mail.part("html")
    return links[page]


async def link_in(postbox: Postbox, address: str, page: str) -> str:
    """The token of the newest link to this page that was mailed to this address, once there is one."""

    def with_link() -> list[Mail]:
        return [mail for mail in postbox.of(address) if f"/{page}?" in mail.part("plain")]

    async with asyncio.timeout(PATIENCE), postbox.arrived:
        await postbox.arrived.wait_for(with_link)
    return token(with_link()[-1], page)


async def use(client: AsyncClient, path: str, token: str, **fields: Any) -> Response:
    return await client.post(path, json={"token": token, **fields}, headers=from_ip())


async def forgot(client: AsyncClient, email: str | None) -> None:
    answer = await client.post("/password/forgot", json={"email": email}, headers=from_ip())
    assert (answer.status_code, answer.content) == (202, b""), answer.text


async def reset(client: AsyncClient, link: str, password: str | None = None) -> int:
    return (await use(client, "/password/reset", link, new_password=password or new_password())).status_code


async def errands_done(parts: Parts) -> None:
    async with asyncio.timeout(20):
        while await parts.db.fetch("SELECT FROM mail_outbox WHERE kind = 'password.forgot'"):
            await asyncio.sleep(0.01)


async def letters_expire(parts: Parts, person: Person) -> None:
    """The links of his letters are good for nothing any more."""
    await parts.db.execute("UPDATE one_time_tokens SET expires_at = clock_timestamp() WHERE user_id = $1", person.id)
