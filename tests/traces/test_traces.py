"""Traces: what a request is seen to do, whose trace it belongs to, and that nobody waits for who collects them."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from httpx import AsyncClient
from litestar import get

from app import tracing
from app.settings import Settings
from tests.cli.kit import eventually, gatehouse
from tests.kit import BASE, SignedIn, log_in, new_name, register
from tests.replica import Replica, serving
from tests.servers import environment, free_port
from tests.traces.collector import Collector, Received

INTERNAL, SERVER, CLIENT = 1, 2, 3
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
NOT_SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-00"}

Traced = Callable[..., Awaitable[Replica]]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")  # milliseconds
    with Collector() as one:
        yield one


@pytest.fixture
async def traced(settings: Settings, collector: Collector) -> AsyncIterator[Traced]:
    async with AsyncExitStack() as stack:

        async def begin(**others: Any) -> Replica:
            own = replace(settings, **{"otel_exporter_otlp_endpoint": collector.url, **others})
            return await stack.enter_async_context(serving(own))

        yield begin


async def signed_in(client: AsyncClient) -> SignedIn:
    return await log_in(client, await register(client))


def named(spans: list[Received], name: str) -> list[Received]:
    return [span for span in spans if span.name == name]


async def test_a_request_is_a_span_and_what_it_asks_of_the_stores_is_in_it(
    traced: Traced, collector: Collector
) -> None:
    session = await signed_in((await traced(otel_service_name="auth-of-tests")).client)
    await session.refreshed()
    await session.ask("GET", "/me")  # leaves it in Valkey
    await session.ask("GET", "/me")

    spans = await collector.until(lambda spans: named(spans, f"GET {BASE}/me")[1:])

    first, me = named(spans, f"GET {BASE}/me")
    of_first = [span for span in spans if span.trace == first.trace]
    assert {"look_up", "fill", "MGET", "EVAL"} <= {span.name for span in of_first}
    assert [span for span in of_first if span.attributes.get("db.system.name") == "postgresql"]
    assert me.kind == SERVER
    assert me.attributes == {
        "http.request.method": "GET",
        "url.scheme": "https",
        "http.route": f"{BASE}/me",
        "http.response.status_code": 200,
    }
    assert me.service["service.name"] == "auth-of-tests"
    assert me.service["service.version"]
    (look_up,) = [span for span in spans if span.parent == me.id]
    (mget,) = [span for span in spans if span.parent == look_up.id]
    assert (mget.name, mget.kind, mget.attributes["db.system.name"]) == ("MGET", CLIENT, "valkey")
    (login,) = named(spans, f"POST {BASE}/login")
    of_login = [span for span in spans if span.trace == login.trace]
    assert {"SELECT users", "UPDATE users"} <= {span.name for span in of_login}
    assert [span for span in of_login if span.attributes.get("db.system.name") == "valkey"]  # limits
    (refresh,) = named(spans, f"POST {BASE}/refresh")
    assert "UPDATE sessions" in {span.name for span in spans if span.trace == refresh.trace}


async def test_no_span_holds_a_value(traced: Traced, collector: Collector) -> None:
    replica = await traced()
    email, name, word = f"{new_name()}@example.org", new_name("secretive"), new_name("query")
    session = await log_in(replica.client, await register(replica.client, username=name, email=email))
    agent = {"User-Agent": "agent-of-somebody", "X-Request-ID": "request-of-somebody"}
    await session.ask("GET", f"/users?search={word}", headers=agent)
    await session.ask("DELETE", f"/me/sessions/{session.body['session_id']}", headers=agent)
    await session.ask("GET", f"/nowhere/{word}", headers=agent)
    await replica.client.post("/register", json={"username": name, "password": "taken already 7"})

    spans = await collector.until(lambda spans: named(spans, f"POST {BASE}/register")[1:])

    assert [span for span in spans if span.attributes.get("db.system.name") == "postgresql"]
    for value in (email, name, word, session.refresh_token, session.access, session.body["session_id"], "somebody"):
        assert value.encode() not in collector.raw
    assert {span.attributes["http.route"] for span in spans if span.kind == SERVER} >= {
        f"{BASE}/me/sessions/{{session_id}}",
        "unmatched",
    }


async def test_a_request_belongs_to_the_trace_that_it_names_on_every_replica(
    traced: Traced, collector: Collector
) -> None:
    here, there = await traced(), await traced()
    session = await signed_in(here.client)

    for client in (here.client, there.client):
        await session.ask("GET", "/verify", at=client, headers={**SAMPLED, "tracestate": "vendor=1"})

    verified = named(await collector.until(lambda spans: named(spans, f"GET {BASE}/verify")[1:]), f"GET {BASE}/verify")
    assert [(span.trace, span.parent) for span in verified] == [(TRACE, PARENT)] * 2


@pytest.mark.parametrize(
    "headers",
    [
        [("traceparent", "00-nonsense-01")],
        [("traceparent", SAMPLED["traceparent"]), ("traceparent", SAMPLED["traceparent"])],
        [],
    ],
)
async def test_who_names_no_trace_begins_one(
    traced: Traced, collector: Collector, headers: list[tuple[str, str]]
) -> None:
    await (await traced()).client.get("/health/live", headers=headers)

    (live,) = await collector.until(len)

    assert live.parent == ""
    assert live.trace not in {TRACE, "0" * 32}


WORD = "word-of-a-client"


@pytest.mark.parametrize(
    "headers",
    [
        {**SAMPLED, "tracestate": f"vendor={WORD}"},
        {**SAMPLED, "tracestate": f"{WORD} is no member"},
        {"traceparent": f"00-{TRACE}-{PARENT}-01-{WORD * 50}"},
    ],
)
async def test_what_a_client_writes_beside_that_is_neither_sent_on_nor_logged(
    traced: Traced, collector: Collector, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
) -> None:
    await (await traced()).client.get("/health/live", headers=headers)

    await collector.until(len)

    assert WORD.encode() not in collector.raw
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


@pytest.mark.parametrize(
    ("sampler", "wanted"),
    [
        ("always_off", set()),
        ("always_on", {"by itself", "asked to", "asked not to"}),
        ("parentbased_always_on", {"by itself", "asked to"}),
        ("parentbased_always_off", {"asked to"}),
        ("traceidratio", set()),
        ("parentbased_traceidratio", {"asked to"}),
    ],
)
async def test_the_sampler_decides(traced: Traced, collector: Collector, sampler: str, wanted: set[str]) -> None:
    replica = await traced(otel_traces_sampler=sampler, otel_traces_sampler_arg=0.0)
    await replica.client.get("/health/live")
    await replica.client.get("/health/ready", headers=SAMPLED)
    await replica.client.get("/health/startup", headers=NOT_SAMPLED)

    await replica.parts.traces.stop()

    meant = {"live": "by itself", "ready": "asked to", "startup": "asked not to"}
    servers = [span for span in collector.spans if span.kind == SERVER]
    assert {meant[span.attributes["http.route"].rpartition("/")[2]] for span in servers} == wanted
    assert servers or not collector.spans


async def test_what_is_asked_for_many_at_once_is_in_the_trace_of_each(traced: Traced, collector: Collector) -> None:
    session = await signed_in((await traced()).client)
    await session.ask("GET", "/me")

    await asyncio.gather(*(session.ask("GET", "/verify") for _ in range(20)))

    spans = await collector.until(lambda spans: len(named(spans, f"GET {BASE}/verify")) == 20)
    for verify in named(spans, f"GET {BASE}/verify"):
        (look_up,) = [span for span in spans if span.trace == verify.trace and span.name == "look_up"]
        assert look_up.parent == verify.id
    verified = {span.trace for span in named(spans, f"GET {BASE}/verify")}
    assert 1 <= len([span for span in named(spans, "MGET") if span.trace in verified]) < 20


async def asked_meanwhile(
    settings: Settings, collector: Collector, url: str, narrowed: Sequence[str] = ()
) -> tuple[dict[str, str], Received]:
    """The headers of what a request of ours asks of another server, and the span of that."""
    outbound: Any = None

    @get("/asking", exclude_from_auth=True)
    async def asking() -> int:
        way = outbound.narrowed(narrowed) if narrowed else outbound
        return int((await way.ask("GET", url, seconds=5.0, headers={"x-a": "b"})).status)

    async with serving(replace(settings, otel_exporter_otlp_endpoint=collector.url), [asking]) as replica:
        outbound = replica.parts.traces.outbound([collector.url])
        await replica.client.get("https://auth.example.test/asking", headers=SAMPLED)
        spans = await collector.until(lambda spans: named(spans, "GET /asking"))
    (asked,) = [headers for headers in collector.headers if "x-a" in headers]
    (span,) = [span for span in spans if span.kind == CLIENT and "server.address" in span.attributes]
    return asked, span


async def test_whom_we_ask_is_told_the_trace(settings: Settings, collector: Collector) -> None:
    asked, span = await asked_meanwhile(settings, collector, f"{collector.url}/secret-path?code=secret")

    assert asked["traceparent"] == f"00-{TRACE}-{span.id}-01"
    assert span.attributes == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": int(collector.url.rpartition(":")[2]),
        "http.response.status_code": 200,
    }


async def test_who_signs_people_in_is_not_told_the_trace(settings: Settings, collector: Collector) -> None:
    """He is somebody else."""
    asked, _ = await asked_meanwhile(settings, collector, collector.url, narrowed=[collector.url])

    assert "traceparent" not in asked


async def test_an_error_of_ours_is_one_in_the_trace_and_a_refusal_is_none(traced: Traced, collector: Collector) -> None:
    replica = await traced()

    async def fail(*_: object) -> None:
        raise RuntimeError("with a value")

    replica.parts.health.checks = fail  # type: ignore[method-assign, assignment]
    assert (await replica.client.get("/health")).status_code == 500
    assert (await replica.client.get("/me")).status_code == 401

    spans = await collector.until(lambda spans: named(spans, f"GET {BASE}/me"))

    (failed,) = named(spans, f"GET {BASE}/health")
    assert failed.failed
    assert failed.attributes["error.type"] == "500"
    assert not named(spans, f"GET {BASE}/me")[0].failed
    assert b"with a value" not in collector.raw


async def test_headers_of_the_operator_go_along(traced: Traced, collector: Collector) -> None:
    headers = (("authorization", "Bearer of-the-operator"),)
    await (await traced(otel_exporter_otlp_headers=headers)).client.get("/health/live")

    await collector.until(len)

    assert collector.headers[0]["authorization"] == "Bearer of-the-operator"


# ---- the way to the collector -------------------------------------------------------------------------------------


async def test_nobody_waits_for_a_collector_that_hangs_and_what_waits_is_bounded(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SCHEDULE_DELAY": "20", "MAX_QUEUE_SIZE": "8", "MAX_EXPORT_BATCH_SIZE": "4"}.items():
        monkeypatch.setenv(f"OTEL_BSP_{name}", value)
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.05)
    with Collector(hangs=True) as collector:
        replica = await traced(otel_exporter_otlp_endpoint=collector.url)
        for _ in range(50):
            assert (await replica.client.get("/health/live")).status_code == 200

        await replica.parts.traces.stop()  # returns

        assert collector.spans == []
    assert len(collector.spans) <= 4  # the batch that was under way; the queue's are dropped with the process


async def test_nobody_waits_for_a_collector_that_is_away(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.05)
    replica = await traced(otel_exporter_otlp_endpoint=f"http://127.0.0.1:{free_port()}")

    for _ in range(10):
        assert (await replica.client.get("/health/live")).status_code == 200

    await replica.parts.traces.stop()


async def test_a_server_that_is_told_to_stop_sends_what_it_has(settings: Settings, tmp_path: Path) -> None:
    port = str(free_port())
    with Collector() as collector:
        traces = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "600000",
            "LOG_LEVEL": "info",
        }
        words = ("serve", "--host", "127.0.0.1", "--port", port)
        with gatehouse(*words, cwd=tmp_path, environment={**environment(settings), **traces}) as process:
            eventually(lambda: asked(f"http://127.0.0.1:{port}{BASE}/health/live"), process)
            asked(f"http://127.0.0.1:{port}{BASE}/nowhere", SAMPLED)
            assert collector.spans == []
            process.signal(signal.SIGTERM)
            assert process.ends() == 0

    lines = [msgspec.json.decode(line) for line in process.output.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line.get("path", "").endswith("/nowhere")]
    (span,) = [span for span in collector.spans if span.trace == TRACE]
    assert (line["trace_id"], line["span_id"]) == (TRACE, span.id)


def asked(url: str, headers: dict[str, str] | None = None) -> bool:
    try:
        return httpx.get(url, headers=headers).status_code > 0
    except httpx.TransportError:
        return False


# ---- off, and not there -------------------------------------------------------------------------------------------

SCRIPT = """
import sys
{before}
from app.cli.main import main
from app.main import at_the_edge, create_app
from app.settings import InvalidSettings, load
try:
    at_the_edge(create_app(load(env_file=None)))
except InvalidSettings as invalid:
    print(invalid)
    sys.exit(main(["check"]))
heavy = ("opentelemetry.sdk", "opentelemetry.context", "opentelemetry.exporter", "google.protobuf", "app.tracing")
print([name for name in sys.modules if name.startswith(heavy)])  # Litestar looks up a name of its conventions
"""


def run(settings: Settings, before: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    own = {**environment(settings), **more}
    script = SCRIPT.format(before=before)
    return subprocess.run([sys.executable, "-c", script], env=own, capture_output=True, text=True, check=False)


async def test_where_nobody_looks_at_traces_nothing_of_them_is_there(settings: Settings) -> None:
    done = run(settings)

    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


async def test_without_its_package_one_line_says_so(settings: Settings) -> None:
    missing = "sys.modules['opentelemetry'] = None"
    done = run(settings, missing, OTEL_EXPORTER_OTLP_ENDPOINT="http://collector.example.test:4318")

    assert done.returncode == 78
    assert done.stdout.strip() == (
        "OTEL_EXPORTER_OTLP_ENDPOINT: needs the extra `otel` of the package: pip install 'gatehouse[otel]'"
    )
