"""What `up` tells while it starts a stack: to a person, or through a pipe to the command that waits."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import click

from tenure.errors import TenureError
from tenure.kit import clock


@dataclass(frozen=True, slots=True)
class Ready:
    """What a person needs when the stack is ready; the login only when it was made just now."""

    url: str
    urls: Mapping[str, str]
    logs: str
    login: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no stack: the command's exit code, a sentence, and the end of the log that tells more."""

    exit_code: int
    message: str
    tail: Sequence[str] = field(default_factory=tuple)


class View(Protocol):
    """Who listens to a stack being started."""

    def note(self, text: str) -> None: ...

    def roles(self, roles: Sequence[Mapping[str, Any]]) -> None: ...

    def ready(self, ready: Ready) -> None: ...

    def failed(self, failure: Failure) -> None: ...


class ConsoleView:
    """Lines for a person: each role when its state changes, then the table of addresses."""

    def __init__(self) -> None:
        """Time is counted from here."""
        self._began = clock.monotonic()
        self._seen: dict[str, tuple[str, int]] = {}
        self._is_ready = False

    def note(self, text: str) -> None:
        click.echo(f"  {text}")

    def roles(self, roles: Sequence[Mapping[str, Any]]) -> None:
        for role in roles:
            now = (role["state"], role["restarts"])
            if self._seen.get(role["name"]) == now:
                continue
            self._seen[role["name"]] = now
            self._tell(role["name"], *now)

    def ready(self, ready: Ready) -> None:
        self._is_ready = True
        rows = [
            ("console", f"{ready.url}/"),
            ("API", f"{ready.url}/api/v1/docs"),
            *sorted(ready.urls.items()),
            ("logs", ready.logs),
        ]
        click.echo()
        for name, address in rows:
            click.echo(f"  {name:<14}{address}")
        if ready.login:
            email, password = ready.login
            click.echo(f"\n  first admin   {email}\n  password      {password}   (shown only now)")
        click.echo(f"\nREADY {ready.url}")

    def failed(self, failure: Failure) -> None:
        click.echo(f"tenure: {failure.message}", err=True)
        for line in failure.tail:
            click.echo(f"  {line}", err=True)

    def _tell(self, name: str, state: str, restarts: int) -> None:
        after = f"{clock.monotonic() - self._began:5.1f} s"
        if state == "restarting":
            click.secho(f"  {name:<16} ended; starting it again ({restarts} restarts)", fg="red")
        elif state == "stopped":
            click.echo(f"  {name:<16} stopped")
        elif state == "ready":
            click.echo(f"  {name:<16} {click.style('ready', fg='green')} {after}")


class PipeView:
    """The same as JSON lines into a pipe, until the last word; a reader that has gone is no problem."""

    def __init__(self, descriptor: int) -> None:
        """Takes the descriptor over."""
        self._pipe: int | None = descriptor

    def note(self, text: str) -> None:
        self._say({"kind": "note", "text": text})

    def roles(self, roles: Sequence[Mapping[str, Any]]) -> None:
        self._say({"kind": "roles", "roles": list(roles)})

    def ready(self, ready: Ready) -> None:
        self._say({"kind": "ready", **asdict(ready)})
        self._close()

    def failed(self, failure: Failure) -> None:
        self._say({"kind": "failed", **asdict(failure)})
        self._close()

    def _say(self, document: Mapping[str, Any]) -> None:
        if self._pipe is None:
            return
        try:
            os.write(self._pipe, json.dumps(document).encode() + b"\n")
        except BrokenPipeError:  # the command that waited was interrupted; the stack is told by a signal
            self._close()

    def _close(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


def relay_line(line: str, view: View) -> Ready | Failure | None:
    """Show one line of a PipeView to another view; returns the last word when this was it."""
    document = json.loads(line)
    kind = document.pop("kind")
    if kind == "note":
        view.note(document["text"])
    elif kind == "roles":
        view.roles(document["roles"])
    elif kind == "ready":
        login = document.pop("login")
        ready = Ready(**document, login=(login[0], login[1]) if login else None)
        view.ready(ready)
        return ready
    else:
        failure = Failure(**document)
        view.failed(failure)
        return failure
    return None


def as_failure(error: TenureError) -> Failure:
    """An error of ours as the last word."""
    return Failure(error.exit_code, error.message, tuple(getattr(error, "tail", ())))
