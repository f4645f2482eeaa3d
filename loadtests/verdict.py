"""The exit status of a run: what locust has seen, held against the bounds of the scenario."""

import sys
from collections.abc import Callable
from threading import Thread
from typing import Any, NoReturn

from locust import events
from locust.env import Environment
from locust.event import EventHook
from locust.stats import StatsEntry

from loadtests.bounds import Bounds, Seen, judge

HELD, BROKEN = 0, 1
_last: list[str] = []


def listen(hook: EventHook, listener: Callable[..., None]) -> None:
    hook.add_listener(listener)  # type: ignore[no-untyped-call]


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - what a run is for


def _say_the_last(**_: object) -> None:
    if _last:
        say("\n".join(_last))


listen(events.quit, _say_the_last)


def say_last(line: str) -> None:
    """After locust's own tables."""
    _last.append(line)


def refuse(reason: str) -> NoReturn:
    """Before the run begins: it could not find out what it is for."""
    sys.exit(f"loadtests: {reason}")


def give_up(environment: Environment, reason: str) -> None:
    """While the run is under way: what is left of it would say nothing."""
    if environment.process_exit_code is None and environment.runner is not None:
        say_last(f"  BROKEN  given up: {reason}")
        environment.process_exit_code = BROKEN
        environment.stop_timeout = 0  # wait for nobody
        Thread(target=environment.runner.quit).start()


def hold_to(bounds: Bounds) -> None:
    """At the end of the run; by itself locust minds every failure, and no slowness."""

    def conclude(environment: Environment, **_: Any) -> None:  # noqa: ANN401 - locust's, and more with each release
        if environment.process_exit_code is not None or environment.web_ui is not None:
            return  # given up, or tried by hand: the figures mean nothing
        entries = environment.stats.entries.values()
        findings = judge([_seen(entry) for entry in entries], bounds)
        for finding in findings:
            say_last(str(finding))
        broken = not all(finding.holds for finding in findings)
        if environment.runner is None or environment.runner.exceptions:
            say_last("  BROKEN  a scenario raised an exception: see the report")
            broken = True
        environment.process_exit_code = BROKEN if broken else HELD

    listen(events.quitting, conclude)


def _seen(entry: StatsEntry) -> Seen:
    return Seen(
        entry.method or "",
        entry.name,
        entry.num_requests,
        entry.num_failures,
        entry.get_response_time_percentile(0.95),
        entry.get_response_time_percentile(0.99),
    )
