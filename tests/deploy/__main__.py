"""`python -m tests.deploy`: the files of deploy/, held against what reads them; its exit status is 1 if one is wrong.

hadolint, kubectl, Kubernetes' schemas and those of Compose come from requirements/deploy.txt: these alone look with
`--wheels`. Schemas of what operators read are npm's (./operators); promtool, nginx and haproxy are Debian's
(prometheus, nginx, haproxy), and openssl makes them a certificate.
"""

import argparse
import functools
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import kubernetes_validate
import yaml
from compose_spec import PyOptions

from tests.deploy.files import DEPLOY, KUBERNETES, Document

TOOLS = Path(sys.executable).parent
OLDEST, NEWEST = "1.29", kubernetes_validate.latest_version()
TIMEOUT = 60  # seconds; each takes less than two
OVERLAYS = sorted((KUBERNETES / "overlays").iterdir())
OPERATORS = Path(__file__).parent / "operators"
EXAMPLES = sorted((KUBERNETES / "examples").glob("*.yaml"))
SCRIPTS = (DEPLOY / "entrypoint", DEPLOY / "compose/secrets", DEPLOY / "compose/service-role.sh")


class Wrong(Exception):
    """What a tool said against a file."""


def told(*command: str | Path, directory: Path = DEPLOY, given: str | None = None) -> str:
    """What it prints.

    Raises:
        Wrong: it is not there, or not content.
    """
    tool = shutil.which(command[0], path=f"{TOOLS}:/usr/sbin:/usr/bin:/bin:/usr/local/bin")
    if tool is None:
        raise Wrong(f"there is no {command[0]} here")
    done = subprocess.run(
        [tool, *command[1:]],
        cwd=directory,
        input=given,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise Wrong(done.stdout + done.stderr)
    return done.stdout


def dockerfile() -> str:
    told("hadolint", "Dockerfile")
    return "hadolint"


def scripts() -> str:
    for path in (*SCRIPTS, *KUBERNETES.glob("overlays/*/secrets")):
        told("sh", "-n", path)
    return "sh -n"


def compose() -> str:
    options = PyOptions()
    options.apply_merge = True
    try:
        found = options.from_yaml((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
        for validate in (found.validate, found.validate_networks, found.validate_secrets, found.validate_volumes):
            validate()
    except ValueError as error:
        raise Wrong(str(error)) from error
    return f"compose-spec, {len(found.service_names())} services"


@functools.cache
def rendered() -> list[Document]:
    """What a cluster would get."""
    texts = [told("kubectl", "kustomize", overlay) for overlay in OVERLAYS]
    texts += [path.read_text(encoding="utf-8") for path in EXAMPLES]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def kubernetes() -> str:
    """A field that no schema knows is wrong."""
    count, unknown = 0, set()
    for each in rendered():
        for version in (OLDEST, NEWEST):
            try:
                kubernetes_validate.validate(each, version, strict=True)
                count += 1
            except kubernetes_validate.SchemaNotFoundError:
                unknown.add(each["kind"])
            except kubernetes_validate.ValidationError as error:
                raise Wrong(f"{each['kind']} {each['metadata']['name']} for {version}: {error.message}") from error
    of_operators = f"; of operators: {', '.join(sorted(unknown))}"
    return f"kubectl kustomize, {count} times valid for {OLDEST} or {NEWEST}{of_operators}"


def operators() -> str:
    """Of the Valkey operator there is no schema to be had."""
    given = "".join(json.dumps(each) + "\n" for each in rendered())
    return f"valid: {', '.join(told('node', 'validate.mjs', directory=OPERATORS, given=given).split())}"


def prometheus() -> str:
    told("promtool", "check", "config", "--syntax-only", "prometheus/prometheus.yml")
    told("promtool", "check", "rules", "prometheus/rules.yml")
    told("promtool", "test", "rules", "prometheus/rules_test.yml")
    return "promtool, with the tests of the rules"


def nginx() -> str:
    with certified() as directory:
        for name in ("gatehouse", "application"):
            text = (DEPLOY / f"nginx/{name}.conf").read_text(encoding="utf-8")
            text = re.sub(r"/etc/ssl/\S+\.(pem|key)(?=;)", str(directory / "both.pem"), text)
            text = text.replace("/var/log/nginx", str(directory))
            (directory / f"{name}.conf").write_text(text, encoding="utf-8")
        includes = f"include {directory}/gatehouse.conf; include {directory}/application.conf;"
        main = f"pid {directory}/pid; error_log stderr; events {{}} http {{ {includes} }}"
        (directory / "nginx.conf").write_text(main, encoding="utf-8")
        told("nginx", "-t", "-q", "-p", directory, "-c", directory / "nginx.conf")
    return "nginx -t"


def haproxy() -> str:
    with certified() as directory:
        for name in ("haproxy.cfg", "application.cfg"):
            text = (DEPLOY / "haproxy" / name).read_text(encoding="utf-8")
            text = re.sub(r"/etc/haproxy/\S+\.pem", str(directory / "both.pem"), text)
            text = text.replace("/etc/haproxy", str(DEPLOY / "haproxy"))
            (directory / name).write_text(text, encoding="utf-8")
            told("haproxy", "-c", "-dW", "-f", directory / name)
    return "haproxy -c"


@contextmanager
def certified() -> Iterator[Path]:
    """A directory with a certificate and its key in one file, for proxies that want to see theirs."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=auth.example.org"
        told("openssl", *make.split(), "-keyout", "key.pem", "-out", "certificate.pem", directory=directory)
        both = [(directory / part).read_text(encoding="ascii") for part in ("certificate.pem", "key.pem")]
        (directory / "both.pem").write_text("".join(both), encoding="ascii")
        yield directory


WHEELS: tuple[Callable[[], str], ...] = (dockerfile, scripts, compose, kubernetes)
OTHERS: tuple[Callable[[], str], ...] = (operators, prometheus, nginx, haproxy)


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.deploy", description=__doc__)
    parser.add_argument("--wheels", action="store_true", help="only what needs nothing but wheels")
    failed = 0
    for check in WHEELS if parser.parse_args().wheels else (*WHEELS, *OTHERS):
        try:
            print(f"ok     {check.__name__:<11} {check()}")  # noqa: T201 - that is what it is for
        except Wrong as wrong:
            failed += 1
            print(f"wrong  {check.__name__:<11} {wrong}")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
