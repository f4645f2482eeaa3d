"""Rules and dashboard go by metrics that there are, and whoever is woken finds what to do."""

import re
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.main import at_the_edge, create_app
from app.settings import Settings
from tests.deploy.files import DEPLOY, ROOT, RULES_OF_KUBERNETES, alerts, dashboard, rules
from tests.deploy.queries import metrics, queries
from tests.deploy.rules import as_kubernetes_has_them
from tests.health.kit import URL
from tests.replica import http

MADE_OF = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
RUNBOOK = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")


async def served(settings: Settings) -> set[str]:
    """The names of all samples that `/metrics` may ever have: it names each kind before there is one."""
    async with http(at_the_edge(create_app(settings))) as client:
        answer = await client.get(URL)
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {
        family.name + ending
        for family in families
        if not family.name.endswith("_created")  # which several workers together do not have
        for ending in MADE_OF[family.type]
    }


async def test_rules_and_panels_go_by_metrics_that_are_served(settings: Settings) -> None:
    there = await served(replace(settings, metrics_token="off", gpustack_url="https://gpustack.example.test"))
    recorded = {rule["record"] for rule in rules() if "record" in rule}

    asked = {name for query in queries() for name in metrics(query.expression)}

    assert asked - there - recorded == set()
    assert len(asked & there) > 15  # or nothing was found in the queries


async def test_every_metric_has_its_place_on_the_dashboard_or_in_a_rule(settings: Settings) -> None:
    there = await served(replace(settings, metrics_token="off", gpustack_url="https://gpustack.example.test"))

    asked = {name for query in queries() for name in metrics(query.expression)}

    assert {name for name in there - asked if not name.endswith(("_sum", "_count"))} == set()


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_who_is_woken_by_an_alert_finds_what_to_do(alert: dict[str, dict[str, str]]) -> None:
    name = alert["alert"]

    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert {"summary", "description"} <= set(alert["annotations"])
    assert alert["annotations"]["runbook_url"].endswith(f"/runbook#{str(name).lower()}")
    assert f"\n## {name}\n" in RUNBOOK


def test_there_is_no_runbook_for_what_never_fires() -> None:
    assert set(re.findall(r"^## (Gatehouse\w+)$", RUNBOOK, re.MULTILINE)) == {each["alert"] for each in alerts()}


def test_every_alert_is_fired_by_the_tests_of_the_rules() -> None:
    tests = (DEPLOY / "prometheus/rules_test.yml").read_text(encoding="utf-8")

    for alert in alerts():
        assert f'alertname="{alert["alert"]}", alertstate="firing"' in tests, alert["alert"]


def test_kubernetes_has_the_same_rules() -> None:
    assert RULES_OF_KUBERNETES.read_text(encoding="utf-8") == as_kubernetes_has_them(), "run: make rules"


def test_the_panels_lie_side_by_side() -> None:
    panels = dashboard()["panels"]
    covered = [
        (panel["gridPos"]["x"] + column, panel["gridPos"]["y"] + line)
        for panel in panels
        for column in range(panel["gridPos"]["w"])
        for line in range(panel["gridPos"]["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(covered)) == len(covered)
    assert max(column for column, _ in covered) == 23  # Grafana's grid has 24 columns
