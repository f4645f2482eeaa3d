"""What people do with their secrets, rightly and wrongly, from the first password to the last."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from httpx import AsyncClient, BasicAuth

from app import base64url
from app.uuid7 import uuid7
from tests.clients.kit import Service
from tests.conftest import ADMIN
from tests.federation.github import GitHub
from tests.federation.kit import HTML, Browser
from tests.federation.provider import MISSING, OpenIdProvider
from tests.federation.server import Server
from tests.gpustack.scripted import Scripted
from tests.identity.factorkit import enrolled, first_step, second_step
from tests.identity.hashkit import BOMBS, FOREIGN
from tests.identity.importkit import ndjson, new_line, report, send
from tests.identity.kit import change, create, person
from tests.identity.mailkit import joined, link_in, proved, token, use
from tests.identity.webauthnkit import Key, added, login_options, registration_options, sign_in
from tests.kit import Person, SignedIn, from_ip, log_in, new_name, new_password, register
from tests.mail.kit import Postbox
from tests.secrecy.kit import Canaries
from tests.secrecy.witness import SECRET

JSON = {"Content-Type": "application/json"}
COOKIE = "__Host-gatehouse-refresh"


def marked() -> str:
    """Fits wherever a code, a token or a password fits."""
    return secrets.token_urlsafe(12)


def too_short() -> str:
    return marked()[:7]


@dataclass
class Lives:
    client: AsyncClient
    canaries: Canaries
    postbox: Postbox
    origin: str  # of PUBLIC_URL, where pages may use the cookie

    async def wrong(self, session: SignedIn | None, method: str, path: str, **sent: Any) -> None:
        """Something that is refused."""
        headers = from_ip() | (session.bearer if session else {})
        answer = await self.client.request(method, path, headers=headers, json=sent)
        assert answer.status_code in (401, 403, 409, 422), (method, path, answer.text)

    async def right(self, session: SignedIn, method: str, path: str, **sent: Any) -> Any:
        answer = await session.ask(method, path, json=sent or None, headers=from_ip())
        assert answer.is_success, (method, path, answer.text)
        return answer.json() if answer.content else None

    # ---- passwords ------------------------------------------------------------------------------------------------

    async def of_a_password(self) -> None:
        ada, link = await joined(self.client, self.postbox)
        for username in (ada.username, ada.email, new_name()):
            await self.wrong(None, "POST", "/login", username=username, password=new_password())
        await self.wrong(None, "POST", "/register", username=ada.username, password=new_password())
        await self.wrong(None, "POST", "/register", username="no name", password=new_password())
        typed = new_password()
        self.canaries.keep("password in the place of the name", typed)
        await self.wrong(None, "POST", "/login", username=typed, password=marked())
        form = {"grant_type": "password", "username": ada.username, "password": ada.password}
        assert (await self.client.post("/login", data=form, headers=from_ip())).status_code == 200
        assert (await use(self.client, "/email/verify", link)).status_code == 204
        await self.wrong(None, "POST", "/email/verify", token=link)

        session = await log_in(self.client, ada)
        new = new_password()
        for current, asked in ((marked(), new), (ada.password, too_short()), (ada.password, ada.password)):
            await self.wrong(session, "POST", "/me/password", current_password=current, new_password=asked)
        await self.right(session, "POST", "/me/password", current_password=ada.password, new_password=new)
        await self.wrong(session, "POST", "/me/reauthenticate", password=ada.password)
        again = SignedIn(self.client, await self.right(session, "POST", "/me/reauthenticate", password=new))
        elsewhere = f"{new_name()}@example.org"
        await self.right(again, "PATCH", "/me", email=elsewhere)
        await self.postbox.to(elsewhere)  # or the next letter overtakes it, and there is one
        await self.right(again, "POST", "/email/resend")
        moved = token(await self.postbox.to(elsewhere, 2), "verify-email")
        assert (await use(self.client, "/email/verify", moved)).status_code == 204
        await self._come_back(elsewhere)

    async def _come_back(self, address: str) -> None:
        forgot = {"email": address}
        assert (await self.client.post("/password/forgot", json=forgot, headers=from_ip())).status_code == 202
        link = await link_in(self.postbox, address, "reset-password")
        await self.wrong(None, "POST", "/password/reset", token=link, new_password=too_short())
        await self.wrong(None, "POST", "/password/reset", token=marked(), new_password=new_password())
        answer = await use(self.client, "/password/reset", link, new_password=new_password())
        assert answer.status_code == 204
        await self.wrong(None, "POST", "/password/reset", token=link, new_password=new_password())
        not_me = await link_in(self.postbox, address, "not-me")
        await self.wrong(None, "POST", "/password/not-me", token=link)
        assert (await use(self.client, "/password/not-me", not_me)).status_code == 204

    async def of_one_who_leaves(self) -> None:
        ada = await register(self.client)
        session = await log_in(self.client, ada)
        for method in ("PUT", "GET", "DELETE"):
            await session.ask(method, "/preferences/theme", json="dark")
        await self.wrong(session, "DELETE", "/me", password=new_password())
        await self.right(session, "DELETE", "/me", password=ada.password)

    # ---- tokens ---------------------------------------------------------------------------------------------------

    async def of_tokens(self) -> None:
        ada = await register(self.client)
        first = await log_in(self.client, ada)
        second = await first.refreshed()
        await second.refreshed()
        await self.wrong(None, "POST", "/refresh", refresh_token=first.refresh_token)
        await self.wrong(None, "POST", "/refresh", refresh_token=marked())
        await self.wrong(None, "POST", "/logout", refresh_token=marked())
        await self.wrong(second, "GET", "/me")
        leaving = await log_in(self.client, ada)
        await self.right(leaving, "DELETE", f"/me/sessions/{leaving.id}")
        leaving = await log_in(self.client, ada)
        await self.right(leaving, "POST", "/logout", refresh_token=leaving.refresh_token)
        await self.right(await log_in(self.client, ada), "POST", "/logout/all")

    async def of_a_cookie(self) -> None:
        ada = await register(self.client)
        first = await self._begun_by_cookie(ada)
        second = await self._by_cookie("/refresh", first)
        await self._by_cookie("/refresh", second)
        for value in (first, marked()):
            answer = await self.client.post("/refresh", headers=self._with_cookie(value))
            assert answer.status_code == 401, answer.text
        answer = await self.client.post("/logout", headers=self._with_cookie(await self._begun_by_cookie(ada)))
        assert answer.status_code == 204

    async def _begun_by_cookie(self, ada: Person) -> str:
        body = {"username": ada.username, "password": ada.password, "transport": "cookie"}
        return await self._by_cookie("/login", None, json=body)

    async def _by_cookie(self, path: str, value: str | None, **sent: Any) -> str:
        """The value of the next one."""
        answer = await self.client.post(path, headers=self._with_cookie(value), **sent)
        assert answer.status_code == 200, answer.text
        assert "refresh_token" not in answer.json()
        return str(answer.headers["set-cookie"].partition(";")[0].partition("=")[2])

    def _with_cookie(self, value: str | None) -> dict[str, str]:
        shown = {} if value is None else {"Cookie": f"{COOKIE}={value}; theme={marked()}"}
        return from_ip() | {"Origin": self.origin} | shown

    async def of_a_service(self, service: Service) -> None:
        ada = await register(self.client)
        for path in ("/introspect", "/revoke"):
            session = await log_in(self.client, ada)
            for each in (session.access, session.refresh_token):
                in_the_form = {"token": each, **service.form}
                for form in (in_the_form, {**in_the_form, "client_secret": marked()}, {**in_the_form, "token": ""}):
                    statuses = [(await self.client.post(path, data=form, headers=from_ip())).status_code]
                    for basic in (service.basic, BasicAuth(service.id, marked())):
                        for sent in ({**form, "client_secret": ""}, form):
                            answer = await self.client.post(path, data=sent, headers=from_ip(), auth=basic)
                            statuses.append(answer.status_code)
                    assert statuses[1:] == [422 if not form["token"] else 200, 400, 401, 400]

    # ---- factors --------------------------------------------------------------------------------------------------

    async def of_an_authenticator(self) -> None:
        ada = await proved(self.client, self.postbox)
        session = await log_in(self.client, ada)
        await self.right(session, "POST", "/me/mfa/totp")
        await self.wrong(session, "POST", "/me/mfa/totp/confirm", code=marked())
        authenticator = await enrolled(session)
        mfa_token = await first_step(self.client, ada)
        for shown in ({"code": marked()}, {"recovery_code": marked()}):
            await self.wrong(None, "POST", "/login/mfa", mfa_token=mfa_token, **shown)
        await self.wrong(None, "POST", "/login/mfa", mfa_token=marked(), code=marked())
        assert (await second_step(self.client, mfa_token, code=authenticator.code())).status_code == 200
        mfa_token = await first_step(self.client, ada)
        assert (await second_step(self.client, mfa_token, recovery_code=authenticator.codes[0])).status_code == 200
        await self.wrong(session, "POST", "/me/reauthenticate", code=marked())
        await self.wrong(session, "POST", "/me/mfa/recovery-codes", password=new_password())
        codes = await self.right(session, "POST", "/me/mfa/recovery-codes", password=ada.password)
        await self.wrong(session, "DELETE", "/me/mfa/totp", password=new_password(), code=marked())
        used = {"password": ada.password, "recovery_code": codes["recovery_codes"][0]}
        await self.right(session, "DELETE", "/me/mfa/totp", **used)

    async def of_a_passkey(self) -> None:
        ada = await register(self.client)
        session = await log_in(self.client, ada)
        for challenge in (base64url.encode(marked().encode()), "%%%"):
            made = Key().made(await registration_options(session), challenge=challenge)
            await self.wrong(session, "POST", "/me/passkeys", **made)
        key = await added(session)
        assert (await sign_in(self.client, key.shown(await login_options(self.client)))).status_code == 200
        stolen = key.shown(await login_options(self.client, ada.username), key=Key().private)
        await self.wrong(None, "POST", "/login/passkey", **stolen)
        await self.wrong(session, "POST", "/me/reauthenticate", **stolen)
        await self.right(session, "POST", "/me/reauthenticate", **key.shown(await login_options(self.client)))
        (kept,) = (await self.right(session, "GET", "/me/passkeys"))["items"]
        await self.right(session, "PATCH", f"/me/passkeys/{kept['id']}", name="Ada's key")
        await self.right(session, "DELETE", f"/me/passkeys/{kept['id']}")

    # ---- sign-in by a provider ------------------------------------------------------------------------------------

    async def of_a_sign_in(self, op: OpenIdProvider, github: GitHub, server: Server, web: AsyncClient) -> None:
        browser = Browser(self.client, web)
        octo = github.register(f"{new_name()}@example.org")
        person = op.register(email=f"{new_name()}@example.org", email_verified=True)
        first = await browser.signed_in(op, person)
        await browser.signed_in(github, octo)
        await self.wrong(None, "POST", "/oauth/exchange", code=marked(), code_verifier=secrets.token_urlsafe(32))
        code, verifier = await browser.code(op, person)
        for shown in (secrets.token_urlsafe(32), verifier):
            await self.wrong(None, "POST", "/oauth/exchange", code=code, code_verifier=shown)
        await self._comes_back_wrongly(browser, op, person)

        ada = await log_in(self.client, await register(self.client))
        code, verifier = await browser.code(github, github.register(None))
        await self.right(ada, "POST", "/me/identities", code=code, code_verifier=verifier)
        await self.wrong(ada, "POST", "/me/identities", code=code, code_verifier=verifier)
        (linked,) = (await self.right(ada, "GET", "/me/identities"))["items"]
        await self.right(ada, "DELETE", f"/me/identities/{linked['id']}")
        (only,) = (await self.right(first, "GET", "/me/identities"))["items"]
        await self.wrong(first, "DELETE", f"/me/identities/{only['id']}")
        other = await browser.signed_in(op, op.register())
        (last,) = (await self.right(other, "GET", "/me/identities"))["items"]
        admin = await log_in(self.client, ADMIN)
        await self.right(admin, "DELETE", f"/users/{other.user_id}/identities/{last['id']}")

        authenticator = await enrolled(first)
        due = await browser.sign_in(op, person)
        await second_step(self.client, due.json()["mfa_token"], recovery_code=authenticator.codes[0])
        assert (await self.client.get("/providers")).status_code == 200
        for provider in (op, github):
            for secret in provider.issued:
                if secret.count(".") == 2:
                    self.canaries.keep_jwt("a provider's token", secret)
                else:
                    self.canaries.keep("a provider's code or token", secret)
        for asked in server.requests:
            if asked.method == "POST":
                self.canaries.keep("our verifier for a provider", asked.form["code_verifier"])

    async def _comes_back_wrongly(self, browser: Browser, op: OpenIdProvider, person: str) -> None:
        """With an ID token for somebody else, with what we cannot read, without a cookie, and twice."""
        for browser.accept in ("application/json", HTML):
            op.claims = {"aud": "another-client"}
            answer = await browser.back(await browser.start(op), person)
            assert answer.status_code == 401
            op.claims, op.token_answer = {}, {"id_token": MISSING}
            url = await browser.at_provider(await browser.start(op), person)
            kept = dict(browser.cookies)
            assert (await browser.get(url)).status_code == 503
            op.token_answer, browser.cookies = {}, kept
            assert (await browser.get(url)).status_code == 400
            browser.cookies = {}
            assert (await browser.back(await browser.start(op), person)).status_code == 302
            url = await browser.at_provider(await browser.start(op), person)
            browser.cookies = {}
            assert (await browser.get(url)).status_code == 400

    # ---- administration -------------------------------------------------------------------------------------------

    async def of_who_is_looked_after(self) -> None:
        admin = await log_in(self.client, ADMIN)
        address = f"{new_name()}@example.org"
        invited = (await create(admin, password=None, email=address)).json()
        link = await link_in(self.postbox, address, "reset-password")
        chosen = new_password()
        assert (await use(self.client, "/password/reset", link, new_password=chosen)).status_code == 204
        path = f"/users/{invited['id']}"
        await self.wrong(admin, "PATCH", path, password=too_short())
        assert (await change(admin, invited["id"], password=new_password())).status_code == 200
        await self.right(admin, "POST", f"{path}/password-reset")
        await self.right(admin, "GET", path)
        await self.right(admin, "GET", f"{path}/credentials")
        await self.right(admin, "DELETE", f"{path}/mfa")
        grace = await log_in(self.client, await register(self.client))
        await self.right(admin, "GET", f"/sessions/{grace.user_id}")
        await self.right(admin, "DELETE", f"/sessions/{grace.user_id}/{grace.id}")
        await self.right(admin, "DELETE", f"/sessions/{grace.user_id}")
        await self.of_a_role(admin, path)
        await self.right(admin, "POST", "/sessions/revoke", filter={"user_id": grace.user_id}, dry_run=True)
        await self.right(admin, "DELETE", path)

    async def of_a_role(self, admin: SignedIn, path: str) -> None:
        await self.right(admin, "GET", "/permissions")
        await self.right(admin, "POST", "/roles", name="helper", permissions=["users:read"])
        await self.right(admin, "PATCH", "/roles/helper", description="Helps.")
        await self.right(admin, "PUT", f"{path}/roles", roles=["helper"])
        await self.right(admin, "GET", "/roles")
        await self.right(admin, "DELETE", "/roles/helper")

    async def of_many(self) -> None:
        """By a file; each line of it is good, or is not for its secret alone."""
        admin, ada = await log_in(self.client, ADMIN), await log_in(self.client, await register(self.client))
        bcrypt, scrypt = FOREIGN["passlib, bcrypt 2b"], FOREIGN["Django, scrypt"]
        secrets_ = [{"password": new_password()}, {"password_hash": bcrypt}, {"password_hash": scrypt}]
        wrong = [
            {"password": too_short()},
            {"password_hash": BOMBS[0]},
            {"password": marked(), "password_hash": bcrypt},
        ]
        lines = ndjson(*(new_line(**each) for each in (*secrets_, *wrong)))
        for _ in range(2):
            said = [each["status"] for each in report(await send(admin, lines))]
            assert said[3:] == ["error"] * 3
        assert (await send(ada, lines)).status_code == 403
        assert (await admin.ask("GET", "/users/export")).status_code == 200
        assert (await ada.ask("GET", "/users/export")).status_code == 403

    async def of_one_of_gpustack(self, gpustack: Scripted) -> None:
        admin, new = await log_in(self.client, ADMIN), f"{new_password()}-1"
        ada = Person(await gpustack.add(new_name(), password=new), new_name(), new)
        ada.username = str(gpustack.users[ada.id]["username"])
        await self.right(admin, "POST", "/providers/gpustack/sync")
        session = await log_in(self.client, ada)
        await self.wrong(None, "POST", "/login", username=ada.username, password=new_password())
        await self.right(session, "POST", "/me/reauthenticate", password=ada.password)
        await self.wrong(session, "POST", "/me/reauthenticate", password=new_password())
        await self.wrong(session, "POST", "/me/password", current_password=new, new_password=new_password())
        await gpustack.change(ada.id, is_active=False)
        await self.wrong(None, "POST", "/login", username=ada.username, password=ada.password)
        await self.wrong(session, "POST", "/providers/gpustack/sync")

    # ---- and whatever else there is -------------------------------------------------------------------------------

    async def of_every_route(self, document: dict[str, Any], metrics_token: str) -> None:
        """By its examples, with marks in the place of their secrets; by nobody, anybody, and an administrator."""
        root = await log_in(self.client, ADMIN)
        for path, operations in document["paths"].items():
            for method, said in operations.items():
                ada = await log_in(self.client, await register(self.client))
                admin = await log_in(self.client, await person(root, is_admin=True))
                basic = base64url.encode(f"ada:{marked()}".encode())
                bearers = (marked(), metrics_token, admin.access, ada.access)
                for shown in ("", f"Basic {basic}", *(f"Bearer {each}" for each in bearers)):
                    await self._ask(method, path, said, shown)

    async def _ask(self, method: str, path: str, said: dict[str, Any], shown: str) -> None:
        headers = from_ip() | JSON | {"Cookie": f"{COOKIE}={marked()}; session={marked()}"}
        if shown:
            headers["Authorization"] = shown
        own = {each["name"]: marked() for each in said.get("parameters", []) if each["schema"].get("type") == "string"}
        path = path.format(
            user_id=4849321706,
            session_id=uuid7(),
            passkey_id=uuid7(),
            identity_id=uuid7(),
            provider="sso",
            key="theme",
            name="editor",
        )
        url = self.client.base_url.join(path)
        first, *others = bodies(said)
        for query in ({}, own | {name: marked() for name in SECRET}, {"token": f"{marked()}\0"}):
            await self.client.request(method, url, params=query, headers=headers, content=first)
        for body in others:
            await self.client.request(method, url, headers=headers, content=body)


def bodies(said: dict[str, Any]) -> Iterator[bytes]:
    """Of an operation: its examples, marked, and what cannot be read."""
    content = said.get("requestBody", {}).get("content", {}).get("application/json", {})
    if not content:
        yield b""
        return
    for example in content["examples"].values():
        yield json.dumps(with_marks(example["value"])).encode()
    yield b'{"password": "' + marked().encode()
    yield json.dumps({"password": [marked()], marked(): marked()}).encode()


def with_marks(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: marked() if name in SECRET else with_marks(each) for name, each in value.items()}
