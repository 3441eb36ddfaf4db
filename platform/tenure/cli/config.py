"""`tenure config show|check`: the settings as they are in force, secrets masked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from pydantic import SecretStr

from tenure.cli.options import data_dir_option, json_option, load_settings, print_json
from tenure.iterations.catalog import catalog
from tenure.kit.url_secrets import without_secrets


@click.group()
def config() -> None:
    """Show or check the settings."""


@config.command()
@data_dir_option
@json_option
def show(data_dir: Path | None, as_json: bool) -> None:
    """Show every setting; secrets are shown as set or unset only."""
    settings = load_settings(data_dir)
    values = {
        f"TENURE_{name.upper()}": _shown(value) for name, value in settings.model_dump(mode="python").items()
    }
    if as_json:
        print_json(values)
        return
    for name, value in values.items():
        click.echo(f"{name}={value if value is not None else ''}")


@config.command()
@data_dir_option
def check(data_dir: Path | None) -> None:
    """Check the settings; exit 2 and list every problem if there are any."""
    settings = load_settings(data_dir)
    catalog(settings)
    click.echo("the settings are valid")


def _shown(value: Any) -> Any:
    match value:
        case SecretStr():
            return "(set)"
        case dict():
            return {key: _shown(part) for key, part in value.items()}
        case list() | tuple():
            return [_shown(part) for part in value]
        case bool() | int() | float() | None:
            return value
        case str() if "://" in value:
            return without_secrets(value)
        case _:
            return str(value)
