"""Clients through kills and rolling restarts of web: nothing is missed and nothing comes twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenure.client import Client
from tenure.kit import clock
from tests.support.nodes import nodes
from tests.support.sizes import size, tell
from tests.support.stream import Log, account, crowd, writing
from tests.support.waiting import until
from tests.support.worker import Process

PER_SECOND = 5.0


@pytest.mark.timeout(7200)
def test_kills_of_web_lose_nothing_and_double_nothing(servers, relay: Process, tmp_path: Path):
    kills, count = size("kills", 3), size("clients", 200)
    with (
        nodes(tmp_path, **servers) as deployed,
        crowd(deployed, deployed.web.key("viewer"), count) as everybody,
    ):
        with writing(servers["database_url"], per_second=PER_SECOND) as writer:
            for _ in range(kills):
                before = everybody.connections()
                writer.await_more(5)
                deployed.kill(deployed.running[0])
                deployed.start()
                everybody.await_back(before)
        assert min(everybody.connections()) >= kills + 1
        log = Log(Client(deployed.url, api_key=deployed.web.key("viewer")))
        gaps = sum(account(one, writer.written, log) for one in everybody.followers)
    tell(f"{kills} kills, {count} clients, {writer.written} events: 0 missed, 0 doubled, {gaps} gaps told")


@pytest.mark.timeout(1800)
def test_rolling_restarts_lose_nothing_and_everybody_is_back_soon(servers, relay: Process, tmp_path: Path):
    rounds, count, back_s = 3, size("clients", 200), size("back_s", 60)
    took: list[float] = []
    with (
        nodes(tmp_path, **servers, count=2) as deployed,
        crowd(deployed, deployed.web.key("viewer"), count) as everybody,
    ):
        with writing(servers["database_url"], per_second=PER_SECOND) as writer:
            for _ in range(rounds):
                for node in list(deployed.running):
                    before, began = sum(everybody.connections()), clock.monotonic()
                    deployed.end(node)
                    # Somebody was on the node that ended; who has not noticed yet still says that it is open.
                    until(
                        lambda before=before: everybody.all_open() and sum(everybody.connections()) > before,  # type: ignore[misc]
                        back_s,
                        what="everybody is back",
                    )
                    took.append(clock.monotonic() - began)
                    assert node.lines("web.draining")
                    deployed.start()
        log = Log(Client(deployed.url, api_key=deployed.web.key("viewer")))
        gaps = sum(account(one, writer.written, log) for one in everybody.followers)
        assert min(everybody.connections()) > 1
    tell(
        f"{rounds} rolling restarts of 2 nodes, {count} clients, {writer.written} events: 0 missed, "
        f"0 doubled, {gaps} gaps told, all back within {max(took):.1f} s"
    )
