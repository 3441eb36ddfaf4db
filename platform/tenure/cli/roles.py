"""`tenure exporter`: the resident role that serves the metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tenure import settings as settings_module
from tenure.cli.options import data_dir_option
from tenure.exporter.serve import serve
from tenure.kit.db import check_reachable
from tenure.kit.error_reports import report_errors
from tenure.kit.logging import configure_logging, mask_in_logs
from tenure.settings import STACK_FILE

_DEFAULT_PORT = 9464


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Default: the stack's, else 9464.")
@click.option("--host", default="127.0.0.1", show_default=True)
@data_dir_option
def exporter(port: int | None, host: str, data_dir: Path | None) -> None:
    """Serve /metrics until SIGTERM."""
    settings = settings_module.load(data_dir=data_dir)
    mask_in_logs(settings.secrets())
    configure_logging(role="exporter")
    report_errors(settings.sentry_dsn, environment=settings.env)
    check_reachable(settings.require_database_url())
    serve(settings, host=host, port=port or _stack_port(settings.data_dir) or _DEFAULT_PORT)


def _stack_port(data_dir: Path) -> int | None:
    try:
        stack: dict[str, Any] = json.loads((data_dir / STACK_FILE).read_text())
    except FileNotFoundError:
        return None
    port: int | None = stack.get("exporter", {}).get("port")
    return port
