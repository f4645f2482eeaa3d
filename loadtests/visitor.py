"""Somebody who looks around."""

from locust import between, task

from loadtests.bounds import VIOLATION
from loadtests.person import NO_CONTENT, OK, UNAUTHORIZED, Person, expect


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
