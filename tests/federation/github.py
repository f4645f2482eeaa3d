"""GitHub, as far as a sign-in goes: OAuth 2 without an ID token, and an API that says whose a token is."""

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlencode

from app import base64url
from tests.federation.provider import CLIENT_ID, CLIENT_SECRET, Grant, Told, changed
from tests.federation.server import Asked, Reply, json, redirect


@dataclass
class GitHub:
    """An installation of one's own, at the server's root or below a path."""

    issuer: str
    redirect_uri: str
    name: str
    people: dict[str, dict[str, Any]] = field(default_factory=dict)  # `user` and `emails`, by the login
    grants: dict[str, Grant] = field(default_factory=dict)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    issued: list[str] = field(default_factory=list)
    token_answer: dict[str, Any] = field(default_factory=dict)
    back: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)  # by the endpoint: token, user, emails

    def register(self, email: str | None, *, verified: bool = True, **user: Any) -> str:
        """Somebody new, with an address that is his first, and another one."""
        account = {"id": secrets.randbits(31), "login": f"octo-{secrets.token_hex(4)}", "name": "Ada", **user}
        emails = [{"email": f"old-{secrets.token_hex(4)}@example.org", "primary": False, "verified": True}]
        if email is not None:
            emails.append({"email": email, "primary": True, "verified": verified})
        self.people[account["login"]] = {"user": account, "emails": emails}
        return str(account["login"])

    @property
    def prefix(self) -> str:
        return "/" + self.issuer.split("/", 3)[3]

    async def answer(self, asked: Asked) -> Reply:
        name, handle = {
            "login/oauth/authorize": ("authorize", self._authorize),
            "login/oauth/access_token": ("token", self._token),
            "api/v3/user": ("user", self._user),
            "api/v3/user/emails": ("emails", self._emails),
        }[asked.path.removeprefix(self.prefix).strip("/")]
        reply = handle(asked)
        return await self.told[name](asked, reply) if name in self.told else reply

    def _authorize(self, asked: Asked) -> Reply:
        query = asked.query
        assert query["client_id"] == CLIENT_ID
        assert query["redirect_uri"] == self.redirect_uri
        assert query["scope"] == "read:user user:email"
        assert (query["code_challenge_method"], len(query["code_challenge"])) == ("S256", 43)
        code = secrets.token_hex(10)
        self.grants[code] = Grant(self.people[unquote(asked.cookies["person"])], query)
        self.issued.append(code)
        back = changed({"code": code, "state": query["state"]}, self.back)
        return redirect(f"{self.redirect_uri}?{urlencode(back)}")

    def _token(self, asked: Asked) -> Reply:
        """JSON for who asks for it; what is wrong is said with status 200."""
        form = asked.form
        assert asked.headers["accept"] == "application/json"
        if (form["client_id"], form["client_secret"]) != (CLIENT_ID, CLIENT_SECRET):
            return json({"error": "incorrect_client_credentials"})
        grant = self.grants.get(form["code"])
        challenge = base64url.encode(hashlib.sha256(form["code_verifier"].encode()).digest())
        if grant is None or grant.is_spent or grant.query["code_challenge"] != challenge:
            return json({"error": "bad_verification_code", "error_description": "<script>alert(1)</script>"})
        grant.is_spent = True
        token = f"gho_{secrets.token_hex(18)}"
        self.tokens[token] = grant.person
        self.issued.append(token)
        answer = {"access_token": token, "token_type": "bearer", "scope": "read:user,user:email"}
        return json(changed(answer, self.token_answer))

    def _user(self, asked: Asked) -> Reply:
        return self._of_token(asked, "user")

    def _emails(self, asked: Asked) -> Reply:
        return self._of_token(asked, "emails")

    def _of_token(self, asked: Asked, what: str) -> Reply:
        assert asked.headers["user-agent"]  # or GitHub refuses
        person = self.tokens.get(asked.headers.get("authorization", "").removeprefix("Bearer "))
        if person is None:
            return json({"message": "Bad credentials"}, 401)
        said = person[what]
        return json(said[: int(asked.query.get("per_page", "30"))] if isinstance(said, list) else said)
