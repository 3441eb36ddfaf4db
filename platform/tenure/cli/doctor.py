"""`tenure doctor`: the environment, the servers, the schema, and the budget of connections."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import click
import redis
from sqlalchemy import text

from tenure.cli.database import PROJECT_ROOT
from tenure.cli.options import (
    data_dir_option,
    json_option,
    load_settings,
    open_database,
    print_json,
    print_table,
)
from tenure.embedded import budget, schema
from tenure.errors import TenureError, Unavailable
from tenure.kit.db import check_reachable
from tenure.kit.valkey import connect
from tenure.settings import Settings

Verdict = Literal["ok", "off", "failed"]
_LEAST_FREE_GIB: Final = 1
_GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    detail: str


@click.command()
@data_dir_option
@json_option
@click.pass_context
def doctor(context: click.Context, data_dir: Path | None, as_json: bool) -> None:
    """Look at everything Tenure stands on; exit 1 if something needs mending."""
    settings = load_settings(data_dir)
    found = list(_look(settings))
    healthy = all(finding.verdict != "failed" for finding in found)
    if as_json:
        print_json({"ok": healthy, "findings": [asdict(finding) for finding in found]})
    else:
        rows = [(finding.verdict, finding.what, finding.detail) for finding in found]
        print_table(["", "WHAT", "DETAIL"], rows, empty="")
    context.exit(0 if healthy else 1)


def _look(settings: Settings) -> Iterator[Finding]:
    yield Finding("python", "ok", platform.python_version())
    free = shutil.disk_usage(settings.data_dir if settings.data_dir.exists() else Path.cwd()).free / _GIB
    yield Finding("disk", "ok" if free > _LEAST_FREE_GIB else "failed", f"{free:.1f} GiB free")
    yield _tried("database", lambda: _database(settings))
    yield _tried("schema", lambda: _schema(settings))
    yield _tried("connections", lambda: _budget(settings))
    yield _tried("broker", lambda: _ping(settings.require_broker_url()))
    yield _tried("live", lambda: _ping(settings.require_live_url()))
    outside = {
        "provisioner": settings.provisioner_url,
        "mail": settings.smtp_url,
        "telegram": settings.telegram_token,
        "chains": ", ".join(chain.name for chain in settings.chains) or None,
    }
    for what, value in outside.items():
        yield Finding(what, "off" if value is None else "ok", "not set" if value is None else "set")


def _tried(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", look())
    except (TenureError, redis.RedisError) as error:
        said = (
            error.message if isinstance(error, TenureError) else f"does not answer ({type(error).__name__})"
        )
        return Finding(what, "failed", said)


def _database(settings: Settings) -> str:
    check_reachable(settings.require_database_url())
    with open_database(settings).transaction() as session:
        return f"PostgreSQL {session.execute(text('SHOW server_version')).scalar_one()}"


def _schema(settings: Settings) -> str:
    found = schema.of(settings.require_database_url(), PROJECT_ROOT / "alembic" / "versions")
    current, wanted = (", ".join(sorted(revisions)) for revisions in (found.current, found.wanted))
    if not found.is_at_head:
        raise Unavailable(f"at {current or 'nothing'}, the code wants {wanted}: run `tenure migrate`")
    return f"at head ({current})"


def _budget(settings: Settings) -> str:
    allowed = budget.allowed_by(settings.require_database_url())
    return f"{budget.check(settings, allowed)} of {allowed} at most"


def _ping(url: str) -> str:
    client = connect(url)
    try:
        client.ping()
        return "answers"
    finally:
        client.close()
