"""`make record-gpustack`: asks a real GPUStack, and writes the answers that the scripted one is built from."""

import asyncio
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from httpx import AsyncClient, Response

from tests.gpustack.real import Real
from tests.gpustack.upstream import ADMIN_PASSWORD, PASSWORD

KEPT = ("content-type", "set-cookie", "server")
TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z?")


def answer_of(response: Response) -> dict[str, Any]:
    """As it is kept: without a token, and without what is of this minute."""
    text = TIME.sub("2026-11-01T12:00:00.000000Z", response.text)
    headers = {name: value for name, value in response.headers.items() if name in KEPT}
    if "set-cookie" in headers:
        cookie = re.sub(r"gpustack_session=[^;]+", "gpustack_session=<session>", headers["set-cookie"])
        headers["set-cookie"] = re.sub(r"expires=[^;]+", "expires=Sun, 01 Nov 2026 14:00:00 GMT", cookie)
    body = json.loads(text)
    if response.status_code >= 500:
        body["message"] = "..."  # an exception's words, with SQL in it
    return {"status": response.status_code, "headers": headers, "body": body}


async def record(real: Real) -> dict[str, Any]:
    key = {"Authorization": f"Bearer {real.key}"}
    user_id = await real.add("ada", full_name="Ada")
    async with AsyncClient(base_url=real.url, timeout=30) as client:

        async def login(username: str, password: str) -> Response:
            client.cookies.clear()
            return await client.post("/auth/login", data={"username": username, "password": password})

        found = {
            "version": await client.get("/version"),
            "unknown_key": await client.get("/v2/users/me", headers={"Authorization": "Bearer gpustack_none_none"}),
            "wrong_password": await login("admin", "wrong"),
            "unknown_user": await login("nobody", "wrong"),
            "login": await login("admin", ADMIN_PASSWORD),
            "me": await client.get("/v2/users/me"),
        }
        client.cookies.clear()
        found |= {
            "users": await client.get("/v2/users?page=1&perPage=100&sort_by=username", headers=key),
            "user": await client.get(f"/v2/users/{user_id}", headers=key),
            "no_user": await client.get("/v2/users/999999", headers=key),
            "no_route": await client.get("/v2/nothing", headers=key),
        }
        await real.change(user_id, is_active=False)
        found["deactivated"] = await login("ada", PASSWORD)
        async with real.outage("broken"):
            found["database_away"] = await login("ada", PASSWORD)
    return {name: answer_of(each) for name, each in found.items()}


async def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        async with Real(Path(directory)) as real:
            answers = await record(real)
    path = Path(__file__).with_name("recorded.json")
    path.write_text(json.dumps(answers, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
