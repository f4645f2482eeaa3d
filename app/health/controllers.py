"""The routes of health, and `/metrics`."""

import asyncio
import hmac
from typing import Annotated, Any, Literal

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery
from litestar.status_codes import HTTP_200_OK, HTTP_503_SERVICE_UNAVAILABLE
from msgspec import Meta

from app.errors import InvalidToken, NotAuthenticated, NotFound, PasswordChangeRequired, Unavailable
from app.health.service import RELEASE, Health
from app.health.structs import HealthReport, Status
from app.metrics import CONTENT_TYPE, Metrics
from app.sessions.caller import OptionalCaller, bearer
from app.settings import Settings

DegradedOk = Annotated[
    Literal["ok"] | None, Meta(description="`ok`: also ready while Valkey alone can tell which sessions live.")
]


class HealthController(Controller):
    tags = ("health",)
    path = "/health"

    @get(
        exclude_from_auth=True,
        operation_id="health",
        summary="Health",
        errors=(PasswordChangeRequired,),
        answers={HTTP_503_SERVICE_UNAVAILABLE: HealthReport},
    )
    async def report(self, health: NamedDependency[Health], optional_caller: OptionalCaller) -> Response[HealthReport]:
        """200 while requests can be served, also `degraded`; the details only for `system:maintain`."""
        status, checks = await health.checks()
        report = HealthReport(status=status)
        if optional_caller and optional_caller.may("system:maintain"):
            report = HealthReport(status=status, version=RELEASE, uptime_seconds=health.uptime_seconds, checks=checks)
        return Response(report, status_code=HTTP_503_SERVICE_UNAVAILABLE if status is Status.DOWN else HTTP_200_OK)

    @get("/live", exclude_from_auth=True, operation_id="health_live", summary="Liveness")
    async def live(self) -> HealthReport:
        """200 while the process can serve; touches no store."""
        return HealthReport(status=Status.OK)

    @get("/ready", exclude_from_auth=True, operation_id="health_ready", summary="Readiness", errors=(Unavailable,))
    async def ready(self, health: NamedDependency[Health], degraded: FromQuery[DegradedOk] = None) -> HealthReport:
        """200 when requests can be served: PostgreSQL is there, with a schema that fits; and it is not stopping."""
        if not await health.ready(degraded_ok=degraded == "ok"):
            raise Unavailable("Not ready.")
        if not health.valkey_trusted:
            return HealthReport(status=Status.DEGRADED)
        return HealthReport(status=Status.OK)

    @get("/startup", exclude_from_auth=True, operation_id="health_startup", summary="Startup", errors=(Unavailable,))
    async def startup(self, health: NamedDependency[Health]) -> HealthReport:
        """503 until first ready."""
        if not await health.started():
            raise Unavailable("Not started yet.")
        return HealthReport(status=Status.OK)


def metrics_handler(metrics: Metrics, settings: Settings) -> HTTPRouteHandler:
    """`/metrics`: open in development; in production by METRICS_TOKEN, and not there at all without one."""
    token = settings.metrics_token
    is_open = token == "off" or (settings.development and not token)  # noqa: S105 - the contract's word

    @get(
        "/metrics",
        exclude_from_auth=True,
        operation_id="metrics",
        summary="Metrics",
        tags=["health"],
        security=[] if is_open else [{"metrics": []}],
        errors=() if is_open else (NotAuthenticated, InvalidToken, NotFound),
        media_type=CONTENT_TYPE,
    )
    async def read_metrics(request: Request[Any, Any, Any]) -> bytes:
        """The Prometheus exposition, over all workers of this server."""
        if not is_open:
            if not token:
                raise NotFound
            sent = bearer(request.scope)
            if sent is None:
                raise NotAuthenticated
            if not hmac.compare_digest(sent.encode(), token.encode()):
                raise InvalidToken
        metrics.sample()
        return await asyncio.to_thread(metrics.text)

    return read_metrics
