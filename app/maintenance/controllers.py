"""The route of the clean-up."""

from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.status_codes import HTTP_200_OK

from app.client import Client
from app.maintenance.service import CleanupReport, Maintenance
from app.sessions.caller import Caller, requires


class MaintenanceController(Controller):
    tags = ("maintenance",)

    @post("/cleanup", guards=[requires("system:maintain")], status_code=HTTP_200_OK, summary="Clean up now")
    async def clean_up(
        self, caller: Caller, client: NamedDependency[Client], maintenance: NamedDependency[Maintenance]
    ) -> CleanupReport:
        """Delete what has expired: what every replica does by itself once an hour."""
        return await maintenance.clean_up(client, caller.user_id)
