"""Morning rush: everybody signs in at once, more than the cores can hash. Those who are in must not notice."""

import itertools
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from locust import LoadTestShape, between, events, task
from locust.env import Environment

from loadtests import verdict
from loadtests.bounds import Bounds, Share, Time
from loadtests.person import OK, Person, expect

EARLY = 0.05  # of the people are there before the rush
DAWN_SECONDS = 2.0  # and are alone for so long
RAMP_SECONDS = 4.0  # in which all others arrive
LOOKS = 4  # at a page, before a person leaves and signs in anew
AT_ONCE = 4  # registrations beforehand: a hash each, so no more than are done soon
PERSON, IN = "PERSON", "in at last"  # from the first try to sign in to the one that works

verdict.hold_to(
    Bounds(
        failed=Share(0.001, "who cannot be served is told so, and that is no failure"),
        refused=Share(0.8, "told to wait a second, they are back in one: beyond this the work is to send them away"),
        times=(
            Time(
                "GET /verify", 300, 800, "hashes have threads of lower priority: a rush must not slow those who are in"
            ),
            Time("GET /me", 300, 800, "as /verify"),
            Time("POST /login", 2000, 3000, "1 s may be queued, and a queue that is longer has to refuse"),
            Time(f"{PERSON} {IN}", 12_000, 20_000, "who comes again when told to is in before the coffee is cold"),
        ),
    )
)


class Accounts:
    """Made before the rush, for it is not about registrations."""

    def __init__(self) -> None:
        self.names: list[tuple[str, str]] = []
        self._turns = itertools.count()

    def make(self, environment: Environment, number: int) -> None:
        people = [Commuter(environment) for _ in range(number)]
        with ThreadPoolExecutor(AT_ONCE) as clerks:
            for made in [clerks.submit(person.register) for person in people]:
                made.result()
        self.names = [(person.username, person.password) for person in people]

    def next(self) -> tuple[str, str]:
        return self.names[next(self._turns) % len(self.names)]


accounts = Accounts()


def before_dawn(environment: Environment, **_: Any) -> None:  # noqa: ANN401 - locust's, and more with each release
    if environment.parsed_options is not None and Commuter in environment.user_classes:
        accounts.make(environment, environment.parsed_options.num_users)
        environment.stats.clear_all()
        if environment.shape_class is not None:
            environment.shape_class.reset_time()  # type: ignore[no-untyped-call]  # the rush begins now


verdict.listen(events.test_start, before_dawn)


class Commuter(Person):
    wait_time = between(0.1, 0.5)  # seconds

    @task
    def come(self) -> None:
        started = time.perf_counter()
        session = self.sign_in(*accounts.next())
        self.environment.events.request.fire(
            request_type=PERSON,
            name=IN,
            response_time=(time.perf_counter() - started) * 1000,
            response_length=0,
            exception=None,
            context={},
        )
        for _ in range(LOOKS):
            for path in ("/verify", "/me"):
                with self.ask("GET", path, session) as answer:
                    expect(answer, OK)
            time.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - a look is not a secret


class Morning(LoadTestShape):
    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """How many there are, and how many more a second."""
        if self.runner is None or self.runner.environment.parsed_options is None:
            return None
        options = self.runner.environment.parsed_options
        people: int = options.num_users
        seconds: float = self.get_run_time()  # type: ignore[no-untyped-call]
        if options.run_time and seconds >= options.run_time:
            return None
        if seconds < DAWN_SECONDS:
            return max(1, round(people * EARLY)), people / RAMP_SECONDS
        return people, people / RAMP_SECONDS
