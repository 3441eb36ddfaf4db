"""The compose file and the image's recipe, read and held to our rules.

No image is built here: what can be proved is what the files say.
"""

from __future__ import annotations

import http.server
import json
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tenure import settings
from tenure.embedded import ports, stack
from tenure.embedded.folder import StackFolder
from tests.support import services
from tests.support.services import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name in SERVICES if name not in {"postgres", "valkey"}]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined(name: str):
    service = SERVICES[name]
    user, group = service["user"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} <= set(limits)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_that_stays_has_a_health_check(name: str):
    service = SERVICES[name]
    if service["restart"] == "no":
        assert service["healthcheck"] == {"disable": True}
        return
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    if name in OURS:
        assert service["healthcheck"]["test"][:6] == ["CMD", "python", "-m", "tenure", "status", name]
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_written_into_a_service(name: str):
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search(r"PASSWORD|SECRET|TOKEN|_KEY|_URL", variable):
            from_a_file = variable.endswith("_FILE") and str(value).startswith("/run/secrets/")
            assert from_a_file or re.fullmatch(r"\$\{\w+:-\}", value), variable
            if from_a_file:
                assert Path(value).name in SERVICES[name]["secrets"]
    assert set(SERVICES[name].get("secrets", [])) <= set(COMPOSE["secrets"])


def test_only_web_is_published_and_on_loopback():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["web"]
    assert all(port.startswith("127.0.0.1:") for port in published["web"])
    assert COMPOSE["networks"]["backend"]["internal"] is True
    for name in ("postgres", "valkey"):
        assert SERVICES[name]["networks"] == ["backend"]


@pytest.mark.parametrize("name", [name for name in OURS if name != "migrate"])
def test_every_role_waits_for_the_schema(name: str):
    assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert SERVICES[name]["depends_on"]["postgres"] == {"condition": "service_healthy"}


def test_the_roles_are_those_that_up_runs_with_the_same_commands(tmp_path: Path):
    given = settings.load({"TENURE_DATA_DIR": str(tmp_path)})
    plan = stack.build(
        given, StackFolder(tmp_path), host="127.0.0.1", port=18_080, additions=stack.Additions()
    )
    with plan.listener:
        apps = {role.name: list(role.command[2:]) for role in plan.phases[-1].roles}
    assert set(apps) == set(OURS) - {"migrate"}
    for name in ("worker", "worker-payments", "beat", "relay"):
        assert SERVICES[name]["command"][2:] == apps[name]
    assert SERVICES["web"]["command"][-1] == apps["web"][-1] == "web:create_app()"
    assert SERVICES["exporter"]["command"][2:4] == apps["exporter"][:2]
    assert SERVICES["flower"]["command"][2:6] == apps["flower"][:4]


def test_workers_are_process_one_and_outlive_the_longest_hard_limit():
    for name in ("worker", "worker-payments"):
        assert SERVICES[name]["init"] is False
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= 150 + 30


def test_the_settings_that_the_services_get_exist_and_suffice(tmp_path: Path):
    written = {
        "database_url": "postgresql://tenure:x@postgres:5432/tenure",
        "broker_url": "redis://:x@valkey:6379/0",
        "secret_key": "k" * 40,
        "flower_url": "http://tenure:x@flower:5555",
    }
    environment: dict[str, str] = {}
    for variable, value in SERVICES["web"]["environment"].items():
        if variable.endswith("_FILE"):
            path = tmp_path / Path(value).name
            path.write_text(written[path.name])
            environment[variable] = str(path)
        else:
            environment[variable] = re.sub(r"\$\{\w+:-\}", "", str(value))
    loaded = settings.load({**environment, "TENURE_DATA_DIR": str(tmp_path)})
    assert loaded.is_production
    assert loaded.require_broker_url() == written["broker_url"]


def test_the_image_runs_as_nobody_in_particular_and_installs_by_hash():
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    assert SERVICES["web"]["user"] == "10001:10001"
    assert "--require-hashes" in DOCKERFILE
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert all(re.fullmatch(r"[a-z]+:\d[\w.-]*", base) for base in bases)
    assert "ADD http" not in DOCKERFILE


def test_the_image_and_the_bootstrap_pin_the_same_installer():
    bootstrap = re.search(r'^UV = "(uv==[\d.]+)"', (ROOT / "dev.py").read_text(), re.MULTILINE)
    assert bootstrap is not None
    assert f"pip install {bootstrap[1]} " in DOCKERFILE


def test_what_the_image_copies_exists():
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source


def test_the_health_check_tells_a_leased_role_from_a_missing_one(database_url: str, tmp_path: Path):
    def ask(role: str, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tenure", "status", role, *more],
            env=services.environment(TENURE_DATABASE_URL=database_url, TENURE_DATA_DIR=str(tmp_path)),
            capture_output=True,
            text=True,
            check=False,
        )

    def lease(name: str, host: str, seconds: int) -> None:
        connection.execute(
            "INSERT INTO node (id, role, name, host, pid, version, lease_until, info) VALUES"
            " (%s, split_part(%s, '-', 1), %s || '@' || %s, %s, 1, '0',"
            " clock_timestamp() + make_interval(secs => %s), '{}')",
            [f"nod_{name}_{host}", name, name, host, host, seconds],
        )

    host = socket.gethostname()
    assert ask("worker").returncode == 1
    with psycopg.connect(database_url, autocommit=True) as connection:
        lease("worker", host, 600)
        lease("worker-payments", "another-host", 600)
        lease("beat", host, -1)
    well = ask("worker", "--json")
    assert well.returncode == 0, well.stderr
    assert json.loads(well.stdout)["state"] == "ready"
    assert ask("worker-payments").returncode == 1  # only elsewhere
    assert ask("beat").returncode == 1  # its lease ran out
    unknown = ask("wrker")
    assert unknown.returncode == 2
    assert "worker-payments" in unknown.stderr


def test_the_health_check_of_a_server_asks_its_port(tmp_path: Path):
    class Ready(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/readyz" else 404)
            self.end_headers()

    with http.server.HTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for port, code in ((server.server_port, 0), (ports.any_free(), 1)):
            command = [sys.executable, "-m", "tenure", "status", "web", "--port", str(port)]
            env = services.environment(TENURE_DATA_DIR=str(tmp_path))
            assert subprocess.run(command, env=env, capture_output=True, check=False).returncode == code
        server.shutdown()
