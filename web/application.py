"""Puts the application together: services, limits, routes, pages, live layer."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, Final

from flask_openapi.models.info import Info
from flask_openapi.models.security_scheme import SecurityScheme
from flask_openapi.openapi import OpenAPI

import web.api
from tenure import __version__
from tenure import settings as settings_module
from tenure.accounts.tokens import Tokens
from tenure.keys.live_ring import LiveRing
from tenure.kit import crash
from tenure.kit.db import Database, StatementDoor
from tenure.kit.error_reports import report_errors
from tenure.kit.logging import get_logger, mask_in_logs
from tenure.kit.valkey import connect
from tenure.settings import Settings
from web import docs, envelope, flower, pages, probes, problem, route
from web import services as services_module
from web.body import LARGEST
from web.limits import Gate
from web.live import endpoint
from web.live.gevent_driver import GeventDriver
from web.live.hub import Hub
from web.offload import is_gevent
from web.services import VALKEY_S, Services

log = get_logger(__name__)
_DESCRIPTION: Final = (
    "Send `Authorization: Bearer` with an access token or an API key. Errors are RFC 9457 problems. "
    "Where an answer has an `ETag`, `If-Match` changes a thing only if nobody else did meanwhile (else 412)."
)


class Application(OpenAPI):
    """Flask with the OpenAPI document."""


def create_app(settings: Settings | None = None) -> Application:
    """The application for these settings, or for those of the environment and the running stack."""
    settings = settings or settings_module.load()
    mask_in_logs(settings.secrets())
    report_errors(settings.sentry_dsn, environment=settings.env)
    crash.arm(settings.crash_at, settings.data_dir, role="web")
    app = Application(
        "web",
        info=Info(title="Tenure", version=__version__, description=_DESCRIPTION),
        security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer")},
        doc_ui=False,
        static_folder=None,
    )
    app.openapi_version = "3.1.0"
    app.config["MAX_CONTENT_LENGTH"] = LARGEST
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.json.compact = True  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False
    made = _services(settings)
    services_module.install(app, made)
    problem.install(app)
    envelope.install(app, made)
    made.gate.install(app)
    for module in _api_modules():
        route.install(app, module.routes)
    docs.install(app)
    _install_edges(app, made)
    log.info("db.pool", max_size=settings.db_pool_max_size)
    return app


def _services(settings: Settings) -> Services:
    db = Database(
        settings.require_database_url(), pool_size=settings.db_pool_max_size, application="tenure-web"
    )
    keys = LiveRing(settings, db)
    return Services(
        settings=settings,
        db=db,
        keys=keys,
        live=connect(settings.require_live_url(), timeout_s=VALKEY_S),
        broker=connect(settings.require_broker_url(), timeout_s=VALKEY_S),
        door=StatementDoor(settings.require_database_url(), application="tenure-web-slots"),
        tokens=Tokens(keys),
        gate=Gate(settings),
    )


def _api_modules() -> list[Any]:
    names = sorted(found.name for found in pkgutil.iter_modules(web.api.__path__))
    modules = [importlib.import_module(f"web.api.{name}") for name in names]
    return [module for module in modules if hasattr(module, "routes")]


def _install_edges(app: Application, made: Services) -> None:
    if is_gevent():
        made.hub = Hub(made, GeventDriver())  # only a loop can own sockets; elsewhere /ws answers 503
    endpoint.install(app, made)
    flower.install(app, made)
    probes.install(app, made)
    pages.install(app)
