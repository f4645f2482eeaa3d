"""The metrics as a scraper reads them."""

from httpx import AsyncClient
from prometheus_client.parser import text_string_to_metric_families

from app.metrics import Metrics

URL = "https://auth.example.test/metrics"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def told(metrics: Metrics) -> Samples:
    """The same of one that nobody serves."""
    metrics.sample()
    return samples(metrics.text().decode())


def value(found: Samples, name: str, **labels: str) -> float:
    return found.get((name, tuple(sorted(labels.items()))), 0.0)


async def scraped(client: AsyncClient, url: str = URL, token: str = "metrics-token-of-the-tests") -> Samples:
    answer = await client.get(url, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return samples(answer.text)
