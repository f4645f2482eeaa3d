"""The routes of GPUStack's users."""

from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.status_codes import HTTP_200_OK

from app.client import Client
from app.errors import Conflict, NotFound, Unavailable
from app.identity.shadows import Origin
from app.identity.upstream_sync import SyncReport, UpstreamSync
from app.sessions.caller import Caller, requires


class UpstreamController(Controller):
    tags = ("users",)

    @post(
        "/providers/gpustack/sync",
        guards=[requires("users:write")],
        status_code=HTTP_200_OK,
        operation_id="sync_gpustack",
        summary="Bring over GPUStack's users",
        errors=(NotFound, Conflict, Unavailable),
    )
    async def sync(
        self,
        caller: Caller,
        client: NamedDependency[Client],
        upstream_sync: NamedDependency[UpstreamSync | None],
    ) -> SyncReport:
        """Reads its list now, as the schedule does. 404 where there is no GPUStack, 409 where there is no key for it.

        503 if it cannot be read, or is not whole; nobody is deactivated by that.
        """
        if upstream_sync is None:
            raise NotFound
        return await upstream_sync.sync(Origin(client, caller.user_id, caller.session_id))
