"""With whose word one can sign in besides: seen, unlinked. Linking is a sign-in, and is there (federation)."""

from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.status_codes import HTTP_200_OK

from app.console.account import ACCOUNT
from app.console.forms import Form
from app.console.own import one_of
from app.console.visit import Visit
from app.errors import AppError
from app.federation.sign_ins import SignIns
from app.identity.identities import Identities, Identity
from app.providers import GPUSTACK
from app.sessions.caller import Caller

IDENTITIES = f"{ACCOUNT}/identities"
OVERVIEW, UNLINK = "account/identities.html", "account/identity_unlink.html"


async def provide_identity(
    identity_id: FromPath[UUID], caller: Caller, identities: NamedDependency[Identities]
) -> Identity:
    """Dependency `identity`: the caller's own of the path; NotFound where he has no such one."""
    return one_of(await identities.all_of(caller.user_id), identity_id)


OWN = {"identity": Provide(provide_identity)}


class IdentityPages(Controller):
    path = "/account/identities"
    dependencies = OWN

    @get()
    async def overview(
        self,
        visit: NamedDependency[Visit],
        caller: Caller,
        identities: NamedDependency[Identities],
        sign_ins: NamedDependency[SignIns],
    ) -> Response[bytes]:
        linked = await identities.all_of(caller.user_id)
        offered = [each for each in sign_ins.offered() if each.name != GPUSTACK]
        return visit.page(OVERVIEW, linked=linked, offered=offered, label=sign_ins.label, kept_there=GPUSTACK)

    @get("/{identity_id:uuid}/unlink")
    async def before_unlinking(
        self,
        visit: NamedDependency[Visit],
        caller: Caller,
        identity: NamedDependency[Identity],
        sign_ins: NamedDependency[SignIns],
    ) -> Response[bytes]:
        caller.require_fresh()
        return visit.page(UNLINK, identity=identity, label=sign_ins.label)

    @post("/{identity_id:uuid}/unlink", status_code=HTTP_200_OK)
    async def unlink(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        identity: NamedDependency[Identity],
        identities: NamedDependency[Identities],
        sign_ins: NamedDependency[SignIns],
    ) -> Response[bytes]:
        try:
            await identities.unlink(caller, identity.id, visit.client)
        except AppError as refused:
            return visit.again(UNLINK, refused, form, identity=identity, label=sign_ins.label)
        return visit.go(IDENTITIES, "identity-unlinked")
