"""A worker runs with the prefork pool or not at all: the others ignore time limits in silence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.worker import ROOT, environment


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
def test_a_pool_without_time_limits_is_refused_in_one_line(
    pool: str, database_url: str, broker_url: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-P", pool, "-c", "1"],
        cwd=ROOT,
        env=environment(database_url, broker_url, tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr[-2000:]
    refused = [
        line
        for line in map(json.loads, filter(lambda line: line.startswith("{"), _said(done)))
        if line["event"] == "worker.refused"
    ]
    assert [line["level"] for line in refused] == ["error"]
    assert "prefork" in refused[0]["reason"]
    assert "Traceback" not in done.stderr


def _said(done: subprocess.CompletedProcess[str]) -> list[str]:
    return (done.stdout + done.stderr).splitlines()
