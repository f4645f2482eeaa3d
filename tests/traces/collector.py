"""What OpenTelemetry's collector would get: a server that takes OTLP over HTTP and reads it."""

import asyncio
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATIENCE = 60.0  # seconds until a test says that what it waits for will not come; none waits as long


class Received(Struct, frozen=True):
    """A span."""

    name: str
    kind: int  # 1 internal, 2 server, 3 client (opentelemetry.proto.trace.v1)
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    failed: bool
    service: dict[str, Any]
    nanoseconds: int


class Collector:
    """Serves in a thread; `hangs` if it takes connections and says nothing."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.spans: list[Received] = []
        self.raw = b""  # all bodies
        self.headers: list[dict[str, str]] = []
        self._more = threading.Condition()
        self._hangs = hangs
        self._leave = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if collector._hangs:
                    collector._leave.wait(PATIENCE)
                collector.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            do_GET = do_POST  # noqa: N815 - as the library asks

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        with self._more:
            self.headers.append(headers)
            if path == "/v1/traces":
                self.raw += body
                self.spans += spans_of(ExportTraceServiceRequest.FromString(body))
            self._more.notify_all()

    async def until(self, enough: Callable[[list[Received]], object]) -> list[Received]:
        """All that has come, once it is enough."""

        def wait() -> bool:
            with self._more:
                return self._more.wait_for(lambda: bool(enough(self.spans)), PATIENCE)

        assert await asyncio.to_thread(wait), [span.name for span in self.spans]
        return list(self.spans)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave.set()
        self._server.shutdown()
        self._server.server_close()


def spans_of(request: ExportTraceServiceRequest) -> list[Received]:
    return [
        Received(
            name=span.name,
            kind=span.kind,
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            attributes=_plain(span.attributes),
            failed=span.status.code == 2,  # STATUS_CODE_ERROR
            service=_plain(resource.resource.attributes),
            nanoseconds=span.end_time_unix_nano - span.start_time_unix_nano,
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
