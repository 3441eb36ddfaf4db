"""`tenure keys`: the ring of signing keys."""

from __future__ import annotations

from pathlib import Path

import click

from tenure.audit.record import CLI
from tenure.cli.options import (
    data_dir_option,
    json_option,
    load_settings,
    open_database,
    print_json,
    print_table,
)
from tenure.keys import rotate as keys_rotate


@click.group()
def keys() -> None:
    """The keys that sign tokens and seal secrets."""


@keys.command("list")
@data_dir_option
@json_option
def list_(data_dir: Path | None, *, as_json: bool) -> None:
    """The keys by name, never the keys themselves."""
    with open_database(load_settings(data_dir)).transaction() as session:
        items = keys_rotate.list_keys(session)
    if as_json:
        print_json({"items": items})
        return
    columns = ["kid", "state", "created_at", "accepted_until"]
    print_table(columns, [[item[column] for column in columns] for item in items], empty="there is no key")


@keys.command("rotate")
@data_dir_option
@json_option
def rotate(data_dir: Path | None, *, as_json: bool) -> int:
    """Sign with a new key from now on, and seal all kept secrets with it.

    Tokens of the key before are believed for 15 more minutes; sessions that are used in that time go on. To
    change TENURE_SECRET_KEY itself, start everything with the new one and the old one in
    TENURE_SECRET_KEY_PREVIOUS, run this, and take the old one away. Exit 1 if a secret could not be opened.
    """
    settings = load_settings(data_dir)
    with open_database(settings).transaction() as session:
        done = keys_rotate.rotate_keys(session, settings, actor=CLI)
    if as_json:
        print_json({"kid": done.kid, "resealed": done.resealed, "unreadable": done.unreadable})
    else:
        click.echo(f"{done.kid} signs from now on; {done.resealed} secrets were sealed anew")
        if done.unreadable:
            click.echo(f"{done.unreadable} secrets cannot be opened: is TENURE_SECRET_KEY_PREVIOUS missing?")
    return 1 if done.unreadable else 0
