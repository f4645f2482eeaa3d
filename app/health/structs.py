"""The answers of health."""

from enum import StrEnum

from msgspec import UNSET, Struct, UnsetType


class Status(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"
    MISCONFIGURED = "misconfigured"  # of a check: somebody has to mend it


class Check(Struct, frozen=True):
    status: Status
    latency_ms: float | None


class HealthReport(Struct, frozen=True, kw_only=True):
    """The status for everybody, the rest for `system:maintain`."""

    status: Status
    version: str | UnsetType = UNSET
    uptime_seconds: int | UnsetType = UNSET
    checks: dict[str, Check] | UnsetType = UNSET
