"""Refresh storm: chains of refreshes, several tabs with one token at once, answers that got lost."""

from concurrent.futures import ThreadPoolExecutor

from locust import between, task

from loadtests import verdict
from loadtests.bounds import VIOLATION, Bounds, Share, Time
from loadtests.person import OK, Person, Session, expect

TABS = 4
IN_TABS, AGAIN = "/refresh in tabs", "/refresh again"

verdict.hold_to(
    Bounds(
        failed=Share(0.001, "no refresh is ever refused a client that keeps to its token"),
        refused=Share(0.3, "all sign in at the start, some hashes each, and never again"),
        times=(
            Time("POST /refresh", 250, 600, "a page waits for it; a commit and a signature"),
            Time(f"POST {IN_TABS}", 350, 800, "the tabs wait for one row, and all but the first look once more"),
            Time(f"POST {AGAIN}", 250, 600, "a successor that is there already is only signed"),
            Time("GET /me", 150, 400, "a new token, on any replica: its entry is behind, and has to be read anew"),
        ),
    )
)


class Reader(Person):
    """A person with many tabs and a bad line."""

    wait_time = between(0.05, 0.2)  # seconds

    def on_start(self) -> None:
        self.register()
        self.session = self.sign_in()

    @task(6)
    def renew(self) -> None:
        self._go_on_with(self.refresh(self.session))

    @task(3)
    def renew_in_all_tabs(self) -> None:
        """N parallel refreshes with one token leave exactly one live successor, and all get it."""
        with ThreadPoolExecutor(TABS) as tabs:
            answers = [tabs.submit(self.refresh, self.session, name=IN_TABS) for _ in range(TABS)]
        found = [session for answer in answers if (session := answer.result()) is not None]
        self._same(found, "tabs were given different successors of one token")
        self._go_on_with(found[-1] if found else None)

    @task(2)
    def lose_an_answer(self) -> None:
        """Within the grace the token just replaced is answered with the successor that it has already."""
        found = [self.refresh(self.session), self.refresh(self.session, name=AGAIN)]
        self._same([each for each in found if each is not None], "a lost answer was repeated with another successor")
        self._go_on_with(found[-1])

    def _same(self, found: list[Session], otherwise: str) -> None:
        different = len({each.refresh_token for each in found})
        if different > 1:
            self.environment.events.request.fire(
                request_type="POST",
                name=VIOLATION + otherwise,
                response_time=0,
                response_length=0,
                exception=AssertionError(f"{different} of them"),
                context={},
            )

    def _go_on_with(self, session: Session | None) -> None:
        """Nobody is signed out by a refresh: its token is good at once, everywhere."""
        self.session = session or self.sign_in()
        with self.ask("GET", "/me", self.session) as answer:
            expect(answer, OK)
