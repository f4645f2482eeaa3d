"""What a kubelet does with the probes of a deployment: asks at intervals, counts, concludes."""

import asyncio
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml
from httpx import AsyncClient, HTTPError, Timeout

from app.background import end
from tests.deploy.files import KUBERNETES, Document


def rendered(kind: str, name: str) -> Document:
    """As the overlay for production has it; a ConfigMap by the name that it has without its digest."""
    tool = shutil.which("kubectl", path=Path(sys.executable).parent) or shutil.which("kubectl")
    assert tool is not None, "kubectl is needed: it comes with requirements/deploy.txt"
    command: list[str | Path] = [tool, "kustomize", KUBERNETES / "overlays/production"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    documents = [each for each in yaml.safe_load_all(text) if each["kind"] == kind]
    [found] = [each for each in documents if each["metadata"]["name"].startswith(name)]
    return dict(found)


@dataclass
class Probe:
    path: str
    period: float  # seconds
    timeout: float  # seconds; an answer that takes longer is none
    failures: int  # in a row, until it counts
    answers: list[tuple[float, int]] = field(default_factory=list)  # on the loop's clock, and the status; 0: none
    up: bool = False  # what the kubelet takes it for

    @classmethod
    def of(cls, document: Document) -> "Probe":
        assert "exec" not in document
        assert document.get("successThreshold", 1) == 1
        return cls(
            document["httpGet"]["path"],
            document.get("periodSeconds", 10),
            document.get("timeoutSeconds", 1),
            document.get("failureThreshold", 3),
        )

    @property
    def down_within(self) -> float:
        """Seconds from a fault to the conclusion, at most: it comes just after an answer, and the last one is late."""
        return self.failures * self.period + self.timeout

    async def ask(self, port: int) -> int:
        """A connection for each, as a kubelet does; redirects are not followed."""
        try:
            async with AsyncClient(timeout=Timeout(self.timeout)) as client, asyncio.timeout(self.timeout):
                status = (await client.get(f"http://127.0.0.1:{port}{self.path}")).status_code
        except (HTTPError, TimeoutError):
            status = 0
        self.answers.append((asyncio.get_running_loop().time(), status))
        in_a_row = [200 <= each < 400 for _, each in self.answers[-self.failures :]]
        if in_a_row[-1]:
            self.up = True
        elif not any(in_a_row) and len(in_a_row) == self.failures:
            self.up = False
        return status


class Kubelet:
    """Asks readiness and liveness for as long as it is open; the startup probe has succeeded, then."""

    def __init__(self, port: int) -> None:
        spec = rendered("Deployment", "gatehouse")["spec"]["template"]["spec"]
        [container] = spec["containers"]
        self.port = port
        self.startup = Probe.of(container["startupProbe"])
        self.ready = Probe.of(container["readinessProbe"])
        self.live = Probe.of(container["livenessProbe"])
        self.grace = float(spec["terminationGracePeriodSeconds"])
        self._asking: list[asyncio.Task[None]] = []

    async def started(self) -> None:
        async with asyncio.timeout(self.startup.period * self.startup.failures):
            while await self.startup.ask(self.port) != 200:
                await asyncio.sleep(self.startup.period)

    async def __aenter__(self) -> Self:
        await self.started()
        for probe in (self.ready, self.live):
            await probe.ask(self.port)
            assert probe.up
            self._asking.append(asyncio.create_task(self._go_on(probe)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await end(*self._asking)

    async def _go_on(self, probe: Probe) -> None:
        """At every tick; one that comes while an answer is waited for is none."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            await asyncio.sleep(probe.period - (loop.time() - began) % probe.period)
            await probe.ask(self.port)
