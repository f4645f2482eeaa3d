"""Requests of clients, each written down with its begin, its end and what came of it."""

import base64
import hashlib
import itertools
import json
import time
from collections.abc import Mapping
from typing import Any

from tests.faults.cluster import Cluster
from tests.faults.history import History, Operation
from tests.faults.wire import PATIENCE_SECONDS, NoAnswer, ask


class Recorder:
    """Sends operations to a replica and keeps the history. One line of it is one call here."""

    def __init__(self, cluster: Cluster, history: History) -> None:
        self.history = history
        self.cluster = cluster
        self._numbers = itertools.count(1)

    async def do(
        self,
        kind: str,
        replica: int,
        method: str,
        path: str,
        *,
        body: object = None,
        token: str | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        **about: Any,
    ) -> Operation:
        """One operation. `about` are the fields of its record."""
        operation = Operation(next(self._numbers), kind, replica, time.monotonic(), **about)
        self.history.operations.append(operation)
        headers = {"X-Request-ID": operation.request_id}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            port = self.cluster.replicas[replica].port
            answer = await ask(port, method, path, headers=headers, body=body, timeout_seconds=patience_seconds)
        except NoAnswer:
            return operation
        operation.ended = time.monotonic()
        operation.status = answer.status
        if isinstance(answer.body, Mapping):
            operation.code = str(answer.body.get("code", ""))
        operation.answer |= _noted(operation, answer.body)
        operation.body = answer.body
        return operation


def _noted(operation: Operation, body: Any) -> dict[str, Any]:
    """What the checker will look at."""
    if operation.kind == "preference":
        return {"value": body if operation.ok else None}
    if not operation.ok or not isinstance(body, Mapping):
        return {}
    if operation.kind in ("login", "refresh"):
        return {
            "session": body["session_id"],
            "generation": generation(body["access_token"]),
            "token": digest(body["refresh_token"]),
        }
    if operation.kind == "me":
        return {"full_name": body["full_name"], "is_admin": body["is_admin"]}
    return {}


def generation(access_token: str) -> int:
    """How many refreshes an access token's session had when it was made: the end of its `jti`."""
    payload = access_token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return int(claims["jti"].rpartition(".")[2])


def digest(token: str) -> str:
    """A token's name in a history: two that differ have different ones, and it opens nothing."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]
