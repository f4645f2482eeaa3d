"""What rules and panels ask Prometheus for."""

import re
from collections.abc import Iterator

from msgspec import Struct

from tests.deploy.files import dashboard, rules
from tests.health.kit import Samples

METRIC = re.compile(r"\b(?:auth_|http_|process_|gatehouse:)[a-z_0-9:]+")
SELECTOR = re.compile(rf"({METRIC.pattern})(?:\{{([^}}]*)\}})?")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
BY = re.compile(r"\bby \(([^)]*)\)")
SCRAPED_WITH = {"instance", "job"}  # labels that Prometheus adds


class Query(Struct, frozen=True):
    expression: str
    labels: frozenset[str]  # that it groups by, or that its legend shows


def queries() -> Iterator[Query]:
    for rule in rules():
        yield Query(rule["expr"], _grouped(rule["expr"]))
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            shown = re.findall(r"{{(\w+)}}", target["legendFormat"])
            yield Query(target["expr"], _grouped(target["expr"]) | frozenset(shown))


def metrics(expression: str) -> set[str]:
    """By their names; those of recorded rules are such names, too."""
    return set(METRIC.findall(BY.sub("", expression)))


def lacking(query: Query, found: Samples) -> list[str]:
    """What the query asks for, and a scrape does not have."""
    known: set[str] = set()
    lacks = []
    for name, matchers in SELECTOR.findall(BY.sub("", query.expression)):
        sources = metrics(_recorded()[name]) if name in _recorded() else {name}
        series = [dict(labels) for each, labels in found if each in sources]
        known |= {label for labels in series for label in labels}
        if not any(_fits(labels, matchers) for labels in series):
            lacks.append(f"{name}{{{matchers}}}")
    return lacks + sorted(query.labels - known - SCRAPED_WITH if known else ())


def _grouped(expression: str) -> frozenset[str]:
    return frozenset(label.strip() for labels in BY.findall(expression) for label in labels.split(","))


def _recorded() -> dict[str, str]:
    return {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def _fits(labels: dict[str, str], matchers: str) -> bool:
    for name, operator, value in MATCHER.findall(matchers):
        if name in SCRAPED_WITH:
            continue
        matches = name in labels and bool(
            re.fullmatch(value, labels[name]) if "~" in operator else labels[name] == value
        )
        if matches == operator.startswith("!"):
            return False
    return True
