"""Fixtures that every test may use: real PostgreSQL and Valkey, started once per session.

They are started when the first test asks, and end with the session, also when pytest is killed.
Import nothing of `web` or `tasks` here: their import has effects (gevent, Celery) that unit tests must not
see.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tenure.embedded import postgres as embedded_postgres
from tenure.embedded import valkey as embedded_valkey
from tenure.kit.db import Database
from tests.support import services

# Files are dealt out to the processes in this order: a long one that comes last holds everybody up.
_LONGEST_FIRST: Final = ("acceptance", "mutants", "kill", "storm", "browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole stacks and storms first, then what is quick; within a folder as collected."""
    rank = {name: place for place, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.parent.name, len(rank)))


@pytest.fixture(scope="session")
def services_folder() -> Iterator[Path]:
    with services.session_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres(services_folder: Path) -> Iterator[embedded_postgres.Postgres]:
    """The session's PostgreSQL: `.url(dbname)` for any of its databases."""
    server = embedded_postgres.new_throw_away(services_folder)
    with embedded_postgres.running(server, log=services_folder / "postgres.log"):
        yield server


@pytest.fixture(scope="session")
def template_database(postgres: embedded_postgres.Postgres) -> str:
    """The name of a database migrated to head, to make others from. Nobody may stay connected to it."""
    services.create_database(postgres, services.TEMPLATE)
    services.migrate(postgres.url(services.TEMPLATE))
    return services.TEMPLATE


@pytest.fixture
def database_url(postgres: embedded_postgres.Postgres, template_database: str) -> Iterator[str]:
    """The URL of a migrated database that is this test's alone."""
    with services.fresh_database(postgres, template=template_database) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres: embedded_postgres.Postgres) -> Iterator[str]:
    """The URL of a database without any schema: for tests of the migrations."""
    with services.fresh_database(postgres) as url:
        yield url


@pytest.fixture(scope="session")
def valkey_server(services_folder: Path) -> Iterator[embedded_valkey.Valkey]:
    server = embedded_valkey.new_throw_away(services_folder / "valkey")
    with embedded_valkey.running(server, log=services_folder / "valkey.log"):
        yield server


def _flushed(server: embedded_valkey.Valkey, number: int) -> Iterator[str]:
    with closing(server.connect(number)) as client:
        client.flushdb()
        yield server.url(number)
        client.flushdb()


@pytest.fixture
def broker_url(valkey_server: embedded_valkey.Valkey) -> Iterator[str]:
    """The URL of an empty Valkey database for Celery."""
    yield from _flushed(valkey_server, 1)


@pytest.fixture
def live_url(valkey_server: embedded_valkey.Valkey) -> Iterator[str]:
    """The URL of an empty Valkey database for the live layer, breakers and limits."""
    yield from _flushed(valkey_server, 2)


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """A pool on this test's own database."""
    database = Database(database_url, pool_size=4, application="tenure-test")
    yield database
    database.close()
