"""What stands in deploy/, read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
RULES = DEPLOY / "prometheus/rules.yml"
RULES_OF_KUBERNETES = KUBERNETES / "components/monitoring/rules.yaml"

Document = dict[str, Any]


def documents(path: Path) -> list[Document]:
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


def document(path: Path) -> Document:
    [only] = documents(path)
    return only


def objects() -> Iterator[tuple[Path, Document]]:
    """All of Kubernetes, but for what Kustomize alone reads."""
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        for each in documents(path):
            if not each["apiVersion"].startswith("kustomize."):
                yield path, each


def pods() -> dict[str, Document]:
    """The specification of every pod, by the file and the name of whose it is."""
    return {
        f"{path.stem}/{each['metadata']['name']}": each["spec"]["template"]["spec"]
        for path, each in objects()
        if each["kind"] in {"Deployment", "Job"}
    }


def of_kind(kind: str, name: str = "gatehouse") -> Document:
    [only] = [each for _, each in objects() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return only


def unit() -> dict[str, str]:
    """What systemd is told once; what it is told twice is read by its last."""
    lines = (DEPLOY / "systemd/gatehouse@.service").read_text(encoding="utf-8").splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines) if value}


def rules() -> list[Document]:
    return [rule for group in document(RULES)["groups"] for rule in group["rules"]]


def alerts() -> list[Document]:
    return [rule for rule in rules() if "alert" in rule]


def dashboard() -> Document:
    read: Document = json.loads((DEPLOY / "grafana/dashboard.json").read_text(encoding="utf-8"))
    return read


def compose() -> Document:
    return document(DEPLOY / "compose.yaml")
