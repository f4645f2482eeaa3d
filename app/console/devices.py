"""Where one is signed in, and signing out there."""

from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.status_codes import HTTP_200_OK

from app.console.account import ACCOUNT
from app.console.visit import Visit
from app.sessions.caller import Caller
from app.sessions.service import Sessions

DEVICES = f"{ACCOUNT}/devices"


class DevicePages(Controller):
    path = "/account/devices"

    @get()
    async def overview(
        self, visit: NamedDependency[Visit], caller: Caller, sessions: NamedDependency[Sessions]
    ) -> Response[bytes]:
        live = await sessions.live_of(caller.user_id, caller.session_id)
        live.sort(key=lambda each: (each.current, each.last_accessed), reverse=True)
        return visit.page("account/devices.html", live=live)

    @post("/{session_id:uuid}/end", status_code=HTTP_200_OK)
    async def end(
        self,
        session_id: FromPath[UUID],
        visit: NamedDependency[Visit],
        caller: Caller,
        sessions: NamedDependency[Sessions],
    ) -> Response[bytes]:
        await sessions.revoke_one(caller.user_id, session_id, caller.user_id, visit.client)
        return visit.go(DEVICES, "device-ended")

    @post("/end-others", status_code=HTTP_200_OK)
    async def end_others(
        self, visit: NamedDependency[Visit], caller: Caller, sessions: NamedDependency[Sessions]
    ) -> Response[bytes]:
        await sessions.log_out(caller.user_id, visit.client, except_id=caller.session_id)
        return visit.go(DEVICES, "others-ended")
