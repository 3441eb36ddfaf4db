"""Fixtures that several files share: a node with its ledger door, and a running web process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tenure.accounts.api_keys import create_api_key
from tenure.accounts.principal import Principal, Role
from tenure.embedded.postgres import Postgres
from tenure.embedded.valkey import Valkey
from tenure.iterations.node import Node
from tenure.kit.db import StatementDoor
from tenure.settings import load
from tests.support import hubs, services
from tests.support import web as web_support

if TYPE_CHECKING:
    from web.services import Services


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


def _empty(server: Valkey, *numbers: int) -> None:
    """What another module published there was of another database, and of later places in its order."""
    for number in numbers:
        with closing(server.connect(number)) as client:
            client.flushdb()


@pytest.fixture(scope="module")
def web(
    postgres: Postgres,
    template_database: str,
    valkey_server: Valkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[web_support.Web]:
    """A web process of this module's own, with a database of its own; limits are off."""
    folder: Path = tmp_path_factory.mktemp("web")
    _empty(valkey_server, 5, 6)
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


@pytest.fixture(scope="module")
def web_services(
    postgres: Postgres,
    template_database: str,
    valkey_server: Valkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Services]:
    """What a web process holds, in this one; open sockets are not limited."""
    _empty(valkey_server, 5, 6)
    with (
        services.fresh_database(postgres, template=template_database) as database_url,
        pytest.MonkeyPatch.context() as patch,
    ):
        given = {
            "TENURE_DATABASE_URL": database_url,
            "TENURE_BROKER_URL": valkey_server.url(5),
            "TENURE_LIVE_URL": valkey_server.url(6),
            "TENURE_DATA_DIR": str(tmp_path_factory.mktemp("hub")),
            "TENURE_SECRET_KEY": "a key for tests that is long enough",
            "TENURE_LIMITS": '{"ws_open_per_address": 0, "ws_open_per_user": 0}',
        }
        for name, value in given.items():
            patch.setenv(name, value)  # the tasks' package reads its settings when it is imported
        from web import application

        # What a request waits for Valkey at most; no test that is given this is about a machine that stalls.
        patch.setattr(application, "VALKEY_S", 30.0)
        made = application._services(load(services.environment(**given)))
        yield made
        made.db.close()
        made.door.close()
        made.live.close()
        made.broker.close()


@pytest.fixture(scope="module")
def who(web_services: Services) -> dict[Role, Principal]:
    """A principal of each role that the record knows."""
    with web_services.db.transaction() as session:
        made = {role: create_api_key(session, name=role, role=role, created_by="test") for role in Role}
    return {role: Principal("key", one["id"], role, role) for role, one in made.items()}


@pytest.fixture(params=["gevent", "threads"])
def stage(
    request: pytest.FixtureRequest, web_services: Services, who: dict[Role, Principal]
) -> Iterator[hubs.Stage]:
    """A hub in this process, on each of its two loops."""
    with hubs.staged(web_services, who, request.param) as made:
        yield made
