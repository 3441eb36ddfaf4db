"""A database, two Valkeys' worth of room and a relay for each storm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure.embedded.postgres import Postgres
from tenure.embedded.valkey import Valkey
from tests.support import services, worker


@pytest.fixture
def servers(
    postgres: Postgres, template_database: str, valkey_server: Valkey, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """Where a storm's processes find their servers."""
    with services.fresh_database(postgres, template=template_database) as url:
        for number in (11, 12):
            client = valkey_server.connect(number)
            client.flushdb()
            client.close()
        yield {
            "database_url": url,
            "broker_url": valkey_server.url(11),
            "live_url": valkey_server.url(12),
        }


@pytest.fixture
def relay(servers: dict[str, str], tmp_path: Path) -> Iterator[worker.Process]:
    """A relay process."""
    env = worker.environment(
        servers["database_url"], servers["broker_url"], tmp_path, TENURE_LIVE_URL=servers["live_url"]
    )
    with worker.process(["tenure", "relay"], log=tmp_path / "relay.log", env=env) as running:
        yield running
