"""`tenure user` and `tenure apikey`: who may sign in and which programs may call."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from tenure.accounts import passwords
from tenure.accounts.api_keys import create_api_key
from tenure.accounts.principal import Role
from tenure.accounts.users import create_user
from tenure.audit.record import CLI, record
from tenure.cli.options import data_dir_option, json_option, load_settings, open_database, print_json

_ROLES = click.Choice([role.value for role in Role])


@click.group()
def user() -> None:
    """People who sign in to the console."""


@user.command("add")
@click.argument("email")
@click.option("--role", type=_ROLES, required=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input's first line.")
@data_dir_option
@json_option
def add(email: str, role: str, *, password_stdin: bool, data_dir: Path | None, as_json: bool) -> None:
    """Add a user; without --password-stdin a password is made and shown once."""
    given = sys.stdin.readline().rstrip("\r\n") if password_stdin else None
    password = passwords.generated() if given is None else given
    password_hash = passwords.hashed(password)
    db = open_database(load_settings(data_dir))
    with db.transaction() as session:
        made = create_user(session, email=email, password_hash=password_hash, role=Role(role))
        record(
            session,
            actor=CLI,
            action="user.created",
            object_=made["id"],
            after={"email": made["email"], "role": role},
        )
    result: dict[str, Any] = {"id": made["id"], "email": made["email"], "role": made["role"]}
    if given is None:
        result["password"] = password
    if as_json:
        print_json(result)
        return
    click.echo(f"{made['email']} ({made['role']}) added")
    if given is None:
        click.echo(f"password, shown once: {password}")


@click.group()
def apikey() -> None:
    """Keys for programs that call the API."""


@apikey.command("create")
@click.argument("name")
@click.option("--role", type=_ROLES, required=True)
@data_dir_option
@json_option
def create(name: str, role: str, *, data_dir: Path | None, as_json: bool) -> None:
    """Make an API key; it is shown once."""
    db = open_database(load_settings(data_dir))
    with db.transaction() as session:
        made = create_api_key(session, name=name, role=Role(role), created_by=CLI.name)
        record(
            session,
            actor=CLI,
            action="api_key.created",
            object_=made["id"],
            after={"name": made["name"], "role": role},
        )
    if as_json:
        print_json({"id": made["id"], "key": made["key"], "role": made["role"]})
        return
    click.echo(f"key of {made['name']} ({made['role']}), shown once: {made['key']}")
