"""Fixtures that several files share: a node with its ledger door, and a running web process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tenure.embedded.postgres import Postgres
from tenure.embedded.valkey import Valkey
from tenure.iterations.node import Node
from tenure.kit.db import StatementDoor
from tests.support import services
from tests.support import web as web_support


@pytest.fixture
def door(database_url: str) -> Iterator[StatementDoor]:
    """A ledger door of the test's own."""
    door = StatementDoor(database_url, application="tenure-test")
    yield door
    door.close()


@pytest.fixture
def node(database_url: str) -> Iterator[Node]:
    """A registered worker node with a minute's lease."""
    node = Node(role="worker", name="w", database_url=database_url, lease_s=60)
    node.register()
    yield node
    node.stop()


@pytest.fixture(scope="module")
def web(
    postgres: Postgres,
    template_database: str,
    valkey_server: Valkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[web_support.Web]:
    """A web process of this module's own, with a database of its own; limits are off."""
    folder: Path = tmp_path_factory.mktemp("web")
    for number in (5, 6):  # what another module published there was of another database
        with closing(valkey_server.connect(number)) as client:
            client.flushdb()
    with (
        services.fresh_database(postgres, template=template_database) as database_url,
        web_support.running(
            folder,
            database_url=database_url,
            broker_url=valkey_server.url(5),
            live_url=valkey_server.url(6),
        ) as running,
    ):
        yield running
