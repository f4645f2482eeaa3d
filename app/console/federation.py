"""To a sign-in provider and back: for a session, to show once more who one is, and to link an identity."""

from typing import Annotated, Any

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter
from msgspec import Meta

from app.console.confirmation import CONFIRM, Confirming
from app.console.forms import own_path, then
from app.console.identities import IDENTITIES
from app.console.languages import mark
from app.console.sign_in import Door, Next, ask_for_code, enter
from app.console.visit import ROOT, SIGN_IN, Visit
from app.console.ways import Way, Ways
from app.errors import AppError, InvalidCredentials, InvalidGrant, MfaRequired, NotFound
from app.federation.cookie import FlowCookie
from app.federation.sign_ins import SignIns
from app.identity.federated_login import FederatedLogin
from app.identity.identities import Identities, IdentityCode
from app.identity.structs import Exchange
from app.problems import convert
from app.providers import GPUSTACK
from app.request import header
from app.sessions.caller import Caller
from app.sessions.service import Sessions

AnyRequest = Request[Any, Any, Any]
WayId = Annotated[str | None, QueryParameter(name="way")]
Code = Annotated[str, Meta(max_length=4096)]  # of which no server takes more in an address


class NotTheSame(InvalidCredentials):
    title = "Somebody else has signed in there. Nothing was changed."


class Departure:
    """Dependency `departure`: sends this browser to providers."""

    def __init__(
        self, request: AnyRequest, visit: Visit, sign_ins: SignIns, flow_cookie: FlowCookie, ways: Ways
    ) -> None:
        self._scope = request.scope
        self._visit = visit
        self._sign_ins = sign_ins
        self._flow_cookie = flow_cookie
        self._ways = ways

    @property
    def asked_elsewhere(self) -> bool:
        """Whether a page of others has sent the browser here; it shall not go on to where that may lead."""
        return header(self._scope, b"sec-fetch-site") in ("cross-site", "same-site")

    def known(self, provider: str) -> str:
        """What people call a provider.

        Raises:
            NotFound: there is none of this name.
        """
        for each in self._sign_ins.offered():
            if each.name == provider != GPUSTACK:
                return each.label
        raise NotFound(mark("There is no such sign-in provider."))

    async def out(self, page: str, provider: str, onwards: str | None, *, fresh: bool = False) -> str:
        """Where the browser is to go; `page` is where it comes back to."""
        way = self._ways.begin(self._visit, page, provider, own_path(onwards))
        started = await self._sign_ins.start_here(provider, way.back, way.challenge, fresh=fresh)
        self._ways.keep(self._visit, way)
        self._visit.keep(*self._flow_cookie.holding(self._scope, started))
        return started.location

    def can_ask_anew(self, provider: str) -> bool:
        """Whether a provider can be told to ask who is there; to sign in there is what is left of the others."""
        return any(each.kind == "oidc" for each in self._sign_ins.offered() if each.name == provider)


def provide_departure(
    request: AnyRequest,
    visit: NamedDependency[Visit],
    sign_ins: NamedDependency[SignIns],
    flow_cookie: NamedDependency[FlowCookie],
    ways: NamedDependency[Ways],
) -> Departure:
    return Departure(request, visit, sign_ins, flow_cookie, ways)


def exchanged(way: Way, code: str) -> Exchange:
    """Raises InvalidGrant where it cannot be a code of ours."""
    try:
        return convert({"code": code, "code_verifier": way.verifier}, Exchange)
    except AppError:
        raise InvalidGrant from None


class SignInWithController(Controller):
    path = "/sign-in"
    back = f"{SIGN_IN}/return"

    @get("/with/{provider:str}", exclude_from_auth=True)
    async def set_out(
        self,
        provider: FromPath[str],
        visit: NamedDependency[Visit],
        departure: NamedDependency[Departure],
        door: NamedDependency[Door],
        next_: Next = None,
    ) -> Response[bytes]:
        if visit.caller is not None:
            return visit.go(own_path(next_) or ROOT)
        if departure.asked_elsewhere:
            return visit.go(then(SIGN_IN, next_))
        departure.known(provider)
        try:
            return visit.go(await departure.out(self.back, provider, next_))
        except AppError as refused:
            return door.again(refused, next_)

    @get("/return", exclude_from_auth=True)
    async def come_back(
        self,
        visit: NamedDependency[Visit],
        ways: NamedDependency[Ways],
        federated_login: NamedDependency[FederatedLogin],
        door: NamedDependency[Door],
        way_id: WayId = None,
        code: FromQuery[Code | None] = None,
    ) -> Response[bytes]:
        way = ways.take(visit, self.back, way_id)
        onwards = None if way is None else way.onwards
        if visit.caller is not None:  # in another tab, meanwhile
            return visit.go(onwards or ROOT)
        if way is None or code is None:
            return visit.go(then(SIGN_IN, onwards), "way-lost" if way is None else "way-left")
        try:
            response = await federated_login.exchange(exchanged(way, code), visit.client)
        except MfaRequired as due:
            return ask_for_code(visit, due, onwards)
        except (InvalidGrant, InvalidCredentials) as refused:
            told = "way-lost" if isinstance(refused, InvalidGrant) else "not-let-in"
            return visit.go(then(SIGN_IN, onwards), told)
        except AppError as refused:
            return door.again(refused, onwards)
        return enter(visit, response, onwards)


class ConfirmWithController(Controller):
    """For who has nothing else here: he signs in there once more, and the new session takes the place of the old."""

    path = "/confirm"
    back = f"{CONFIRM}/return"

    @get("/with/{provider:str}")
    async def set_out(
        self,
        provider: FromPath[str],
        visit: NamedDependency[Visit],
        departure: NamedDependency[Departure],
        confirming: NamedDependency[Confirming],
        next_: Next = None,
    ) -> Response[bytes]:
        if departure.asked_elsewhere:
            return visit.go(then(CONFIRM, next_))
        departure.known(provider)
        try:
            fresh = departure.can_ask_anew(provider)
            return visit.go(await departure.out(self.back, provider, next_, fresh=fresh))
        except AppError as refused:
            return await confirming.again(refused, next_)

    @get("/return")
    async def come_back(
        self,
        visit: NamedDependency[Visit],
        caller: Caller,
        ways: NamedDependency[Ways],
        federated_login: NamedDependency[FederatedLogin],
        sessions: NamedDependency[Sessions],
        confirming: NamedDependency[Confirming],
        way_id: WayId = None,
        code: FromQuery[Code | None] = None,
    ) -> Response[bytes]:
        way = ways.take(visit, self.back, way_id)
        if way is None:
            return visit.go(CONFIRM, "way-lost")
        if code is None:
            return visit.go(then(CONFIRM, way.onwards), "way-left")
        try:
            response = await federated_login.exchange(exchanged(way, code), visit.client)
        except MfaRequired:  # who has a second factor here is asked for it, and for no provider
            return await confirming.again(NotTheSame(), way.onwards)
        except AppError as refused:
            return await confirming.again(refused, way.onwards)
        if response.user.id != caller.user_id:
            await sessions.log_out(response.user.id, visit.client, session_id=response.session_id)
            return await confirming.again(NotTheSame(), way.onwards)
        await sessions.log_out(caller.user_id, visit.client, session_id=caller.session_id)
        return enter(visit, response, way.onwards)


class LinkController(Controller):
    """One's own account and an identity elsewhere. Only who clicks sets out: no page of others can have it done."""

    path = "/account/identities"
    back = f"{IDENTITIES}/return"

    @get("/link/{provider:str}")
    async def set_out(
        self,
        provider: FromPath[str],
        visit: NamedDependency[Visit],
        caller: Caller,
        departure: NamedDependency[Departure],
    ) -> Response[bytes]:
        caller.require_fresh()
        label = departure.known(provider)
        try:
            location = await departure.out(self.back, provider, None)
        except AppError as refused:
            return visit.again("sign_in/link.html", refused, {}, label=label, provider=provider, location=None)
        return visit.page("sign_in/link.html", label=label, provider=provider, location=location)

    @get("/return")
    async def come_back(
        self,
        visit: NamedDependency[Visit],
        caller: Caller,
        ways: NamedDependency[Ways],
        identities: NamedDependency[Identities],
        departure: NamedDependency[Departure],
        way_id: WayId = None,
        code: FromQuery[Code | None] = None,
    ) -> Response[bytes]:
        caller.require_fresh()
        way = ways.take(visit, self.back, way_id)
        if way is None:
            return visit.go(IDENTITIES, "way-lost")
        if code is None:
            return visit.go(IDENTITIES, "way-left")
        try:
            asked = exchanged(way, code)
            await identities.link(
                caller, IdentityCode(code=asked.code, code_verifier=asked.code_verifier), visit.client
            )
        except AppError as refused:
            label = departure.known(way.provider)
            return visit.again("sign_in/link.html", refused, {}, label=label, provider=way.provider, location=None)
        return visit.go(IDENTITIES, "identity-linked")
