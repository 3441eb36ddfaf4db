"""The README's tour, word for word, on a demo stack of its own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]


def test_every_command_of_the_tour_works(tmp_path: Path) -> None:
    steps = re.findall(r"```sh tour\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(steps) >= 4
    env = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    env |= {"TENURE_DATA_DIR": str(tmp_path / "stack"), "TMPDIR": str(tmp_path)}
    try:
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", "\n".join(steps)],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=800,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert "READY http://" in done.stdout
    finally:
        subprocess.run([".venv/bin/tenure", "down"], cwd=ROOT, env=env, capture_output=True, check=False)
