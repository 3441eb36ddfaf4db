"""Every benchmark runs in its short form and prints its figures beside its peer's. None is judged."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support import services

NAMES = ("iterations", "lateness", "relay", "verify", "live", "delivery", "api")


def bench(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words],
        cwd=services.ROOT, env=services.environment(), capture_output=True, text=True, timeout=600,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_prints_machine_versions_and_its_ratio_to_a_peer_of_the_same_run(name):
    printed = bench("--quick", name)
    assert re.search(r"^machine: \d+ cores, .*load \d", printed, re.MULTILINE)
    assert re.search(r"^versions: Python 3", printed, re.MULTILINE)
    assert re.search(rf"^{name}: ", printed, re.MULTILINE)
    assert re.search(r"ratio.* \d+\.\d", printed)


def test_every_benchmark_is_run_here_and_named_in_their_readme():
    told = re.search(r"which ones, of ([a-z, ]+);", " ".join(bench("--help").split()))
    assert told is not None
    assert sorted(told[1].split(", ")) == sorted(NAMES)
    readme = (services.ROOT / "bench" / "README.md").read_text()
    assert [name for name in NAMES if f"| `{name}.py` |" not in readme] == []
