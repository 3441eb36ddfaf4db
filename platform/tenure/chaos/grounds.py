"""The ground of a run: what a stack stands on when its own servers are not enough."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from tenure.chaos.folder import own_folder
from tenure.chaos.proxy import Proxy
from tenure.chaos.throwaway import Recipe
from tenure.chaos.undisturbed import undisturbed
from tenure.embedded import ports, postgres, valkey
from tenure.embedded.valkey import Valkey

Ground = Callable[[], AbstractContextManager[tuple[Recipe, Mapping[str, Proxy]]]]
_HOST: Final = "127.0.0.1"


@contextmanager
def plain() -> Iterator[tuple[Recipe, Mapping[str, Proxy]]]:
    """A stack with servers of its own and nothing in between."""
    yield Recipe(), {}


def with_recipe(recipe: Recipe) -> Ground:
    """A stack by this recipe."""

    @contextmanager
    def ground() -> Iterator[tuple[Recipe, Mapping[str, Proxy]]]:
        yield recipe, {}

    return ground


@contextmanager
def behind_proxies() -> Iterator[tuple[Recipe, Mapping[str, Proxy]]]:
    """Servers of our own, each behind a proxy; the stack knows the proxies alone.

    The proxies are `database`, `broker` and `live`.
    """
    kept = ExitStack()
    try:
        folder = kept.enter_context(own_folder())
        database = kept.enter_context(
            postgres.running(postgres.new_throw_away(folder), log=folder / "postgres.log")
        )
        broker = Valkey.broker(folder / "broker", ports.any_free(), secrets.token_urlsafe(24))
        kept.enter_context(valkey.running(broker, log=folder / "broker.log"))
        live = valkey.new_throw_away(folder / "live")
        kept.enter_context(valkey.running(live, log=folder / "live.log"))
        proxies = {
            name: kept.enter_context(Proxy((_HOST, port)))
            for name, port in (("database", database.port), ("broker", broker.port), ("live", live.port))
        }
        env = {
            "TENURE_DATABASE_URL": replace(database, port=proxies["database"].port).url(),
            "TENURE_BROKER_URL": replace(broker, port=proxies["broker"].port).url(),
            "TENURE_LIVE_URL": replace(live, port=proxies["live"].port).url(),
        }
        yield Recipe(env=env, database_url=database.url()), proxies
    finally:
        with undisturbed():
            kept.close()
