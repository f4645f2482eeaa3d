"""What Docker, Compose and Kubernetes are told of the service is so."""

import re

import pytest

from app.cli.database import BESIDE_THE_POOL
from app.cli.main import EXIT_SETTINGS
from app.cli.serve import STOP_SECONDS
from app.cli.server import CONNECTIONS, SPARE_FILES
from app.main import at_the_edge, create_app
from app.settings import PARSERS, Settings
from tests.deploy.files import DEPLOY, KUBERNETES, ROOT, compose, documents, objects, of_kind, pods, unit
from tests.kit import BASE
from tests.replica import http

NAMES = {name.upper() for name in PARSERS}
SPARE_SECONDS = 5  # between what the service may take to stop and when it is killed
DEPLOYED = {path for path in DEPLOY.rglob("*") if path.is_file() and ".secrets" not in path.parts}


def given_to_the_service() -> set[str]:
    """The names of all settings that some file of deploy/ sets."""
    names = set(compose()["services"]["gatehouse"]["environment"])
    for path in (
        KUBERNETES / "base/settings.env",
        DEPLOY / "compose/secrets",
        KUBERNETES / "overlays/development/secrets",
        KUBERNETES / "base/secrets.example.yaml",
    ):
        names |= set(re.findall(r"^[# ]*([A-Z][A-Z_]+)(?:=|: )", path.read_text(encoding="utf-8"), re.MULTILINE))
    for path in KUBERNETES.glob("overlays/*/kustomization.yaml"):
        [overlay] = documents(path)
        for each in overlay["configMapGenerator"]:
            names |= {literal.partition("=")[0] for literal in each["literals"]}
    return names


def test_only_settings_that_there_are_are_set() -> None:
    given = given_to_the_service()

    assert given - NAMES == set()
    assert {"PUBLIC_URL", "SECRET_KEY", "DATABASE_URL", "VALKEY_URL", "METRICS_TOKEN"} <= given


async def test_every_path_that_is_probed_or_led_to_is_served(settings: Settings) -> None:
    found = {
        path for each in DEPLOYED for path in re.findall(rf"{BASE}/health/[a-z]+", each.read_text(encoding="utf-8"))
    }
    paths = {rule["path"] for rule in of_kind("Ingress")["spec"]["rules"][0]["http"]["paths"]}

    assert {f"{BASE}/health/live", f"{BASE}/health/ready", f"{BASE}/health/startup"} <= found
    async with http(at_the_edge(create_app(settings))) as client:
        for path in found | paths - {BASE, "/.well-known"} | {"/.well-known/jwks.json"}:
            answer = await client.get(f"https://auth.example.test{path}")
            assert answer.status_code != 404, path
    assert {BASE, "/.well-known", "/docs", "/openapi.json"} <= paths
    assert not any("/metrics".startswith(path) for path in paths)


def test_nothing_is_killed_while_it_drains() -> None:
    drain = Settings().drain_seconds
    kubernetes = pods()["deployment/gatehouse"]
    in_compose = compose()["services"]["gatehouse"]["stop_grace_period"]
    of_systemd = float(unit()["TimeoutStopSec"])

    assert kubernetes["terminationGracePeriodSeconds"] >= drain + STOP_SECONDS + SPARE_SECONDS
    assert int(in_compose.rstrip("s")) >= drain + STOP_SECONDS + SPARE_SECONDS
    assert of_systemd >= drain + STOP_SECONDS + SPARE_SECONDS
    assert unit()["KillMode"] == "mixed"  # SIGTERM is for the server alone, or its workers would leave at once
    assert f"DRAIN_SECONDS={drain:.0f}\n" in (KUBERNETES / "base/settings.env").read_text(encoding="utf-8")


def test_a_replica_of_systemd_has_the_files_that_it_asks_for_and_is_not_started_anew_on_a_wrong_setting() -> None:
    assert int(unit()["LimitNOFILE"]) == CONNECTIONS + SPARE_FILES
    assert int(unit()["RestartPreventExitStatus"]) == EXIT_SETTINGS


def test_the_first_start_gives_settings_that_there_are_and_trusts_the_proxy_that_it_sets_up() -> None:
    """One that is not trusted makes everybody one address, and five wrong passwords lock all of them out."""
    guide = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    given = dict(re.findall(r"^ +([A-Z_]+)=(.+)$", guide, re.MULTILINE))
    nginx = (DEPLOY / "nginx/gatehouse.conf").read_text(encoding="utf-8")

    assert {"SECRET_KEY", "TRUSTED_PROXIES"} <= given.keys() <= NAMES
    assert f"--host {given['TRUSTED_PROXIES']} " in unit()["ExecStart"]
    assert f"server {given['TRUSTED_PROXIES']}:8000;" in nginx


def test_a_commit_that_was_answered_outlives_a_failover() -> None:
    """Where LOSSLESS_FAILOVER says so: commits wait for a replica, and who may lack one does not take over."""
    [overlay] = documents(KUBERNETES / "overlays/production/kustomization.yaml")
    cluster = of_kind("Cluster", "gatehouse-db")["spec"]

    assert "LOSSLESS_FAILOVER=on" in overlay["configMapGenerator"][0]["literals"]
    assert cluster["postgresql"]["synchronous"] == {
        "method": "any",
        "number": 1,
        "dataDurability": "required",
        "failoverQuorum": True,
    }
    assert not {"minSyncReplicas", "maxSyncReplicas"} & set(cluster)  # with which it may go on alone


def test_all_replicas_together_find_room_in_postgresql() -> None:
    """Also while a release is rolled out: those that leave are still there when those that come are."""
    most = 2 * of_kind("HorizontalPodAutoscaler")["spec"]["maxReplicas"]
    limit = of_kind("Cluster", "gatehouse-db")["spec"]["postgresql"]["parameters"]["max_connections"]

    assert most * (Settings().database_pool_size + BESIDE_THE_POOL) <= int(limit) - 10  # the operator's, psql, …


@pytest.mark.parametrize("name", pods())
def test_every_pod_is_restricted(name: str) -> None:
    """As the Pod Security Standard `restricted` has it, and no token of the cluster's."""
    pod = pods()[name]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for volume in pod["volumes"]:
        assert set(volume) - {"name"} <= {"emptyDir", "secret", "configMap"}
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
        if container["image"] == "gatehouse":
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_nobody_has_a_way_in_to_a_pod_but_by_a_policy() -> None:
    held = [
        each["spec"]["podSelector"]["matchLabels"].items()
        for _, each in objects()
        if each["kind"] == "NetworkPolicy" and "Ingress" in each["spec"]["policyTypes"]
    ]
    labels = {
        f"{path.parent.name}/{path.stem}/{each['metadata']['name']}": each["spec"]["template"]["metadata"]["labels"]
        for path, each in objects()
        if each["kind"] in {"Deployment", "Job"}
    }
    labels["CloudNativePG"] = {"cnpg.io/cluster": of_kind("Cluster", "gatehouse-db")["metadata"]["name"]}

    assert len(labels) >= 6
    for name, of_pod in labels.items():
        assert any(each <= of_pod.items() for each in held), name


def test_the_role_that_runs_the_service_is_granted_by_its_name() -> None:
    """Everywhere the same: who makes it, who grants to it, whose DATABASE_URL names it."""
    commands = [
        compose()["services"]["migrate"]["command"],
        of_kind("Job", "gatehouse-migrate")["spec"]["template"]["spec"]["containers"][0]["args"],
    ]
    for command in commands:
        assert command == ["migrate", "--grant", "gatehouse_service"]
    for path in ("compose/service-role.sh", "kubernetes/overlays/development/stores.yaml"):
        assert "CREATE ROLE gatehouse_service LOGIN" in (DEPLOY / path).read_text(encoding="utf-8")
    [role] = of_kind("Cluster", "gatehouse-db")["spec"]["managed"]["roles"]
    assert (role["name"], role["login"]) == ("gatehouse_service", True)


def test_no_secret_is_in_a_file() -> None:
    for _, each in objects():
        assert each["kind"] != "Secret"
    for service in compose()["services"].values():
        for name, value in service.get("environment", {}).items():
            assert not re.search(r"PASSWORD|SECRET|TOKEN|KEY", name) or name.endswith("_FILE"), (name, value)


def test_compose_listens_on_this_machine_alone() -> None:
    for service in compose()["services"].values():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")


def test_compose_names_what_there_is() -> None:
    found = compose()

    for name, service in found["services"].items():
        assert set(service.get("depends_on", ())) <= set(found["services"]), name
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in found["volumes"]


def test_the_image_is_given_what_it_copies() -> None:
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()

    for line in (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] == ["COPY"] and not line.startswith("COPY --from"):
            for source in [word for word in words[1:-1] if not word.startswith("--")]:
                assert f"!{source}" in allowed
                assert (ROOT / source).exists()


def test_what_is_run_can_be_run() -> None:
    for path in DEPLOYED:
        if path.read_bytes().startswith(b"#!") and path.suffix != ".sh":
            assert path.stat().st_mode & 0o111 == 0o111, path
