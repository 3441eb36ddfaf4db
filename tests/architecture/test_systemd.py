"""The systemd units, held to the compose file: the same roles, the same commands, the same promises."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tenure import settings
from tenure.iterations.catalog import catalog
from tenure.kit.watchdog import EXIT_CODE
from tests.support.services import ROOT

FOLDER = ROOT / "deploy" / "systemd"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
ROLES = sorted(name for name in COMPOSE if name not in {"postgres", "valkey", "migrate"})


def unit(name: str) -> ConfigParser:
    parser = ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((FOLDER / name).read_text())
    return parser


def words(name: str) -> list[str]:
    """The command of the role, as the compose file would write it."""
    found = shlex.split(unit(f"tenure-{name}.service")["Service"]["ExecStart"].replace("%%", "%"))
    assert found[:2] == ["/opt/tenure/.venv/bin/python", "-m"]
    return ["python", *found[1:]]


def test_there_is_a_unit_for_each_role_and_the_target_wants_them_all() -> None:
    units = {path.name for path in FOLDER.glob("*.service")}
    assert units == {f"tenure-{name}.service" for name in [*ROLES, "migrate"]}
    wanted = set(unit("tenure.target")["Unit"]["Wants"].split())
    assert wanted == {f"tenure-{name}.service" for name in ROLES}


@pytest.mark.parametrize("name", ROLES)
def test_a_unit_runs_what_the_container_runs(name: str) -> None:
    addresses = re.compile(r"(0\.0\.0\.0|127\.0\.0\.1)(:\d+)?|9464|9100")
    ours, theirs = (
        [addresses.sub("ADDRESS", word) for word in command]
        for command in (words(name), COMPOSE[name]["command"])
    )
    assert ours == theirs


@pytest.mark.parametrize("name", ROLES)
def test_a_unit_restarts_after_the_watchdog_and_stops_as_a_worker_needs(name: str) -> None:
    service = unit(f"tenure-{name}.service")["Service"]
    assert service["KillMode"] == "mixed"
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"].split() == ["2"]
    assert str(EXIT_CODE) not in service.get("SuccessExitStatus", "").split()
    if name.startswith("worker"):
        longest = max(job.hard_s for job in catalog(settings.load({})).values())
        assert int(service["TimeoutStopSec"]) >= longest + 30
    for hardening in ("NoNewPrivileges", "PrivateTmp", "ProtectHome", "RestrictSUIDSGID"):
        assert service[hardening] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert service["User"] not in {"", "root"}


@pytest.mark.parametrize("name", [*ROLES, "migrate"])
def test_no_secret_stands_in_a_unit(name: str) -> None:
    service = unit(f"tenure-{name}.service")["Service"]
    assert "Environment" not in service
    assert service["EnvironmentFile"] == "/etc/tenure/environment"


def test_the_example_of_the_environment_is_valid(tmp_path: Path) -> None:
    written = {
        "database_url": "postgresql://tenure:x@127.0.0.1:5432/tenure",
        "broker_url": "redis://:x@127.0.0.1:6379/0",
        "secret_key": "k" * 40,
        "flower_url": "http://tenure:x@127.0.0.1:5555",
    }
    environment = {}
    for line in (FOLDER / "environment.example").read_text().splitlines():
        if line.startswith("#"):
            continue
        name, value = line.split("=", 1)
        if name.endswith("_FILE"):
            path = tmp_path / Path(value).name
            path.write_text(written[path.name])
            value = str(path)
        environment[name] = str(tmp_path) if name == "TENURE_DATA_DIR" else value
    assert settings.load(environment).is_production


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """The same units with a program and a user that this machine has."""
    for path in FOLDER.iterdir():
        if path.suffix in {".service", ".target"}:
            text = path.read_text().replace("/opt/tenure/.venv/bin/python", sys.executable)
            text = text.replace("=tenure\nGroup=tenure", "=daemon\nGroup=daemon")
            (tmp_path / path.name).write_text(text.replace("/opt/tenure", str(ROOT)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:/lib/systemd/system", "PATH": "/usr/bin:/bin"},
    )
    # Lines about other units of this machine are not ours to mend.
    ours = [line for line in done.stderr.splitlines() if "tenure" in line]
    newer = re.compile(r"Unknown key (name )?'Restart(Steps|MaxDelaySec)'")  # from systemd 254 on
    assert [line for line in ours if not newer.search(line)] == [], done.stderr
