"""Requests that the served document describes, and such as it forbids, made by schemathesis and judged by the document.

Beside what schemathesis checks: every status and every code of a problem has to be documented for its operation, and
what is accepted has to have been allowed.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import Any
from unittest import SkipTest

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from openapi_schema_validator import OAS31Validator
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import AcceptedNegativeData, Failure, FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.generation.meta import REQUEST_SHAPE_PROBES, coverage_scenario
from schemathesis.openapi.checks import UnsupportedMethodResponse
from schemathesis.specs.openapi import checks

from tests.errors.kit import answered
from tests.fuzz.house import Guest, House
from tests.fuzz.memory import Memory
from tests.kit import from_ip

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
]
CONFIG = {"checks": {"negative_data_rejection": {"expected-statuses": ["4xx"]}}}
# What `default` of an operation stands for: an address that cannot be read, another method, headers too large
ANYWHERE = ("400", "405", "431")
A_DRAW = 10  # cases of an operation in a row, in a long run; two in a short one
LONG = 2000  # cases
REMEMBERED = 0.7  # of what can be named again is
UNKNOWN_FIELD = 0.05  # of the bodies have one field more
ENDED = {
    "not_authenticated",
    "invalid_token",
    "session_revoked",
    "password_change_required",
    "reauthentication_required",
}
INSIDE = re.compile(r"Traceback|asyncpg|sqlalchemy|syntax error|relation \"|SELECT .* FROM|\.py\b", re.IGNORECASE)
LAST_WORDS = ("/me", "/me/password", "/password/reset", "/password/not-me", "/logout", "/logout/all")
ROLES = ("user", "admin")
LINES = ("application/x-ndjson", "application/jsonl")  # a body is one line here; its own answer is in the report
BODY, PATH, QUERY = ParameterLocation.BODY, ParameterLocation.PATH, ParameterLocation.QUERY


@schemathesis.serializer(*LINES)
def one_line(_: schemathesis.SerializationContext, value: Any) -> bytes:
    return json.dumps(value).encode()


@dataclass(frozen=True)
class Finding:
    """What is wrong, and how to see it again."""

    operation: str
    what: str
    status: int
    said: str
    request: str

    def __str__(self) -> str:
        return f"{self.operation}: {self.what} ({self.status})\n    {self.said}\n    {self.request}"


@dataclass
class Report:
    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    reached: set[str] = field(default_factory=set)  # operations that were done, not just refused
    findings: dict[tuple[str, str, int], Finding] = field(default_factory=dict)

    def find(self, finding: Finding) -> None:
        self.findings.setdefault((finding.operation, finding.what, finding.status), finding)


class Fuzzer:
    """Asks as a user and as an administrator, who come back as somebody else when they have ended themselves."""

    def __init__(self, house: House, number: int) -> None:
        self._house = house
        self._chance = random.Random(number)
        self._session = requests.Session()
        self._guests: dict[str, Guest] = {}
        self.memory = Memory(house, self._chance)
        self.report = Report()
        self.document = self._served()
        self._schema = schemathesis.openapi.from_dict(
            json.loads(json.dumps(self.document)), config=schemathesis.Config.from_dict(CONFIG)
        )
        self.operations: list[Any] = [
            found.ok() for found in self._schema.get_all_operations() if isinstance(found, Ok)
        ]
        assert len(self.operations) == sum(map(len, self.document["paths"].values()))

    def _served(self) -> dict[str, Any]:
        """The document, where `default` is written out: else it would allow every status."""
        document: dict[str, Any] = httpx.get(f"{self._house.root}/openapi.json").json()
        for operations in document["paths"].values():
            for operation in operations.values():
                other = operation["responses"].pop("default")
                operation["responses"] = {**dict.fromkeys(ANYWHERE, other), **operation["responses"]}
        return document

    def run(self, number: int) -> Report:
        """So many cases: up to a half of them at the bounds of every field, the rest by chance."""
        for role, case in islice(self._corners(len(ROLES) if number >= LONG else 1), number // 2):
            self._send(case, role)
        while self.report.cases < number:
            for operation in self._chance.sample(self.operations, len(self.operations)):
                for mode in GenerationMode:
                    for role in ROLES:
                        in_a_row = min(A_DRAW if number >= LONG else 2, number - self.report.cases)
                        if in_a_row:
                            self._draw(operation, mode, in_a_row, role)
        self._session.close()
        return self.report

    def _corners(self, roles: int) -> Iterator[tuple[str, Any]]:
        """In rounds: one of each operation by so many roles, then the next one of each."""
        rows = []
        for operation in self.operations:
            for role in self._chance.sample(ROLES, roles):
                cases = self._schema.iter_coverage_cases(
                    operation,
                    generation_modes=list(GenerationMode),
                    generation_config=self._schema.config.generation_for(operation=operation),
                )
                rows.append([(role, case) for case in cases])
                self._chance.shuffle(rows[-1])
                self._schema.coverage_unexpected_methods_seen.clear()  # or the next role would ask none of them
        self._chance.shuffle(rows)
        for round_ in zip_longest(*rows):
            yield from (each for each in round_ if each is not None)

    def _draw(self, operation: Any, mode: GenerationMode, number: int, role: str) -> None:
        @seed(self._chance.getrandbits(64))
        @settings(
            max_examples=number,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            self._send(case, role)

        try:
            send()
        except (SkipTest, Unsatisfiable):  # nothing of this operation can be wrong, as it takes nothing
            if mode is GenerationMode.POSITIVE:
                raise

    # ---- one case ----------------------------------------------------------------------------------------------------

    def _send(self, case: Any, role: str) -> None:
        guest = self._guest(role)
        self._fill(case, guest)
        answer = self._ask(case, guest)
        if _code(answer) in ENDED:
            answer = self._ask(case, self._guest(role, anew=True))
        self.report.cases += 1
        self.report.statuses[answer.status_code] += 1
        self._judge(case, answer)
        if answer.ok:
            self.report.reached.add(case.operation.label)
            if "/json" in answer.headers.get("content-type", ""):
                self.memory.learn(answer.json())
            if case.method != "GET" and case.path.endswith(LAST_WORDS):
                self._guests.pop(role, None)

    def _ask(self, case: Any, guest: Guest) -> requests.Response:
        arguments = case.as_transport_kwargs(base_url=self._house.root, headers={**from_ip(), **guest.bearer})
        return self._session.request(**arguments, timeout=30, allow_redirects=False)

    def _guest(self, role: str, *, anew: bool = False) -> Guest:
        if anew or role not in self._guests:
            made = self._house.user() if role == "user" else self._house.signed_in(*self._house.new_admin())
            self.memory.learn(made.body)
            self._guests[role] = made
        return self._guests[role]

    def _fill(self, case: Any, guest: Guest) -> None:
        """Names what there is, where nothing wrong was put on purpose."""
        places = [(PATH, case.path_parameters), (QUERY, case.query), (BODY, case.body)]
        for location, values in places:
            if isinstance(values, dict) and not case.meta.is_negative_at(location):
                for name in values:
                    if self._chance.random() < REMEMBERED:
                        found = self.memory.recall(case.path, name, guest)
                        values[name] = values[name] if found is None else found
        if isinstance(case.body, dict) and self._chance.random() < UNKNOWN_FIELD:
            case.body["no_such_field"] = "x"

    # ---- its answer --------------------------------------------------------------------------------------------------

    def _judge(self, case: Any, answer: requests.Response) -> None:
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                if not _meant(case, failure):
                    self._find(case, answer, failure.title, failure.message)
        for what, said in self._faults(case, answer):
            self._find(case, answer, what, said)

    def _faults(self, case: Any, answer: requests.Response) -> Iterator[tuple[str, str]]:
        if found := INSIDE.search(answer.text) if answer.status_code >= 400 else None:
            yield "says what is inside", found[0]
        if answer.status_code < 500 and answer.request.method != "HEAD":
            headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-encoding"}
            try:
                answered(httpx.Response(answer.status_code, headers=headers, content=answer.content))
            except AssertionError as error:
                yield "is no answer as they should be", str(error)
        if coverage_scenario(case) in REQUEST_SHAPE_PROBES:
            return
        said = self.document["paths"][case.path][case.operation.method.lower()]
        known = said["responses"].get(str(answer.status_code), {}).get("content", {})
        codes = known.get("application/problem+json", {}).get("examples", {})
        if (code := _code(answer)) and code not in codes and str(answer.status_code) not in ANYWHERE:
            yield "an undocumented code", code
        refused = case.media_type in LINES and '"status":"error"' in answer.text
        if answer.ok and not refused and isinstance(case.body, dict | list | str | int | float | bool | None):
            content = said.get("requestBody", {}).get("content", {}).get(case.media_type)
            for broken in self._forbidden(case.body, content["schema"]) if content else ():
                yield "accepted what the document forbids", broken

    def _forbidden(self, body: Any, schema: dict[str, Any]) -> list[str]:
        validator = OAS31Validator({**schema, "components": self.document["components"]})
        return [f"{error.json_path}: {error.message}"[:200] for error in validator.iter_errors(body)]

    def _find(self, case: Any, answer: requests.Response, what: str, said: str) -> None:
        sent = answer.request
        request = f"{sent.method} {sent.url} {str(sent.body)[:500]} -> {answer.text[:300]}"
        self.report.find(Finding(case.operation.label, what, answer.status_code, said[:500], request))


def _meant(case: Any, failure: Failure) -> bool:
    """What the document cannot say, and is so on purpose."""
    if isinstance(failure, UnsupportedMethodResponse):
        return str(case.path).endswith("/verify")  # answers to every method: a proxy may pass on that of its client
    if isinstance(failure, AcceptedNegativeData):
        # of several parameters of a name Litestar takes the last, and `null` for none at all
        values = [value[-1] if isinstance(value, list) and value else value for value in case.query.values()]
        if case.media_type in LINES:
            return True
        return not case.meta.is_negative_at(BODY) and any(value in (None, "null") for value in values)
    return False


def _code(answer: requests.Response) -> str:
    if answer.headers.get("content-type") == "application/problem+json" and answer.content:
        return str(answer.json()["code"])
    return ""
