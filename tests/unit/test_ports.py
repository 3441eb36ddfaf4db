"""Free ports: what one process has chosen no other one chooses, until it ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tenure.embedded import ports
from tenure.errors import Unavailable

# Chooses all that it can get, tells them, and keeps them until its standard input ends.
GREEDY = """
import sys
from tenure.embedded import ports
from tenure.errors import Unavailable
ports._FIRST, ports._COUNT = int(sys.argv[1]), int(sys.argv[2])
try:
    while True:
        print(ports.any_free(), flush=True)
except Unavailable:
    print("", flush=True)
sys.stdin.read()
"""
FIRST, COUNT = 18_000, 8  # below what anybody else here chooses from


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ports, "_FIRST", FIRST)
    monkeypatch.setattr(ports, "_COUNT", COUNT)
    kept: dict[int, int] = {}
    monkeypatch.setattr(ports, "_kept", kept)
    yield
    for name in kept.values():
        os.close(name)


def test_two_processes_never_choose_the_same_port() -> None:
    ours = {ports.any_free() for _ in range(3)}
    assert len(ours) == 3
    with subprocess.Popen(
        [sys.executable, "-c", GREEDY, str(FIRST), str(COUNT)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        assert other.stdin is not None
        theirs = [int(line) for line in iter(other.stdout.readline, "\n")]
        assert sorted([*ours, *theirs]) == list(range(FIRST, FIRST + COUNT))
        with pytest.raises(Unavailable):
            ports.any_free()
        wanted = ports.choose(min(ours))
        assert wanted == min(ours), "what is ours may be chosen again"
        other.stdin.close()
        other.wait(60)
    assert ports.choose(theirs[0]) == theirs[0], "it ended, so its ports are free again"


def test_a_port_on_which_somebody_listens_is_not_chosen() -> None:
    with socket.create_server(("127.0.0.1", FIRST)):
        assert {ports.any_free() for _ in range(COUNT - 1)} == set(range(FIRST + 1, FIRST + COUNT))
        with pytest.raises(Unavailable):
            ports.any_free()


def test_a_process_that_chooses_for_ever_gives_back_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_MOST_KEPT", 2)
    chosen = [ports.any_free() for _ in range(COUNT * 3)]
    assert len(ports._kept) == 2
    assert all(one != two for one, two in pairwise(chosen))
