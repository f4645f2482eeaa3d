"""The keys that sign tokens, and a new one."""

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.status_codes import HTTP_200_OK

from app.console.forms import Form
from app.console.visit import ROOT, Visit
from app.errors import AppError
from app.keys.ring import Ring
from app.maintenance.rotation import Rotation
from app.sessions.caller import Caller, requires

KEYS = f"{ROOT}/admin/keys"


class KeysPages(Controller):
    path = "/keys"
    guards = (requires("system:maintain"),)

    @get()
    async def show(self, visit: NamedDependency[Visit], ring: NamedDependency[Ring]) -> Response[bytes]:
        return visit.page("admin/keys.html", keys=await ring.states())

    @get("/rotate")
    async def ask(self, visit: NamedDependency[Visit], caller: Caller) -> Response[bytes]:
        caller.require_fresh()
        return visit.page("admin/rotate.html")

    @post("/rotate", status_code=HTTP_200_OK)
    async def rotate(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        rotation: NamedDependency[Rotation],
    ) -> Response[bytes]:
        caller.require_fresh()
        try:
            await rotation.rotate(visit.client, caller.user_id, caller.session_id)
        except AppError as refused:
            return visit.again("admin/rotate.html", refused, form)
        return visit.go(KEYS, "keys-rotated")
