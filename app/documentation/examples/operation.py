"""What an operator asks the service itself."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from app.documentation.samples import CHECKS
from app.health.structs import HealthReport, Status
from app.identity.upstream_sync import SyncReport
from app.maintenance.service import CleanupReport, Deleted

BY_TYPE: Mapping[object, Mapping[str, Struct]] = {
    CleanupReport: {
        "report": CleanupReport(
            deleted=Deleted(
                sessions=412,
                audit_events=0,
                audit_partitions=1,
                signing_keys=0,
                one_time_tokens=37,
                sign_ins=9,
                factors=4,
            ),
            duration_ms=83,
        )
    },
    SyncReport: {
        "report": SyncReport(listed=214, created=3, updated=1, deactivated=2, reactivated=0, skipped=0, duration_ms=640)
    },
    HealthReport: {"ok": HealthReport(status=Status.OK)},
}
ANSWERS: Mapping[tuple[str, int], Mapping[str, Any]] = {
    ("health", 200): {
        "everybody": {"status": "ok"},
        "with_permission": msgspec.to_builtins(
            HealthReport(status=Status.OK, version="1.4.0", uptime_seconds=86_400, checks=CHECKS)
        ),
    },
    ("health", 503): {"down": {"status": "down"}},
    ("metrics", 200): {
        "metrics": "# HELP auth_login_success_total Logins that opened a session.\n"
        "# TYPE auth_login_success_total counter\n"
        "auth_login_success_total 1815.0\n"
    },
}
