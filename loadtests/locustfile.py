"""Steady traffic: people who sign in, look around, refresh and leave. Imports nothing of the service.

    locust -f loadtests/locustfile.py --host http://localhost:8000 --headless -u 50 -r 10 -t 60s

The service has to trust the address that the load comes from (TRUSTED_PROXIES=127.0.0.1): each person has an address of
its own, so that the limits count as they would with real ones.
"""

import itertools
import secrets
from typing import Any

from locust import FastHttpUser, between, task

BASE = "/api/auth/v2"
_numbers = itertools.count(secrets.randbelow(1 << 20))


class Person(FastHttpUser):
    """One person at a front end; about as many looks as a page makes for each change."""

    wait_time = between(0.05, 0.2)  # seconds

    def on_start(self) -> None:
        number = next(_numbers)
        self.forwarded = {"X-Forwarded-For": f"100.{64 + (number >> 16) % 64}.{(number >> 8) & 255}.{number & 255}"}
        self.credentials = {
            "username": f"load-{secrets.token_hex(6)}",
            "password": f"{secrets.token_urlsafe(12)}-Zebra",
        }
        self.post("/register", self.credentials)
        self.sign_in()

    def sign_in(self) -> None:
        self.tokens = self.post("/login", self.credentials)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        with self.client.post(BASE + path, json=body, headers=self.forwarded, catch_response=True) as answer:
            found: dict[str, Any] = answer.json() or {}
            return found

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens.get('access_token', '')}"}

    @task(20)
    def verify(self) -> None:
        self.client.get(f"{BASE}/verify", headers=self.bearer)

    @task(10)
    def me(self) -> None:
        self.client.get(f"{BASE}/me", headers=self.bearer)

    @task(4)
    def preferences(self) -> None:
        self.client.get(f"{BASE}/preferences", headers=self.bearer)

    @task(1)
    def prefer(self) -> None:
        self.client.post(f"{BASE}/preferences", json={"theme": "dark"}, headers=self.bearer)

    @task(2)
    def refresh(self) -> None:
        self.tokens = self.post("/refresh", {"refresh_token": self.tokens.get("refresh_token", "")}) or self.tokens

    @task(1)
    def leave_and_come_back(self) -> None:
        """An access token that is served after its logout is a failure of the run."""
        before = self.bearer
        self.client.post(f"{BASE}/logout", headers=before)
        with self.client.get(
            f"{BASE}/me", headers=before, name=f"{BASE}/me after logout", catch_response=True
        ) as answer:
            if answer.status_code == 401:  # noqa: PLR2004 - refused, as it has to be
                answer.success()
            else:
                answer.failure(f"a token was served after its logout: {answer.status_code}")
        self.sign_in()
