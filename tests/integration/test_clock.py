"""`tenure clock`: domain time goes forward, is audited, and is left alone in production."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta

from tests.support import builders as build
from tests.support.services import ROOT, environment


def _clock(database_url: str, *arguments: str, **overlay: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tenure", "clock", *arguments],
        cwd=ROOT,
        env={
            **environment(TENURE_DATABASE_URL=database_url, **overlay),
            "PYTHONPATH": str(ROOT / "platform"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_clock_advances_and_is_reset_and_both_are_audited(db, database_url):
    before = build.now(db)
    done = _clock(database_url, "advance", "3d", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["offset_s"] == 259_200
    assert datetime.fromisoformat(told["now"]) - before > timedelta(days=3)
    assert build.now(db) - before > timedelta(days=3)
    assert json.loads(_clock(database_url, "show", "--json").stdout)["offset_s"] == 259_200
    assert json.loads(_clock(database_url, "reset", "--json").stdout)["offset_s"] == 0
    found = build.rows(db, "SELECT action, actor, before, after FROM audit ORDER BY id")
    assert [(row.action, row.actor) for row in found] == [("clock.advance", "cli"), ("clock.reset", "cli")]
    assert found[1].before == {"offset_s": 259_200}


def test_the_clock_refuses_what_is_no_way_forward(db, database_url):
    for span in ("0d", "-3d", "soon", "8000d"):
        refused = _clock(database_url, "advance", span)
        assert refused.returncode == 2, span
        assert "Traceback" not in refused.stderr
    assert _clock(database_url, "show", "--json").returncode == 0
    assert build.rows(db, "SELECT 1 FROM audit") == []


def test_the_clock_of_a_production_install_is_not_moved(database_url):
    refused = _clock(
        database_url,
        "advance",
        "1d",
        TENURE_ENV="production",
        TENURE_SECRET_KEY="x" * 40,
        TENURE_BROKER_URL="redis://127.0.0.1:1/0",
    )
    assert refused.returncode == 2
    assert "production" in refused.stderr
