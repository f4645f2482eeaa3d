"""What a person keeps with us: any JSON under any key of theirs, within bounds, as it was written."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
from httpx import AsyncClient, Response

from app.parts import Parts
from app.settings import Settings
from tests.kit import Person, SignedIn, log_in, problem, register
from tests.replica import serving

JSON = {"Content-Type": "application/json"}
KEYS, VALUE_BYTES, TOTAL_BYTES = 100, 16 * 1024, 256 * 1024  # the contract's bounds


def text(size: int) -> str:
    """A JSON text of so many bytes."""
    return f'"{"x" * (size - 2)}"'


async def put(session: SignedIn, key: str, body: str | bytes, at: AsyncClient | None = None) -> Response:
    return await session.ask("PUT", f"/preferences/{key}", content=body, headers=JSON, at=at)


async def kept(session: SignedIn) -> dict[str, Any]:
    answer = await session.ask("GET", "/preferences")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    return body


def refused(answer: Response, *fields: str) -> list[str]:
    """The messages about these fields."""
    errors = problem(answer, 422, "validation_failed")["errors"]
    assert tuple(error["field"] for error in errors) == fields
    return [error["message"] for error in errors]


# ---- the whole ----------------------------------------------------------------------------------------------------


async def test_nobody_keeps_anything_at_first(session: SignedIn) -> None:
    assert await kept(session) == {}


async def test_post_merges_and_put_replaces(session: SignedIn) -> None:
    first = await session.ask("POST", "/preferences", json={"theme": "dark", "a": 1, "b": [True]})
    merged = await session.ask("POST", "/preferences", json={"a": 2, "c": {"d": None}})

    assert (first.status_code, first.json()) == (200, {"theme": "dark", "a": 1, "b": [True]})
    assert (merged.status_code, merged.json()) == (200, {"theme": "dark", "a": 2, "b": [True], "c": {"d": None}})
    assert await kept(session) == merged.json()

    replaced = await session.ask("PUT", "/preferences", json={"b": 3})

    assert (replaced.status_code, replaced.json()) == (200, {"b": 3})
    assert await kept(session) == {"b": 3}


async def test_an_empty_object_merges_nothing_and_replaces_everything(session: SignedIn) -> None:
    await session.ask("POST", "/preferences", json={"a": 1})

    assert (await session.ask("POST", "/preferences", json={})).json() == {"a": 1}
    assert (await session.ask("PUT", "/preferences", json={})).json() == {}


async def test_people_do_not_see_each_others(client: AsyncClient, session: SignedIn) -> None:
    other = await log_in(client, await register(client))
    await session.ask("POST", "/preferences", json={"mine": 1})
    await other.ask("POST", "/preferences", json={"yours": 2})

    assert await kept(session) == {"mine": 1}
    assert await kept(other) == {"yours": 2}
    problem(await other.ask("GET", "/preferences/mine"), 404, "not_found")
    problem(await other.ask("DELETE", "/preferences/mine"), 404, "not_found")


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_all_or_nothing(session: SignedIn, method: str) -> None:
    await session.ask("POST", "/preferences", json={"a": 1, "theme": "dark"})

    for wrong, field in (({"Bad": 1}, "key"), ({"theme": "pink"}, "theme"), ({"z": "x" * VALUE_BYTES}, "z")):
        refused(await session.ask(method, "/preferences", json={"a": 2, "b": 2, **wrong, "c": 2}), field)

    assert await kept(session) == {"a": 1, "theme": "dark"}


@pytest.mark.parametrize("body", ["[]", "null", '"theme"', "1", "true", '[["theme", "dark"]]'])
async def test_the_whole_is_an_object(session: SignedIn, body: str) -> None:
    for method in ("POST", "PUT"):
        refused(await session.ask(method, "/preferences", content=body, headers=JSON), "body")


async def test_nothing_is_no_value(session: SignedIn) -> None:
    problem(await session.ask("POST", "/preferences", headers=JSON), 400, "malformed_request")
    problem(await put(session, "a", ""), 400, "malformed_request")
    problem(await put(session, "a", " \n"), 400, "malformed_request")


async def test_it_is_closed_to_who_is_not_signed_in(client: AsyncClient) -> None:
    for method, path in (("GET", ""), ("POST", ""), ("PUT", ""), ("GET", "/a"), ("PUT", "/a"), ("DELETE", "/a")):
        answer = await client.request(method, f"/preferences{path}", content=b"{}", headers=JSON)
        problem(answer, 401, "not_authenticated")


async def test_they_go_with_their_user(parts: Parts, ada: Person, session: SignedIn) -> None:
    await session.ask("POST", "/preferences", json={"a": 1})

    await parts.db.execute("DELETE FROM users WHERE id = $1", ada.id)

    rows = await parts.db.fetch("SELECT FROM preferences WHERE user_id = $1", ada.id)
    assert rows == []
    problem(await put(session, "a", "1"), 404, "not_found")  # until the session is known to be gone


# ---- one value ----------------------------------------------------------------------------------------------------


async def test_one_value_is_set_read_and_forgotten(session: SignedIn) -> None:
    problem(await session.ask("GET", "/preferences/a"), 404, "not_found")

    assert (await put(session, "a", '{"b": [1, 2]}')).json() == {"b": [1, 2]}
    assert (await session.ask("GET", "/preferences/a")).json() == {"b": [1, 2]}
    assert (await put(session, "a", "2")).json() == 2

    assert (await session.ask("DELETE", "/preferences/a")).status_code == 204
    problem(await session.ask("GET", "/preferences/a"), 404, "not_found")
    problem(await session.ask("DELETE", "/preferences/a"), 404, "not_found")


@pytest.mark.parametrize("key", ["a", "theme", "language", "default_model", "conversation_history"])
async def test_null_is_a_value(session: SignedIn, key: str) -> None:
    answer = await put(session, key, "null")

    assert (answer.status_code, answer.text) == (200, "null")
    read = await session.ask("GET", f"/preferences/{key}")
    assert (read.status_code, read.text) == (200, "null")
    assert await kept(session) == {key: None}


@pytest.mark.parametrize(
    "written",
    [
        "1.0",
        "1e3",
        "1E+3",
        "-0",
        "-0.0",
        "12345678901234567890",
        "123456789012345678901234567890",
        "0.1234567890123456789012345678",
        "1.10",
        '"\\u00e9\\/é💩\\ud83d\\udca9\\n"',
        '{"z":1,"a":2,"y":{"z":3}}',
        '{ "spaced" : [ 1 , 2 ] }',
        "[]",
        '""',
        "false",
        '"\u2028\u202e\u0085"',
        '"\\\\u0000"',
    ],
)
async def test_a_value_comes_back_as_it_was_written(session: SignedIn, written: str) -> None:
    answer = await put(session, "a", f"\n {written}\t")

    assert (answer.status_code, answer.text) == (200, written)
    assert (await session.ask("GET", "/preferences/a")).text == written
    assert (await session.ask("GET", "/preferences")).text == f'{{"a":{written}}}'
    merged = await session.ask("POST", "/preferences", content=f'{{"b" : {written} }}'.encode(), headers=JSON)
    assert merged.text == f'{{"a":{written},"b":{written}}}'


async def test_a_key_that_is_named_twice_is_refused(session: SignedIn) -> None:
    answer = await session.ask("POST", "/preferences", content=rb'{"a": 1, "\u0061": 2}', headers=JSON)

    problem(answer, 400, "malformed_request")


@pytest.mark.parametrize(
    "body",
    ['"\\u0000"', '{"a\\u0000": 1}', '"\\ud800"', '["\\udfff"]', "[" * 65 + "]" * 65, "NaN", "01", '{"a": 1, "a": 1}'],
)
async def test_what_cannot_be_kept_is_malformed(session: SignedIn, body: str) -> None:
    problem(await put(session, "a", body), 400, "malformed_request")
    wrapped = f'{{"a": {body}}}'
    problem(await session.ask("POST", "/preferences", content=wrapped, headers=JSON), 400, "malformed_request")


# ---- keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["a", "a.b-c_d9", "z" * 255])
async def test_a_good_key(session: SignedIn, key: str) -> None:
    assert (await put(session, key, "1")).json() == 1
    assert (await session.ask("POST", "/preferences", json={key: 2})).json() == {key: 2}


@pytest.mark.parametrize("key", ["A", "9a", "_a", ".a", "a b", "a\n", "é", "a" * 256, "a:b", "aé", "\u0430"])
async def test_a_bad_key_is_refused_everywhere_and_not_repeated(session: SignedIn, key: str) -> None:
    answers = [
        await session.ask("POST", "/preferences", json={key: 1}),
        await session.ask("PUT", "/preferences", json={key: 1}),
        *[await session.ask(method, f"/preferences/{quote(key)}", json=1) for method in ("GET", "PUT", "DELETE")],
    ]

    for answer in answers:
        (message,) = refused(answer, "key")
        assert key not in message or len(key) == 1
    assert await kept(session) == {}


async def test_an_empty_key_is_bad(session: SignedIn) -> None:
    refused(await session.ask("POST", "/preferences", json={"": 1}), "key")


# the examples of RFC 5646, appendix A, and others
GOOD_LANGUAGES = [
    *("en", "EN-us", "de-CH", "de-1996", "de-CH-1901", "sl-rozaj-biske", "zh-Hant-TW", "sr-Latn-RS", "es-419", "yue"),
    *("zh-cmn-Hans-CN", "hy-Latn-IT-arevela", "en-US-u-islamcal", "en-a-myext-b-another", "x-whatever", "de-x-private"),
]
BAD_LANGUAGES = [
    *("", "e", "x", "en-", "-en", "en_US", "en--US", "english language", "de-419-DE", "a-DE", "en-u", "en-x", "12"),
    *("en-US-u-", "en-abcdefghi", "en\n", "énglish", "a" * 65, "en-US-1", "tlh-a-b-foo", "\u0435n"),
]

KNOWN_GOOD: dict[str, list[Any]] = {
    "theme": ["light", "dark", "system"],
    "language": GOOD_LANGUAGES,
    "default_model": ["", "llama-4", "x" * 255, "模型"],
    "conversation_history": [{"enabled": True, "retention_days": 1}, {"enabled": False, "retention_days": 3650}],
}
KNOWN_BAD: dict[str, list[Any]] = {
    "theme": ["pink", "Dark", "", 1, True, ["dark"], {"dark": True}],
    "language": [*BAD_LANGUAGES, 1, ["en"]],
    "default_model": ["x" * 256, 1, False, {"name": "x"}],
    "conversation_history": [
        {},
        {"enabled": True},
        {"retention_days": 30},
        {"enabled": True, "retention_days": 0},
        {"enabled": True, "retention_days": 3651},
        {"enabled": True, "retention_days": "30"},
        {"enabled": True, "retention_days": 1.5},
        {"enabled": True, "retention_days": None},
        {"enabled": 1, "retention_days": 30},
        {"enabled": "true", "retention_days": 30},
        {"enabled": True, "retention_days": 30, "more": 1},
        [True, 30],
        "on",
    ],
}


@pytest.mark.parametrize("key", KNOWN_GOOD)
async def test_a_known_key_takes_what_it_is_for(session: SignedIn, key: str) -> None:
    for good in KNOWN_GOOD[key]:
        answer = await put(session, key, json.dumps(good))

        assert (answer.status_code, answer.json()) == (200, good)


@pytest.mark.parametrize("key", KNOWN_BAD)
async def test_a_known_key_takes_nothing_else(session: SignedIn, key: str) -> None:
    for bad in KNOWN_BAD[key]:
        for answer in (
            await put(session, key, json.dumps(bad)),
            await session.ask("POST", "/preferences", json={key: bad}),
            await session.ask("PUT", "/preferences", json={"other": 1, key: bad}),
        ):
            assert answer.status_code == 422, bad
            (message,) = refused(answer, key)
            assert message.startswith("has to be ")
    assert await kept(session) == {}


# ---- bounds -------------------------------------------------------------------------------------------------------


async def test_a_value_has_at_most_16_kib(session: SignedIn) -> None:
    assert (await put(session, "a", text(VALUE_BYTES))).status_code == 200
    refused(await put(session, "b", text(VALUE_BYTES + 1)), "b")
    refused(await put(session, "b", json.dumps("é" * (VALUE_BYTES // 2), ensure_ascii=False).encode()), "b")

    assert list(await kept(session)) == ["a"]


async def test_there_are_at_most_100_keys(session: SignedIn) -> None:
    hundred = {f"k{number}": number for number in range(KEYS)}
    refused(await session.ask("PUT", "/preferences", json={**hundred, "more": 1}), "preferences")
    assert await kept(session) == {}

    assert (await session.ask("PUT", "/preferences", json=hundred)).status_code == 200
    refused(await put(session, "more", "1"), "preferences")
    refused(await session.ask("POST", "/preferences", json={"k0": "changed", "more": 1}), "preferences")
    assert await kept(session) == hundred

    assert (await put(session, "k0", '"changed"')).status_code == 200
    assert (await session.ask("DELETE", "/preferences/k1")).status_code == 204
    assert (await put(session, "more", "1")).status_code == 200
    another = {f"other{number}": number for number in range(KEYS)}
    assert (await session.ask("PUT", "/preferences", json=another)).status_code == 200


async def test_there_are_at_most_256_kib_together(session: SignedIn) -> None:
    for number in range(15):
        assert (await put(session, f"k{number}", text(VALUE_BYTES))).status_code == 200
    assert (await put(session, "last", text(VALUE_BYTES - 1))).status_code == 200
    refused(await put(session, "straw", "10"), "preferences")

    assert (await put(session, "straw", "1")).status_code == 200
    refused(await put(session, "last", text(VALUE_BYTES)), "preferences")
    assert len((await session.ask("GET", "/preferences/last")).content) == VALUE_BYTES - 1


@pytest.fixture
async def other_replica(settings: Settings) -> Any:
    async with serving(settings) as replica:
        yield replica.client


async def test_fifty_writers_on_two_replicas_never_get_above_the_bounds(
    client: AsyncClient, other_replica: AsyncClient, session: SignedIn
) -> None:
    """Where each of them alone would fit: 100 keys have room for 5 of 20, and 256 KiB for 16 of 16 KiB."""
    await session.ask("PUT", "/preferences", json={f"old{number}": 1 for number in range(KEYS - 5)})
    places = (client, other_replica)

    by_key = await asyncio.gather(*(put(session, f"new{n}", "1", places[n % 2]) for n in range(50)))

    assert sorted(answer.status_code for answer in by_key) == [200] * 5 + [422] * 45
    assert len(await kept(session)) == KEYS

    await session.ask("PUT", "/preferences", json={})
    by_size = await asyncio.gather(*(put(session, f"big{n}", text(VALUE_BYTES), places[n % 2]) for n in range(50)))

    assert sorted(answer.status_code for answer in by_size) == [200] * 16 + [422] * 34
    assert sum(len(json.dumps(value)) for value in (await kept(session)).values()) == TOTAL_BYTES


async def test_fifty_writers_of_different_keys_overwrite_none_of_each_other(
    client: AsyncClient, other_replica: AsyncClient, session: SignedIn
) -> None:
    places = (client, other_replica)

    await asyncio.gather(
        *(session.ask("POST", "/preferences", json={f"k{n}": n, "same": n}, at=places[n % 2]) for n in range(50))
    )

    found = await kept(session)
    assert found.pop("same") in range(50)
    assert found == {f"k{n}": n for n in range(50)}
