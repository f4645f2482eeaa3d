"""What looks for secrets finds them: in every form, and in every place."""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Callable
from email.message import EmailMessage
from urllib.parse import quote

import asyncpg
import pytest
from httpx import AsyncClient, MockTransport, Response
from valkey.asyncio import Valkey

from app.cli.embedded import Valkey as Server
from tests.identity.factorkit import enrolled
from tests.kit import SignedIn, new_password
from tests.mail.kit import Mail
from tests.secrecy.kit import Canaries, letters, stores
from tests.secrecy.witness import Witness

FORMS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "in capitals": bytes.upper,
    "backwards": lambda plain: plain[::-1],
    "its beginning": lambda plain: plain[:24],
    "its end": lambda plain: plain[-24:],
    "from its middle": lambda plain: plain[5:29],
    "in hex": binascii.hexlify,
    "in base32": base64.b32encode,
    "in base32 behind four bytes": lambda plain: base64.b32encode(b"wxyz" + plain),
    "in base64": base64.b64encode,
    "in base64 behind one byte": lambda plain: base64.b64encode(b"x" + plain),
    "in base64 behind two": lambda plain: base64.b64encode(b"xy" + plain),
    "in base64 for addresses": base64.urlsafe_b64encode,
    "in an address": lambda plain: quote(plain, safe="").encode(),
    "hashed": lambda plain: hashlib.sha256(plain).digest(),
    "hashed, in hex": lambda plain: hashlib.sha256(plain).hexdigest().encode(),
}


def kept(secret: str | bytes) -> Canaries:
    canaries = Canaries()
    canaries.keep("secret", secret)
    return canaries


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_found_in_every_form(form: str) -> None:
    for secret in (f"{secrets.token_urlsafe(24)} /+%äß", secrets.token_bytes(32), secrets.token_hex(16)):
        plain = secret.encode() if isinstance(secret, str) else secret

        planted = b'{"event": "' + FORMS[form](plain) + b'"}'

        assert kept(secret).found_in(planted)
        assert not kept(secrets.token_urlsafe(24)).found_in(planted)


def test_a_short_one_is_found_whole() -> None:
    assert kept("abcd-efgh").found_in(b"... abcd-efgh ...")
    assert not kept("abcd-efgh").found_in(b"... abcd-efg ...")


def test_a_code_of_digits_is_found_where_it_stands_alone() -> None:
    canaries = Canaries()
    canaries.keep_digits("code", "492039")

    for planted in (b'{"code":"492039"}', b"code=492039&", b"(1,492039)"):
        assert canaries.found_in(planted) == ["code"]
    for chance in (b"05:46:19.492039Z", b"1492039", b"a492039f", rb"\\x492039"):
        assert canaries.found_in(chance) == []


async def test_tokens_and_codes_are_found_by_their_secret_parts(session: SignedIn) -> None:
    """And what is no secret of them, such as the session that they name, is not."""
    canaries = Canaries()
    canaries.keep_jwt("access", session.access)
    canaries.keep_token("refresh", session.refresh_token)
    authenticator = await enrolled(session)
    canaries.keep_seed("seed", authenticator.secret)
    canaries.keep_recovery_code("code", authenticator.codes[0])
    mac = base64.urlsafe_b64decode(session.refresh_token.partition("_")[2] + "==")[-32:]

    for planted, name in (
        (session.access[-40:].encode(), "access"),
        (session.refresh_token[-30:].encode(), "refresh"),
        (mac.hex().encode(), "refresh"),
        (authenticator.secret.encode().hex().encode(), "seed"),
        (base64.b32decode(authenticator.secret), "seed"),
        (base64.b32decode(authenticator.secret).hex().encode(), "seed"),
        (authenticator.codes[0].encode(), "code"),
        (authenticator.codes[0].replace("-", "").encode().hex().encode(), "code"),
    ):
        assert {each.partition(" ")[0] for each in canaries.found_in(planted)} == {name}
    public = session.access.rpartition(".")[0]  # a cursor may spell the same session in the same base64
    assert canaries.found_in(f"{session.id} {session.refresh_token[:24]} {public}".encode()) == []


async def test_every_cookie_is_kept_that_is_sent_or_set() -> None:
    sent, also_sent, set_, also_set = (secrets.token_urlsafe(24) for _ in range(4))
    answer = Response(
        204,
        headers=[("Set-Cookie", f"{name}={value}; Path=/") for name, value in zip("ab", (set_, also_set), strict=True)],
    )
    canaries = Canaries()
    async with AsyncClient(transport=MockTransport(lambda _: answer), base_url="http://x") as client:
        Witness(client, canaries, {"paths": {}})
        await client.post("/logout", headers={"Cookie": f"a={sent};b={also_sent}"})

    for value in (sent, also_sent, set_, also_set):
        assert canaries.found_in(value.encode())
    assert not canaries.found_in(secrets.token_urlsafe(24).encode())


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO planted (words) VALUES ($1)",
        "INSERT INTO planted (bytes) VALUES ($1::text::bytea)",
        "INSERT INTO planted (bytes) VALUES (convert_to(encode(convert_to($1, 'UTF8'), 'base64'), 'UTF8'))",
        "INSERT INTO planted (document) VALUES (json_build_object('deep', json_build_array($1::text)))",
        "INSERT INTO planted (list) VALUES (ARRAY[$1])",
    ],
)
async def test_it_is_found_in_postgresql(own_database: str, own_valkey: Server, statement: str) -> None:
    secret = new_password()
    connection = await asyncpg.connect(own_database)
    await connection.execute("CREATE SCHEMA elsewhere")
    for schema in ("public", "elsewhere"):
        await connection.execute(f"CREATE TABLE {schema}.planted (words text, bytes bytea, document json, list text[])")
        await connection.execute(f"SET search_path TO {schema}")
        before = await stores(own_database, own_valkey.url)
        await connection.execute(statement, secret)

        after = await stores(own_database, own_valkey.url)

        assert not kept(secret).found_in(before["PostgreSQL"])
        assert kept(secret).found_in(after["PostgreSQL"])
        await connection.execute("DELETE FROM planted")
    await connection.close()


PLANTED = {
    "a key": lambda valkey, secret: valkey.set(f"user:{secret}", "x"),
    "a string": lambda valkey, secret: valkey.set("planted", b"\x00\xff" + secret.encode()),
    "a field": lambda valkey, secret: valkey.hset("planted", secret, "x"),
    "a hash": lambda valkey, secret: valkey.hset("planted", "x", secret),
    "a list": lambda valkey, secret: valkey.rpush("planted", "x", secret),
    "a set": lambda valkey, secret: valkey.sadd("planted", secret),
    "a sorted set": lambda valkey, secret: valkey.zadd("planted", {secret: 1}),
    "a stream": lambda valkey, secret: valkey.xadd("planted", {"x": secret}),
}


@pytest.mark.parametrize("place", PLANTED)
async def test_it_is_found_in_valkey(owner_url: str, own_valkey: Server, place: str) -> None:
    secret = new_password()
    async with Valkey.from_url(own_valkey.url) as valkey:
        await PLANTED[place](valkey, secret)

    found = await stores(owner_url, own_valkey.url)

    assert kept(secret).found_in(found["Valkey"])
    assert not kept(secret).found_in(found["PostgreSQL"])


@pytest.mark.parametrize("place", ["Subject", "plain", "html", "link"])
def test_it_is_found_in_a_mail_unless_it_is_the_token_of_a_link(place: str) -> None:
    secret = new_password()
    texts = dict.fromkeys(("Subject", "plain", "html"), "ä" * 80) | {place: f"{'ä' * 80} {secret}"}
    if place == "link":
        texts["html"] = texts["plain"] = f"https://auth.example.test/console/verify-email?token={secret}"
    message = EmailMessage()
    message["Subject"] = texts["Subject"]
    message.set_content(texts["plain"], cte="quoted-printable")
    message.add_alternative(texts["html"], subtype="html", cte="base64")
    mail = Mail("", ["ada@example.org"], message.as_bytes(), encrypted=False, user=None)

    found = kept(secret).found_in(letters([mail]))

    assert bool(found) is (place != "link")
