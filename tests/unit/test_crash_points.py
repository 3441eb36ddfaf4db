"""Crash points: quiet unless armed, each death written down first, and as many deaths as were ordered."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tenure.kit import crash
from tenure.kit.crash import Action, Order

ROOT = Path(__file__).resolve().parents[2]
PASS = "import sys; from pathlib import Path; from tenure.kit import crash; "


def passing(folder: Path, spec: str, *points: str) -> int:
    """The exit code of a process that is armed with the spec and passes the points."""
    code = PASS + f"crash.arm({spec!r}, Path({str(folder)!r}), role='test'); "
    code += "; ".join(
        f"crash.point({name!r}, {job!r})" for name, _, job in (p.partition("@") for p in points)
    )
    return subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode


def deaths(folder: Path) -> list[dict]:
    file = folder / crash.FILE
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_a_point_that_is_not_armed_does_nothing(tmp_path: Path) -> None:
    crash.arm(None, tmp_path, role="test")
    crash.point("end.before", "expiry")
    assert deaths(tmp_path) == []


def test_an_armed_point_is_written_down_and_kills_as_often_as_was_ordered(tmp_path: Path) -> None:
    codes = [passing(tmp_path, "end.before*2", "end.before@expiry") for _ in range(4)]
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0, 0]
    assert [(death["point"], death["job"], death["role"]) for death in deaths(tmp_path)] == [
        ("end.before", "expiry", "test"),
    ] * 2
    assert len({death["pid"] for death in deaths(tmp_path)}) == 2


def test_only_the_named_job_dies(tmp_path: Path) -> None:
    assert passing(tmp_path, "end.before@expiry", "end.before@reminders", "start.before@expiry") == 0
    assert passing(tmp_path, "end.before@expiry", "end.before@expiry") == -signal.SIGKILL


def test_each_of_several_orders_has_its_own_count(tmp_path: Path) -> None:
    spec = "start.before,end.before=exit"
    assert [passing(tmp_path, spec, "start.before@", "end.before@") for _ in range(3)] == [-9, 70, 0]


def test_a_stopped_process_goes_on_when_it_is_continued(tmp_path: Path) -> None:
    code = (
        PASS
        + f"crash.arm('end.before=stop', Path({str(tmp_path)!r}), role='test'); crash.point('end.before')"
    )
    child = subprocess.Popen([sys.executable, "-c", code])
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    assert [death["action"] for death in deaths(tmp_path)] == ["stop"]
    child.send_signal(signal.SIGCONT)
    assert child.wait(20) == 0


def test_an_unknown_point_is_refused_with_the_names_of_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"start\.written.*relay\.numbered"):
        crash.parse("end.befor")
    assert crash.parse(" end.before@expiry*3=hang, beat.slots") == (
        Order("end.before", "expiry", 3, Action.HANG),
        Order("beat.slots"),
    )


def test_every_point_of_the_catalogue_is_passed_somewhere_and_no_other() -> None:
    passed = {
        name
        for top in ("platform", "tasks", "web")
        for file in (ROOT / top).rglob("*.py")
        for name in re.findall(r'crash\.point\("([^"]+)"', file.read_text())
    }
    assert passed == set(crash.POINTS)


def test_every_point_has_its_row_in_the_decision_and_every_test_named_there_exists() -> None:
    decision = (ROOT / "docs/decisions/0007-every-crash-point.md").read_text()
    rows = set(re.findall(r"^\| `([a-z.-]+)` \|", decision, re.MULTILINE))
    assert rows == set(crash.POINTS)
    written = "".join(file.read_text() for file in (ROOT / "tests/kill").glob("test_crash_points*.py"))
    named = set(re.findall(r"::(test_\w+)", decision))
    assert named
    assert {name for name in named if f"def {name}(" not in written} == set()
