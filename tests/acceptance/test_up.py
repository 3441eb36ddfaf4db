"""`tenure up`: everything starts and is proved ready, and nothing is left however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import urllib.request
from pathlib import Path

import pytest

from tenure.embedded import ports
from tests.support import services, system_servers
from tests.support.installed import Installed
from tests.support.lines import whole_lines
from tests.support.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

SERVERS = {"postgres", "valkey", "valkey-live"}
APPS = {"web", "relay", "worker", "worker-payments", "beat", "flower", "exporter"}


@pytest.fixture
def folder():
    with services.session_folder() as made:
        yield made


@pytest.fixture
def installed(folder: Path):
    stack = Installed(folder / "a stack" / ".tenure")
    yield stack
    stack.run("down", within_s=150)


def ready_url(output: str) -> str:
    found = re.search(r"^READY (http://\S+)$", output, re.MULTILINE)
    assert found, output
    return found[1]


def get(url: str) -> tuple[int, bytes]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.status, answer.read()


def test_a_stack_lives_its_whole_life(installed: Installed):
    wanted = ports.any_free()
    first = installed.up("--port", str(wanted))
    assert first.returncode == 0, first.stdout + first.stderr
    url = ready_url(first.stdout)
    assert url.endswith(f":{wanted}")
    password = re.search(r"password\s+(\S+)", first.stdout)
    assert password

    # Ready means ready: every part answers at once.
    status, body = get(f"{url}/readyz")
    assert status == 200
    assert json.loads(body)["status"] in {"ok", "degraded"}
    found = installed.status()
    assert found["ready"] is True
    assert found["url"] == url
    assert {role["name"] for role in found["roles"]} == SERVERS | APPS
    assert {role["state"] for role in found["roles"]} == {"ready"}
    assert {role["restarts"] for role in found["roles"]} == {0}
    assert found["urls"]["flower"] == f"{url}/flower/"

    # A second one in the same folder is refused and harms nothing.
    again = installed.up()
    assert again.returncode == 4
    assert url in again.stderr

    # The password is nowhere on disk, and secrets are readable by us alone.
    for path in (path for path in installed.data_dir.rglob("*") if path.is_file()):
        if "postgres" not in path.parts:
            with contextlib.suppress(FileNotFoundError):  # replaced or removed meanwhile
                assert password[1].encode() not in path.read_bytes(), path
    for name in ("stack.json", "secrets.json", "state.json"):
        assert (installed.data_dir / name).stat().st_mode & 0o777 == 0o600

    # Every line of every log is one JSON object with its time, level, event and role.
    for path in (installed.data_dir / "logs").glob("*.log"):
        for line in whole_lines(path):
            assert {"ts", "level", "event", "role"} <= set(json.loads(line)), path

    # A killed worker comes back.
    victim = installed.role("worker")
    os.kill(victim["pid"], signal.SIGKILL)
    until(lambda: installed.role("worker")["restarts"] == 1, 120)
    until(lambda: installed.status()["ready"], 120)
    assert installed.role("worker")["pid"] != victim["pid"]

    everything = installed.processes()
    done = installed.run("down", within_s=300)
    assert done.returncode == 0, done.stderr
    assert not any(identity.alive for identity in everything)
    assert installed.run("status").returncode == 1


def test_kill_9_of_the_supervisor_leaves_nothing_and_the_next_up_works(installed: Installed):
    taken = ports.any_free()
    with ports.listen(taken, "127.0.0.1"):
        first = installed.up("--port", str(taken))
    assert first.returncode == 0, first.stdout + first.stderr
    assert f"port {taken} is taken" in first.stdout
    url = ready_url(first.stdout)
    everything = installed.processes()
    assert len(everything) > 12
    supervisor = json.loads((installed.data_dir / "stack.json").read_text())["supervisor"]["pid"]
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not any(identity.alive for identity in everything))
    with pytest.raises(OSError, match="refused"):
        get(f"{url}/livez")
    assert installed.status()["ready"] is False

    second = installed.up("--port", str(taken))
    assert second.returncode == 0, second.stdout + second.stderr
    assert "password" not in second.stdout  # shown once, at the first start


def test_ctrl_c_stops_everything_in_order(installed: Installed, tmp_path: Path):
    output = tmp_path / "output"
    process = installed.in_foreground(output)
    try:
        until(lambda: "READY" in output.read_text() or process.poll() is not None, 300)
        ready_url(output.read_text())
        everything = installed.processes()
        process.send_signal(signal.SIGINT)
        assert process.wait(300) == 130
    finally:
        process.kill()
        process.wait()
    assert not any(identity.alive for identity in everything)
    stopped = re.findall(r"^  (\S+)\s+stopped$", output.read_text(), re.MULTILINE)
    assert stopped.index("beat") < stopped.index("web") < stopped.index("worker") < stopped.index("relay")
    assert stopped[-1] == "postgres"


@pytest.mark.skipif(
    system_servers.postgres_programs() is None or system_servers.redis_program() is None,
    reason="needs the system's postgresql and redis-server (apt-get install postgresql redis-server)",
)
def test_servers_named_in_the_settings_are_used_instead_of_our_own(folder: Path):
    with system_servers.running_postgres(folder) as database, system_servers.running_redis(folder) as broker:
        stack = Installed(folder / "data", TENURE_DATABASE_URL=database, TENURE_BROKER_URL=broker)
        try:
            started = stack.up("--port", str(ports.any_free()))
            assert started.returncode == 0, started.stdout + started.stderr
            assert get(f"{ready_url(started.stdout)}/livez")[0] == 200
            assert {role["name"] for role in stack.status()["roles"]} == APPS
            assert not (stack.data_dir / "postgres").exists()
            assert not (stack.data_dir / "valkey").exists()
        finally:
            stack.run("down", within_s=120)


def test_a_server_that_does_not_answer_is_named_and_nothing_is_left(folder: Path):
    nowhere = f"postgresql://tenure:secret-word@127.0.0.1:{ports.any_free()}/tenure"
    stack = Installed(folder / "data", TENURE_DATABASE_URL=nowhere)
    failed = stack.up("--port", str(ports.any_free()))
    assert failed.returncode == 3
    assert "TENURE_DATABASE_URL" in failed.stderr
    assert "secret-word" not in failed.stdout + failed.stderr
    assert stack.status()["roles"] == []


def test_without_broker_and_outside_everything_starts_degraded_and_work_waits_in_rows(folder: Path):
    nothing = ports.any_free()
    outside = {
        "TENURE_BROKER_URL": f"redis://127.0.0.1:{nothing}/0",
        "TENURE_SMTP_URL": f"smtp://127.0.0.1:{nothing}",
        "TENURE_PROVISIONER_URL": f"http://127.0.0.1:{nothing}",
        "TENURE_PROVISIONER_SECRET": "a secret of sufficient length",
        "TENURE_TELEGRAM_TOKEN": "1:token",
        "TENURE_TELEGRAM_API_URL": f"http://127.0.0.1:{nothing}",
    }
    stack = Installed(folder / "data", **outside)
    try:
        started = stack.up("--port", str(ports.any_free()))
        assert started.returncode == 0, started.stdout + started.stderr
        assert "TENURE_BROKER_URL is set, but nothing answers there" in started.stdout
        url = ready_url(started.stdout)
        status, body = get(f"{url}/readyz")
        ready = json.loads(body)
        assert (status, ready["status"]) == (200, "degraded")
        assert ready["parts"]["database"] == "ok"
        assert {ready["parts"][part] for part in ("broker", "live")} == {"down"}
        asked = stack.run("run", "sleep", "--scope", "ok:0", "--wait", "1", "--json")
        assert asked.returncode == 1
        waiting = json.loads(stack.run("slots", "--job", "sleep", "--json").stdout)["items"]
        assert [slot["state"] for slot in waiting] == ["pending"]
        assert {role["restarts"] for role in stack.status()["roles"]} == {0}
    finally:
        stack.run("down", within_s=150)


def test_wrong_settings_are_all_named_before_anything_starts(folder: Path):
    stack = Installed(folder / "data", TENURE_NODE_LEASE_S="soon", TENURE_NO_SUCH_THING="1")
    failed = stack.up()
    assert failed.returncode == 2
    assert "TENURE_NODE_LEASE_S" in failed.stderr
    assert "TENURE_NO_SUCH_THING" in failed.stderr
    assert not (stack.data_dir / "postgres").exists()
