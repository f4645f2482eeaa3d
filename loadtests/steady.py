"""Steady traffic: people who look around, refresh now and then, leave and come back."""

from loadtests import verdict
from loadtests.bounds import Bounds, Share, Time
from loadtests.visitor import Visitor  # noqa: F401 - locust finds it here

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
