"""Locust's own pages: all scenarios can be started there, and from this machine alone."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import psutil

from tests.loadtests.service import serving
from tests.servers import free_port

ROOT = Path(__file__).parents[3]
PEOPLE = ("Visitor", "Commuter", "Reader", "Hunter", "Guesser")  # one of each scenario


def ask(server: "subprocess.Popen[bytes]", url: str, **form: str) -> str:
    """Its answer, as soon as there is one."""
    while True:
        try:
            with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode() if form else None) as answer:
                return str(answer.read().decode())
        except urllib.error.URLError:  # it is not there yet
            assert server.poll() is None
            time.sleep(0.1)


def test_a_scenario_is_started_by_hand() -> None:
    port = free_port()
    pages = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "loadtests", "--ui", "--port", str(port), "--host"]
    environment = {"PATH": os.environ["PATH"], "LOADTEST_ADMIN_PASSWORD": "any"}
    with serving(hear=True) as host, subprocess.Popen([*command, host], cwd=ROOT, env=environment) as loadtests:
        try:
            page = ask(loadtests, pages)
            ask(loadtests, f"{pages}/swarm", user_count="1", spawn_rate="1", user_classes="Visitor", host=host)
            while '"/verify"' not in (stats := ask(loadtests, f"{pages}/stats/requests")):
                time.sleep(0.1)
            listening = {
                each.laddr.ip
                for process in [psutil.Process(loadtests.pid), *psutil.Process(loadtests.pid).children()]
                for each in process.net_connections("tcp")
                if each.status == psutil.CONN_LISTEN
            }
        finally:
            loadtests.terminate()

    assert all(name in page for name in PEOPLE)
    assert json.loads(stats)["errors"] == []
    assert listening == {"127.0.0.1"}
