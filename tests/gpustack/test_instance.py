"""What is made of GPUStack's answers, of its outages, and of those who are none."""

import asyncio

import pytest
from structlog.testing import capture_logs

from app.errors import Overloaded, Unavailable
from app.gpustack import instance as module
from app.gpustack.answers import Account, GpustackAway, GpustackMisconfigured, Refused
from app.gpustack.instance import PLACES, TRIES, UNANSWERED, Instance, State
from tests.gpustack.conftest import Watching
from tests.gpustack.scripted import Reply, Scripted, recorded
from tests.gpustack.upstream import PASSWORD
from tests.kit import new_name, until

# ---- who is believed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "prefix"), [("0.6.2", "/v1"), ("v0.7.1", "/v1"), ("v2.1.2", "/v2")])
async def test_a_version_that_is_known_is_asked_where_it_listens(watching: Watching, version: str, prefix: str) -> None:
    async with Scripted(version=version, prefix=prefix) as server:
        instance = watching(server)
        user_id = await server.add("ada")

        found = await instance.verify("ada", PASSWORD)

    assert isinstance(found, Account)
    assert found.id == user_id


async def test_what_0_6_does_not_say_is_taken_for_granted(watching: Watching) -> None:
    async with Scripted(version="0.6.2", prefix="/v1") as server:
        instance = watching(server)
        await until(lambda: instance.state is State.OK)
        server.says["/auth/login"] = recorded("login")
        server.says["/v1/users/me"] = Reply(200, {}, b'{"id": 5, "username": "ada", "is_admin": false}')

        found = await instance.verify("ada", PASSWORD)

    assert found == Account(id=5, username="ada", is_admin=False, full_name=None, is_active=True)


@pytest.mark.parametrize("version", ["1.0.0", "0.5.9", "v3.0.0", "2", "", "v2.x" * 100])
async def test_a_version_that_is_not_known_is_not_asked(watching: Watching, version: str) -> None:
    async with Scripted(version=version) as server:
        instance = watching(server)
        await until(lambda: instance.state is not None)

        with pytest.raises(GpustackMisconfigured):
            await instance.verify("admin", PASSWORD)

    assert instance.state is State.MISCONFIGURED
    assert set(server.asked) == {"GET /version"}


async def test_one_that_lets_in_anybody_is_refused_until_it_does_not(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AWAY_SECONDS", 0.01)
    monkeypatch.setattr(module, "DOUBT_SECONDS", 0.01)
    async with Scripted(version="2.1.2", lets_in_anybody=True) as server:
        instance = watching(server)
        await until(lambda: instance.state is not None)

        with pytest.raises(GpustackMisconfigured):
            await instance.verify("admin", "any password")
        assert "lets in whoever asks" in instance.reason
        server.lets_in_anybody = False
        await until(lambda: instance.state is State.OK)

        assert await instance.verify("admin", "any password") == Refused()


async def test_one_that_takes_any_password_is_refused(watching: Watching) -> None:
    async with Scripted() as server:
        server.says["/auth/login"] = recorded("login")
        instance = watching(server)
        await until(lambda: instance.state is not None)

        with pytest.raises(GpustackMisconfigured):
            await instance.verify("admin", "any password")


class Hospitable(Scripted):
    """Whoever comes is somebody."""

    async def _log_in(self, username: str, password: str) -> Reply:
        self.passwords[await self.add(username)] = password
        return await super()._log_in(username, password)


async def test_one_that_knows_everybody_is_refused(watching: Watching) -> None:
    async with Hospitable() as server:
        instance = watching(server)

        await until(lambda: instance.state is State.MISCONFIGURED)
        assert "nobody has" in instance.reason


async def test_a_key_that_nobody_has_is_refused_by_401_alone(watching: Watching) -> None:
    async with Scripted() as server:
        server.says["/v2/users/me"] = recorded("no_route")
        instance = watching(server)

        await until(lambda: instance.state is State.MISCONFIGURED)


async def test_who_asks_before_the_first_look_waits_for_it(scripted: Scripted, watching: Watching) -> None:
    await scripted.add("ada")

    assert isinstance(await watching(scripted).verify("ada", PASSWORD), Account)


async def test_nothing_is_taken_of_one_that_was_never_seen(watching: Watching) -> None:
    async with Scripted() as server:
        await server.refuse()
        instance = watching(server)

        with pytest.raises(GpustackAway):
            await instance.verify("admin", PASSWORD)


async def test_one_that_hangs_at_the_first_look_is_away(watching: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE", 0.1)
    async with Scripted() as server, server.outage("hung"):
        with pytest.raises(GpustackAway):
            await watching(server).verify("admin", PASSWORD)


async def test_one_that_answers_too_slowly_is_away(watching: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_DEADLINE", 0.05)
    async with Scripted() as server:
        server.pause = 10.0
        instance = watching(server)

        await until(lambda: instance.state is State.AWAY)


# ---- what its answers mean ------------------------------------------------------------------------------------------

ODD = {
    "403": Reply(403, {}, b'{"code": 403, "reason": "Forbidden", "message": "-"}'),
    "404": recorded("no_route"),
    "422, which repeats the password": Reply(422, {}, b'{"detail": [{"input": {"password": "secret"}}]}'),
    "429": Reply(429, {}, b""),
    "a redirect": Reply(302, {"location": "/login"}, b""),
    "a page": Reply.html(200),
    "a page that says 401": Reply.html(401),
    "401 of something in front": Reply(401, {}, b'{"detail": "Unauthorized"}'),
    "another code than the status": Reply(401, {}, b'{"code": 403, "reason": "-", "message": "-"}'),
    "no cookie": Reply(200, {}, b"null"),
    "another cookie": Reply(200, {"set-cookie": "session=abc"}, b"null"),
    "a cookie that is none": Reply(200, {"set-cookie": "a/b=1"}, b"null"),
    "an empty cookie": Reply(200, {"set-cookie": "gpustack_session="}, b"null"),
    "a broken cookie": Reply(200, {"set-cookie": "gpustack_session=a b\x7f"}, b"null"),
    "too much": Reply(200, {"set-cookie": "gpustack_session=abc"}, b" " * (module.MOST_BYTES + 1)),
}


@pytest.mark.parametrize("reply", ODD.values(), ids=ODD)
async def test_a_login_that_is_answered_otherwise_lets_in_nobody(
    scripted: Scripted, instance: Instance, reply: Reply
) -> None:
    scripted.says["/auth/login"] = reply

    with pytest.raises(GpustackMisconfigured):
        await instance.verify("admin", PASSWORD)

    await until(lambda: instance.state is State.MISCONFIGURED)


ME = '{"id": %s, "username": "%s", "is_admin": false, "is_active": true}'
SOMEBODY = {
    "a page": Reply.html(200),
    "401": recorded("unknown_key"),
    "somebody else": Reply(200, {}, (ME % ("3", "root")).encode()),
    "of another case": Reply(200, {}, (ME % ("3", "Admin")).encode()),
    "true": Reply(200, {}, (ME % ("true", "admin")).encode()),
    "a text": Reply(200, {}, (ME % ('"3"', "admin")).encode()),
    "a fraction": Reply(200, {}, (ME % ("3.0", "admin")).encode()),
    "nought": Reply(200, {}, (ME % ("0", "admin")).encode()),
    "too large": Reply(200, {}, (ME % (str(2**63), "admin")).encode()),
    "no id": Reply(200, {}, b'{"username": "admin", "is_admin": false}'),
    "null": Reply(200, {}, b"null"),
    "too deep": Reply(200, {}, b'{"id": 3, "x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"),
    "not UTF-8": Reply(200, {}, b'{"id": 3, "username": "\xff", "is_admin": false}'),
}


@pytest.mark.parametrize("reply", SOMEBODY.values(), ids=SOMEBODY)
async def test_a_login_that_does_not_say_who_it_was_lets_in_nobody(
    scripted: Scripted, instance: Instance, reply: Reply
) -> None:
    scripted.says["/auth/login"] = recorded("login")
    scripted.says["/v2/users/me"] = reply

    with pytest.raises(GpustackMisconfigured):
        await instance.verify("admin", PASSWORD)


async def test_somebody_who_is_not_active_is_nobody_even_if_let_in(scripted: Scripted, instance: Instance) -> None:
    user_id = await scripted.add("ada")
    scripted.says["/auth/login"] = recorded("login")
    scripted.users[user_id]["is_active"] = False
    scripted.says["/v2/users/me"] = recorded("me", **scripted.users[user_id])

    assert await instance.verify("ada", PASSWORD) == Refused(deactivated=True)


NAMES = ["", "a\0b", "a\nb", "a\x7fb", "a\x85b", "a\ud800b", "a" * 256]


@pytest.mark.parametrize("username", NAMES, ids=[ascii(each)[:12] for each in NAMES])
async def test_a_name_that_it_would_stumble_over_is_not_asked_for(
    scripted: Scripted, instance: Instance, username: str
) -> None:
    before = list(scripted.asked)

    assert await instance.verify(username, PASSWORD) == Refused()
    assert scripted.asked == before


@pytest.mark.parametrize("password", ["", "a\0b", "a\ud800b"], ids=["empty", "NUL", "a lone surrogate"])
async def test_nor_is_such_a_password(scripted: Scripted, instance: Instance, password: str) -> None:
    assert await instance.verify("admin", password) == Refused()
    assert scripted.logins("admin") == 0


async def test_any_other_name_arrives_as_it_is(scripted: Scripted, instance: Instance) -> None:
    for username in ("Ada Lovelace ", "ada&password=x", "ada@example.test", "阿达", "a" * 255):
        user_id = await scripted.add(username)

        found = await instance.verify(username, PASSWORD)

        assert isinstance(found, Account)
        assert found.id == user_id


# ---- outages --------------------------------------------------------------------------------------------------------


async def test_a_moment_is_bridged_by_another_try(scripted: Scripted, instance: Instance) -> None:
    user_id = await scripted.add("ada")
    scripted.stumbles_over = {"ada"}
    verification = asyncio.create_task(instance.verify("ada", PASSWORD))
    await until(lambda: scripted.logins("ada"))

    scripted.stumbles_over = set()

    found = await verification
    assert isinstance(found, Account)
    assert found.id == user_id


async def test_one_account_that_it_stumbles_over_is_away_for_nobody_else(
    scripted: Scripted, instance: Instance
) -> None:
    await scripted.add("ada")
    scripted.stumbles_over = {"bob"}

    for _ in range(4):
        with pytest.raises(GpustackAway):
            await instance.verify("bob", PASSWORD)
        assert isinstance(await instance.verify("ada", PASSWORD), Account)

    assert instance.state is State.OK
    assert scripted.logins("bob") == 4 * TRIES


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_what_a_gateway_says_of_it_is_an_outage(scripted: Scripted, instance: Instance, status: int) -> None:
    scripted.says[""] = Reply.html(status)

    with pytest.raises(GpustackAway):
        await instance.verify("admin", PASSWORD)

    await until(lambda: instance.state is State.AWAY)


async def test_once_it_is_away_nobody_waits_for_it(scripted: Scripted, instance: Instance) -> None:
    async with scripted.outage("hung"):
        found = await asyncio.gather(
            *(instance.verify(new_name(), PASSWORD) for _ in range(10 * PLACES)), return_exceptions=True
        )
        asked = len(scripted.asked)
        assert instance.state is State.AWAY
        with pytest.raises(GpustackAway):
            await instance.verify("admin", PASSWORD)

    assert all(isinstance(each, GpustackAway) for each in found)
    logins = [each for each in scripted.asked[:asked] if each.startswith("POST /auth/login user-")]
    assert UNANSWERED <= len(logins) < PLACES + UNANSWERED  # those who took a place before the last one counted
    assert scripted.logins("admin") == 0


async def test_who_has_one_name_alone_cannot_make_it_away(
    scripted: Scripted, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.says["/auth/login"] = None
    monkeypatch.setattr(instance, "look", lambda: asyncio.sleep(0))

    found = await asyncio.gather(
        *(instance.verify("ada", PASSWORD) for _ in range(2 * UNANSWERED)), return_exceptions=True
    )

    assert all(isinstance(each, GpustackAway) for each in found)
    assert instance.state is State.OK


async def test_it_is_looked_at_until_it_is_back(
    scripted: Scripted, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AWAY_SECONDS", 0.01)
    monkeypatch.setattr(module, "DOUBT_SECONDS", 0.01)
    await scripted.add("ada")

    async with scripted.outage("refused"):
        with pytest.raises(GpustackAway):
            await instance.verify("ada", PASSWORD)
        await until(lambda: instance.state is State.AWAY)
    await until(lambda: instance.state is State.OK)

    assert isinstance(await instance.verify("ada", PASSWORD), Account)


async def test_no_more_are_sent_to_it_at_a_time_than_it_can_bear(scripted: Scripted, instance: Instance) -> None:
    await scripted.add("ada")
    scripted.pause = 0.02

    found = await asyncio.gather(*(instance.verify("ada", PASSWORD) for _ in range(5 * PLACES)))

    assert all(isinstance(each, Account) for each in found)
    assert scripted.at_once == PLACES


async def test_that_many_wait_is_no_outage(
    scripted: Scripted, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE", 0.5)
    scripted.pause = 0.3

    found = await asyncio.gather(
        *(instance.verify(new_name(), "wrong") for _ in range(4 * PLACES)), return_exceptions=True
    )

    assert found.count(Refused()) >= PLACES
    others = [each for each in found if each != Refused()]
    assert others
    assert all(type(each) is Overloaded for each in others)
    assert instance.state is State.OK


async def test_what_it_says_is_in_no_line_of_the_log(scripted: Scripted, instance: Instance) -> None:
    scripted.says["/auth/login"] = ODD["422, which repeats the password"]

    with capture_logs() as logs:
        with pytest.raises(Unavailable) as caught:
            await instance.verify("admin", "secret")
        await until(lambda: instance.state is State.MISCONFIGURED)

    assert [line["event"] for line in logs] == ["gpustack.misconfigured"]
    assert "secret" not in f"{logs} {caught.value} {caught.value.detail}"
