"""Traces by OpenTelemetry: imported only where OTEL_EXPORTER_OTLP_ENDPOINT says where they go.

A request is a span, and what it asks of PostgreSQL, Valkey and other servers are spans in it. None holds a value: no
path, query or header, no argument of a statement, no key. Outside of requests there are no spans.
"""

import asyncio
import re
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from importlib.metadata import version
from typing import Any, TypeVar
from urllib.parse import urlsplit

from asyncpg.connection import LoggedQuery
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send
from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.typing import EventDict, WrappedLogger
from valkey.asyncio import Valkey
from valkey.asyncio.client import Pipeline

from app import logs
from app.cache.batch import Batch
from app.cache.server import Command, Link
from app.edge import Count, Edge
from app.outbound import Answer, Outbound
from app.settings import Settings
from app.traces import Traces
from app.traffic import METHODS

T = TypeVar("T")

FLUSH_SECONDS = 3.0  # that the end of a process waits for what was not sent yet
MAX_STATEMENT = 2000  # characters of a statement that are kept
MAX_COMMANDS = 5  # of a pipeline that are named
ERROR = 500  # the first status that is a fault of the server's
TRACE_PARENT = 55  # characters of a `traceparent` of the one version there is (W3C Trace Context §3.2.2)
CHANGE = re.compile(r"\b(?:INSERT|UPDATE|DELETE)\b")
WORD = re.compile(r"\w+")
TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE|JOIN)\s+(?!LATERAL\b|unnest\b)([a-z_]\w*)")
propagator = TraceContextTextMapPropagator()


def traces(settings: Settings) -> Traces:
    """The parts that show what they do, and the way by which it is sent, in a thread of its own.

    What is not sent yet is bounded (OTEL_BSP_MAX_QUEUE_SIZE, 2048 spans); what is beyond is dropped, and nobody waits.
    """
    service = {"service.name": settings.otel_service_name, "service.version": version("gatehouse")}
    provider = TracerProvider(
        sampler_of(settings), Resource.create(service), shutdown_on_exit=False, span_limits=SpanLimits(max_links=0)
    )
    exporter = OTLPSpanExporter(
        endpoint=f"{settings.otel_exporter_otlp_endpoint.rstrip('/')}/v1/traces",
        headers=dict(settings.otel_exporter_otlp_headers) or None,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("gatehouse", version("gatehouse"))
    logs.add(_with_trace)
    return Traces(
        edge=partial(TracedEdge, tracer),
        link=partial(TracedLink, tracer),
        batch=partial(TracedBatch, tracer),
        outbound=partial(TracedOutbound, tracer),
        statements=partial(_statement, tracer),
        stop=partial(_flush, provider),
    )


def sampler_of(settings: Settings) -> Sampler:
    """By the names of the OpenTelemetry specification."""
    name = settings.otel_traces_sampler
    root: Sampler
    if name.endswith("traceidratio"):
        root = TraceIdRatioBased(settings.otel_traces_sampler_arg)
    else:
        root = ALWAYS_ON if name.endswith("always_on") else ALWAYS_OFF
    return ParentBased(root) if name.startswith("parentbased") else root


async def _flush(provider: TracerProvider) -> None:
    """Send what is left, if it can be sent soon."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def shut_down() -> None:
        provider.shutdown()
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=shut_down, daemon=True).start()
    with suppress(TimeoutError):
        async with asyncio.timeout(FLUSH_SECONDS):
            await done.wait()


def _with_trace(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    context = get_current_span().get_span_context()
    if context.is_valid:
        event.setdefault("trace_id", f"{context.trace_id:032x}")
        event.setdefault("span_id", f"{context.span_id:016x}")
    return event


@contextmanager
def asking(tracer: Tracer, name: str, attributes: Mapping[str, Any]) -> Iterator[Span]:
    """A span of what others do for a request; outside of one, none."""
    if not get_current_span().is_recording():
        yield INVALID_SPAN
        return
    with tracer.start_as_current_span(
        name, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except BaseException as error:
            _failed(span, type(error).__name__)
            raise


def _failed(span: Span, kind: str) -> None:
    """An error by its name alone: what it says may hold values."""
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


# ---- requests -----------------------------------------------------------------------------------------------------


class Headers(Getter[Scope]):
    """The trace that a request belongs to, by its `traceparent`, in which there is no room for words of a client's.

    Its `tracestate` would be sent to others with the spans, or stand in the log where it cannot be read.
    """

    def get(self, carrier: Scope, key: str) -> list[str] | None:
        if key == "tracestate":
            return None
        wanted = key.encode()
        found = [value.decode("latin-1") for name, value in carrier["headers"] if name == wanted]
        # two of them are none (W3C Trace Context §3.2.1)
        return found if len(found) == 1 and len(found[0]) <= TRACE_PARENT else None

    def keys(self, carrier: Scope) -> list[str]:
        return [name.decode("latin-1") for name, _ in carrier["headers"]]


class TracedEdge(Edge):
    """A span a request, of the trace that it says it belongs to."""

    def __init__(self, tracer: Tracer, *parts: Any, count: Count) -> None:  # noqa: ANN401 - the Edge's own
        super().__init__(*parts, count=self._answered)
        self._tracer = tracer
        self._headers = Headers()
        self._passed_to = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await super().__call__(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        context = propagator.extract(scope, Context(), self._headers)
        attributes = {"http.request.method": method, "url.scheme": scope["scheme"]}
        span = self._tracer.start_span(method, context, SpanKind.SERVER, attributes)
        token = attach(set_span_in_context(span, context))
        try:
            await super().__call__(scope, receive, send)
        finally:
            detach(token)
            span.end()

    def _answered(self, method: str, route: str, status: int, seconds: float) -> None:
        self._passed_to(method, route, status, seconds)
        span = get_current_span()
        if span.is_recording():
            span.update_name(f"{method if method in METHODS else 'HTTP'} {route}")
            span.set_attribute("http.route", route)
            span.set_attribute("http.response.status_code", status)
            if status >= ERROR:
                _failed(span, str(status))


# ---- PostgreSQL ---------------------------------------------------------------------------------------------------


def _statement(tracer: Tracer, query: LoggedQuery) -> None:
    """A statement that has just ended: what it was for may have ended since."""
    ended = time.time_ns()
    started = ended - round(query.elapsed * 1e9)
    whole = get_current_span()
    whole_ended = getattr(whole, "end_time", None)
    if not whole.get_span_context().trace_flags.sampled or (whole_ended is not None and whole_ended < started):
        return
    name, operation, text = _described(query.query)
    span = tracer.start_span(
        name,
        kind=SpanKind.CLIENT,
        attributes={"db.system.name": "postgresql", "db.operation.name": operation, "db.query.text": text},
        start_time=started,
    )
    if query.exception is not None:
        _failed(span, getattr(query.exception, "sqlstate", None) or type(query.exception).__name__)
    span.end(ended)


@lru_cache(1000)
def _described(statement: str) -> tuple[str, str, str]:
    """A name for a statement, what it does, and its text: all of ours take their values as arguments."""
    text = " ".join(statement.split())
    first = WORD.search(text)
    operation = first[0].upper() if first else "SQL"
    if operation == "WITH":
        changes = CHANGE.search(text)
        operation = changes[0] if changes else "SELECT"
    table = TABLE.search(text)
    return f"{operation} {table[1]}" if table else operation, operation, text[:MAX_STATEMENT]


# ---- Valkey -------------------------------------------------------------------------------------------------------


def _commands(names: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The name and the attributes of a span for these, and nothing of what they are about."""
    name = names[0] if len(names) == 1 else "PIPELINE"
    attributes: dict[str, Any] = {"db.system.name": "valkey", "db.operation.name": name}
    if len(names) > 1:
        attributes |= {"db.operation.batch.size": len(names), "db.query.text": " ".join(names[:MAX_COMMANDS])}
    return name, attributes


class TracedLink(Link):
    """What another link does, in spans."""

    def __init__(self, tracer: Tracer, link: Link) -> None:
        super().__init__(link.epoch, link.identity, link.client)
        self._tracer = tracer
        self._link = link

    def at(self, key: str) -> Valkey:
        return TracedValkey(self._tracer, self._link.at(key))

    async def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        name, attributes = _commands(["MGET"])
        with asking(self._tracer, name, attributes | {"db.operation.batch.size": len(keys)}):
            return await self._link.mget(keys)

    async def run(self, commands: Sequence[tuple[str, Command]]) -> list[Any]:
        name, attributes = _commands([str(command[0]) for _, command in commands])
        with asking(self._tracer, name, attributes):
            return await self._link.run(commands)

    async def delete(self, keys: Sequence[str]) -> None:
        name, attributes = _commands(["DEL"])
        with asking(self._tracer, name, attributes | {"db.operation.batch.size": len(keys)}):
            await self._link.delete(keys)

    async def ping(self) -> None:
        await self._link.ping()

    async def close(self) -> None:
        await self._link.close()


class TracedValkey(Valkey):
    """By the connections of another client."""

    def __init__(self, tracer: Tracer, client: Valkey) -> None:
        super().__init__(connection_pool=client.connection_pool)
        self._tracer = tracer

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - the client's own
        name, attributes = _commands([str(args[0])])
        with asking(self._tracer, name, attributes):
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:  # noqa: FBT001, FBT002
        made = TracedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        made.tracer = self._tracer
        return made


class TracedPipeline(Pipeline):
    tracer: Tracer

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - the client's own
        name, attributes = _commands([str(command[0][0]) for command in self.command_stack] or ["PIPELINE"])
        with asking(self.tracer, name, attributes):
            answers: list[Any] = await super().execute(raise_on_error)
            return answers


class TracedBatch(Batch[Any, Any]):
    """A span is how long somebody waited for what was asked for many at once.

    What that takes of the stores is in the trace of the first of them: it is done once.
    """

    def __init__(self, tracer: Tracer, load: Callable[[list[Any]], Awaitable[Any]], *, most: int) -> None:
        super().__init__(self._load_in_trace, most=most)
        self._tracer = tracer
        self._own_load = load
        self._name = getattr(load, "__name__", "load").strip("_")
        self._spans: dict[asyncio.Future[Any], Span] = {}
        self._first: Span = INVALID_SPAN

    def get(self, keys: Sequence[Any]) -> "asyncio.Future[Any]":
        future = super().get(keys)
        if get_current_span().is_recording():
            span = self._tracer.start_span(self._name)
            self._spans[future] = span
            future.add_done_callback(self._ended)
        return future

    def _ended(self, future: "asyncio.Future[Any]") -> None:
        span = self._spans.pop(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            _failed(span, type(error).__name__)
        span.end()

    def _take(self) -> tuple[list["asyncio.Future[Any]"], list[Any]]:
        futures, keys = super()._take()
        self._first = next((self._spans[each] for each in futures if each in self._spans), INVALID_SPAN)
        return futures, keys

    async def _load_in_trace(self, keys: list[Any]) -> Any:  # noqa: ANN401 - as the load has it
        token = attach(set_span_in_context(self._first, Context()))
        try:
            return await self._own_load(keys)
        finally:
            detach(token)


# ---- other servers ------------------------------------------------------------------------------------------------


class TracedOutbound(Outbound):
    def __init__(self, tracer: Tracer, *args: Any) -> None:  # noqa: ANN401 - the Outbound's own
        super().__init__(*args)
        self._tracer = tracer
        self._tells = True

    def narrowed(self, named: Iterable[str]) -> Outbound:
        """For a sign-in provider, who is somebody else and not told the trace."""
        found = super().narrowed(named)
        found._tells = False  # type: ignore[attr-defined]  # noqa: SLF001 - a copy of this one
        return found

    async def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        **options: Any,  # noqa: ANN401 - the same
    ) -> Answer:
        parts = urlsplit(url)
        attributes: dict[str, Any] = {"http.request.method": method, "server.address": parts.hostname or ""}
        if parts.port:
            attributes |= {"server.port": parts.port}
        with asking(self._tracer, method, attributes) as span:
            sent = dict(headers or {})
            if self._tells:
                propagator.inject(sent)
            answer = await super().ask(method, url, headers=sent, **options)
            span.set_attribute("http.response.status_code", answer.status)
            return answer
