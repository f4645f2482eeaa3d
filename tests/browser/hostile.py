"""People who put into every field what would run, were it not for the pages; and names that no layout expects."""

from dataclasses import replace
from typing import Any

from tests.browser.console_pages import USER
from tests.browser.scene import PASSWORD, ROOT, Scene, guard
from tests.kit import Person, SignedIn, from_ip, log_in, new_password

PRODUCT = "982007569"  # of 31337 by itself: what a template would make of it
RUN = "window.__xss=1"
# Three in one, each below the shortest field's bound of 100 characters.
TEXTS = {
    "tags": (
        f'"><script>{RUN}</script>',
        f"</title></textarea><svg/onload={RUN}>",
        f"<img src=x onerror={RUN}>",
    ),
    "attributes": (
        f"' onfocus={RUN} autofocus x='",
        f'" onpointerenter="{RUN}" style="position:fixed;inset:0',
        f"javascript:{RUN}//",
    ),
    "templates": (
        "{{31337*31337}}${31337*31337}<%=31337*31337%>{%raw%}",
        "%(name)s %s %n %%",
        "#{31337*31337} \\u003cscript\\u003e &lt;b&gt; &#60;i&#62;",
    ),
    "wide": ("W" * 90, "\u202eevil\u202c \u2066x\u2069 e" + "\u0301" * 20, "\N{CUNEIFORM SIGN AN}-" * 40),
}
MAILS = {
    "tags": "'/onload='x{0}'+a@example.org",
    "attributes": "{{{{7*7}}}}{0}@example.org",
    "templates": "%s${{7*7}}{0}@example.org",
    "wide": "w{0}" + "w" * 58 + "@" + ".".join(["w" * 60] * 3) + ".org",
}


async def hostile(scene: Scene) -> dict[str, Scene]:
    """The scene with one of each kind in its middle; what a field does not take is left out, and has been tried."""
    root = await log_in(scene.api, ROOT)
    scenes = {}
    for number, (kind, texts) in enumerate(TEXTS.items()):
        email = MAILS[kind].format(number)
        fields: dict[str, Any] = {"username": f"{kind}-{'x' * 20}", "full_name": texts[0], "email": email}
        found = await _sent(root, "POST", "/users", {"password": PASSWORD, "must_change_password": False, **fields})
        person = Person(found["id"], fields["username"], PASSWORD, email)
        for name in texts:
            agent = name.encode("ascii", "replace").decode()
            headers = {**from_ip(), "User-Agent": agent, "X-Request-ID": "x"}
            body = {"username": person.username, "password": PASSWORD, "device_name": name}
            answer = await scene.api.post("/login", json=body, headers=headers)
            if answer.status_code == 422:  # what does not print has no place in it
                answer = await scene.api.post("/login", json={**body, "device_name": None}, headers=headers)
            assert answer.status_code == 200, answer.text
            wrong = {"username": name[:255], "password": new_password()}
            assert (await scene.api.post("/login", json=wrong, headers=headers)).status_code in {401, 422}
        await _of_his_own(SignedIn(scene.api, answer.json()), texts)
        await _of_the_administrator(root, person, kind, texts)
        await guard(scene, person, (texts[0], texts[1]))
        own = {**scene.values, "role": kind, "name": kind}
        scenes[kind] = replace(scene, people={**scene.people, USER: person}, values=own)
    return scenes


async def _of_his_own(session: SignedIn, texts: tuple[str, ...]) -> None:
    values = {"default_model": texts[0], "app.title": texts[1], "app.list": {texts[2]: [texts[0]]}}
    answer = await session.ask("POST", "/preferences", json=values)
    assert answer.status_code == 200, answer.text


async def _of_the_administrator(root: SignedIn, person: Person, kind: str, texts: tuple[str, ...]) -> None:
    role = {"name": kind, "description": " ".join(texts)[:200], "permissions": ["users:read"]}
    await _sent(root, "POST", "/roles", role)
    for change in (
        {"full_name": texts[1]},
        {"full_name": " ".join(texts)[:200]},
        {"roles": [kind]},
        {"is_active": False, "reason": " ".join(texts)[:200]},
        {"is_active": True, "reason": texts[2]},
    ):
        await _sent(root, "PATCH", f"/users/{person.id}", change)


async def _sent(session: SignedIn, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to what a field takes of it."""
    answer = await session.ask(method, path, json=body)
    if answer.status_code == 422:
        wrong = {each["field"] for each in answer.json()["errors"]}
        answer = await session.ask(method, path, json={name: body[name] for name in body if name not in wrong})
    assert answer.is_success, (body, answer.text)
    found: dict[str, Any] = answer.json()
    return found
