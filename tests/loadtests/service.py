"""Just enough of a service, at two addresses: replicas that hear of each other's changes, or do not."""

import itertools
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.kit import BASE

ADMIN_ID, PERSON_ID = 1, 2
READ = {"/me", "/verify", "/preferences", f"/sessions/{PERSON_ID}"}
Answer = tuple[int, dict[str, Any]]


class Replicas:
    """What is true of sessions, and what each of two replicas knows of it. A token is `session/generation`."""

    def __init__(self, *, hear: bool, drops: int | None = None) -> None:
        self.ended: tuple[set[str], set[str]] = (set(), set())
        self.risen = [False, False]  # whether the person is an administrator as well
        self._hear = hear
        self._until_drop = itertools.count(-(drops or 0))
        self._names: dict[str, str] = {}  # by session
        self._owners: dict[str, int] = {}
        self._generations: dict[str, int] = {}
        self._passwords: dict[str, str] = {}

    def register(self, body: dict[str, Any]) -> Answer:
        self._passwords[body["username"]] = body["password"]
        return 201, {"id": PERSON_ID}

    def change_password(self, body: dict[str, Any]) -> None:
        """Of whoever has it: nobody else has the same."""
        for username, password in self._passwords.items():
            if password == body["current_password"]:
                self._passwords[username] = body["new_password"]

    def log_in(self, body: dict[str, Any]) -> Answer:
        """Anybody is the administrator; a wrong password is judged however often it comes."""
        if body["username"] != "admin" and self._passwords.get(body["username"]) != body["password"]:
            return 401, {"code": "invalid_credentials"}
        session = secrets.token_hex(8)
        self._generations[session] = 0
        self._names[session] = body["username"]
        self._owners[session] = ADMIN_ID if body["username"] == "admin" else PERSON_ID
        return 200, self._tokens(session)

    def refresh(self, body: dict[str, Any], at: int) -> Answer:
        session, _, generation = body["refresh_token"].partition("/")
        if session in self.ended[at]:
            return 401, {"code": "invalid_refresh_token"}
        if int(generation) + 1 < self._generations[session]:
            self.end({session}, at)
            return 401, {"code": "refresh_token_reused"}
        self._generations[session] = int(generation) + 1
        return 200, self._tokens(session)

    def end(self, sessions: set[str], at: int) -> None:
        for number, ended in enumerate(self.ended):
            if self._hear or number == at:
                ended.update(sessions)

    def appoint(self, at: int, *, is_admin: bool) -> None:
        """Of a promotion all hear."""
        for number in range(len(self.risen)):
            if self._hear or is_admin or number == at:
                self.risen[number] = is_admin

    def others(self, session: str) -> set[str]:
        """The other sessions of the only person there is."""
        return {each for each, owner in list(self._owners.items()) if owner == PERSON_ID and each != session}

    def shown(self, session: str) -> dict[str, Any]:
        return {"id": PERSON_ID, "username": self._names.get(session)}

    def drops(self, path: str) -> bool:
        """Whether this is the request of `/verify` that gets no answer."""
        return path.endswith("/verify") and next(self._until_drop) == -1

    def _tokens(self, session: str) -> dict[str, Any]:
        token = f"{session}/{self._generations[session]}"
        user = {"id": self._owners[session]}
        return {
            "access_token": token,
            "refresh_token": token,
            "expires_in": 900,
            "session_id": session,
            "user": user,
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    replicas: Replicas
    number: int

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.replicas.drops(self.path):
            self.close_connection = True
            return
        status, answer = self._answer(self.path.removeprefix(BASE), json.loads(body or b"{}"))
        content = json.dumps(answer).encode() if status != 204 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - names that http.server looks for

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def _answer(self, path: str, body: dict[str, Any]) -> Answer:
        if path == "/health/ready":
            return 200, {}
        if path == "/register":
            return self.replicas.register(body)
        if path == "/login":
            return self.replicas.log_in(body)
        if path == "/refresh":
            return self.replicas.refresh(body, self.number)
        if path == "/me/password":
            self.replicas.change_password(body)
        if path == f"/users/{PERSON_ID}":
            self.replicas.appoint(self.number, is_admin=body["is_admin"])
            return 200, {}
        return self._answer_session(path, self.headers["Authorization"].removeprefix("Bearer ").partition("/")[0])

    def _answer_session(self, path: str, session: str) -> Answer:
        if session in self.replicas.ended[self.number]:
            return 401, {"code": "session_revoked"}
        if "?require=" in path and not self.replicas.risen[self.number]:
            return 403, {"code": "forbidden"}
        path = path.partition("?")[0]
        ending = {
            "/logout": {session},
            "/logout/all": {session, *self.replicas.others(session)},
            "/me/password": self.replicas.others(session),
            f"/sessions/{PERSON_ID}": self.replicas.others(session),
        }.get(path, {path.rpartition("/")[2]} if path.startswith("/sessions/") else set())
        self.replicas.end(ending, self.number)
        return (200, self.replicas.shown(session)) if path in READ else (204, {})


@contextmanager
def serving(*, hear: bool, drops: int | None = None) -> Iterator[str]:
    """The addresses of both, with a comma. Of all `/verify` they leave this one without an answer."""
    replicas = Replicas(hear=hear, drops=drops)
    handlers = [type("Numbered", (Handler,), {"replicas": replicas, "number": number}) for number in range(2)]
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for handler in handlers]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield ",".join(f"http://127.0.0.1:{server.server_port}" for server in servers)
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
