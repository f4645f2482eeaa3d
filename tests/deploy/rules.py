"""`python -m tests.deploy.rules`: writes Prometheus's rules as Kubernetes has them."""

import textwrap

from tests.deploy.files import RULES, RULES_OF_KUBERNETES

HEAD = """\
# Made of deploy/prometheus/rules.yml: `make rules`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: gatehouse
  labels:
    app.kubernetes.io/name: gatehouse
spec:
"""


def as_kubernetes_has_them() -> str:
    groups = RULES.read_text(encoding="utf-8")
    return HEAD + textwrap.indent(groups[groups.index("groups:") :], "  ")


if __name__ == "__main__":
    RULES_OF_KUBERNETES.write_text(as_kubernetes_has_them(), encoding="utf-8")
