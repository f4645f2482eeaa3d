"""Steady traffic: people who look around, refresh now and then, leave and come back."""

from locust import between, task

from loadtests import verdict
from loadtests.bounds import VIOLATION, Bounds, Share, Time
from loadtests.person import NO_CONTENT, OK, UNAUTHORIZED, Person, expect

verdict.hold_to(
    Bounds(
        failed=Share(0.001, "at this pace nothing is short; one in a thousand leaves room for a connection cut off"),
        refused=Share(
            0.05, "people come back one by one, so the queue of hashes is all but empty; not so at the start"
        ),
        times=(
            Time("GET /verify", 100, 250, "it is on the way of every request of a page behind the proxy"),
            Time("GET /me", 100, 250, "a page waits for it; it costs what /verify costs"),
            Time("GET /preferences", 150, 400, "a page waits for it; one statement"),
            Time("POST /refresh", 250, 600, "a page waits for it every 15 minutes; a commit and a signature"),
            Time("POST /login", 1500, 2500, "a hash is 20 ms; 1 s may be queued before a sign-in is refused"),
            Time("POST /logout", 250, 600, "a commit, a deletion, a commit; without the deletion it would be 1.1 s"),
        ),
    )
)


class Visitor(Person):
    """About as many looks as a page makes for each change."""

    wait_time = between(0.05, 0.2)  # seconds

    def on_start(self) -> None:
        self.register()
        self.session = self.sign_in()

    @task(20)
    def verify(self) -> None:
        with self.ask("GET", "/verify", self.session) as answer:
            expect(answer, OK)

    @task(10)
    def look_at_me(self) -> None:
        with self.ask("GET", "/me", self.session) as answer:
            expect(answer, OK)

    @task(4)
    def look_at_preferences(self) -> None:
        with self.ask("GET", "/preferences", self.session) as answer:
            expect(answer, OK)

    @task(1)
    def prefer(self) -> None:
        with self.ask("POST", "/preferences", self.session, {"theme": "dark"}) as answer:
            expect(answer, OK)

    @task(2)
    def renew(self) -> None:
        self.session = self.refresh(self.session) or self.sign_in()

    @task(1)
    def leave_and_come_back(self) -> None:
        with self.ask("POST", "/logout", self.session) as answer:
            expect(answer, NO_CONTENT)
        with self.ask("GET", "/me", self.session, name="/me after logout") as answer:
            if answer.status_code == OK:
                answer.request_meta["name"] = f"{VIOLATION}served after a logout"
            expect(answer, UNAUTHORIZED)
        self.session = self.sign_in()
