"""A process is known by its pid and its start, whatever happens to the wall clock meanwhile."""

from __future__ import annotations

import os

import psutil
import pytest

from tenure.embedded.process import Identity


def test_a_step_of_the_wall_clock_makes_nobody_a_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Identity.of(os.getpid())
    assert known is not None
    before = psutil.Process(os.getpid()).create_time()
    # The kernel derives the time of the boot from the wall clock: stepping the one steps the other.
    real = psutil._pslinux.boot_time
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: real() + 3600)
    assert psutil.Process(os.getpid()).create_time() - before == pytest.approx(3600)
    assert known.alive


def test_another_process_under_the_same_pid_is_not_the_one_that_was_known() -> None:
    known = Identity.of(os.getpid())
    assert known is not None
    assert not Identity(known.pid, known.started - 1).alive
