"""`tenure up`, `down`, `status`, `logs`: one stack on this machine."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

import click

from tenure.cli.options import json_option, print_json, print_table
from tenure.cli.stack_view import ConsoleView
from tenure.embedded.folder import StackFolder
from tenure.errors import NotFound, Unavailable
from tenure.kit import clock

_ORDERLY_S: Final = 75.0
_HARD_S: Final = 20.0
_REQUESTS: Final = ((signal.SIGTERM, _ORDERLY_S), (signal.SIGTERM, _HARD_S), (signal.SIGKILL, _HARD_S))
_POLL_S: Final = 0.2
_COLUMNS: Final = ("name", "pid", "state", "restarts", "reason")

_data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="TENURE_DATA_DIR",
    default=".tenure",
    show_default=True,
    help="Where the stack keeps everything.",
)


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65_535), default=8080, show_default=True, help="For the browser."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@_data_dir
@click.option(
    "--demo/--no-demo", default=None, help="With stand-ins and data [default: in development only]."
)
@click.option("--detach", is_flag=True, help="Return when it is ready; it goes on in the background.")
@click.option("--report-to", type=int, hidden=True)
def up(
    *, port: int, host: str, data_dir: Path, demo: bool | None, detach: bool, report_to: int | None
) -> int:
    """Start everything: servers, migrations, roles. Ctrl-C stops it in order, twice at once."""
    from tenure.cli import stack_up

    options = stack_up.UpOptions(host, port, data_dir.absolute(), demo)
    if report_to is not None:
        return stack_up.serve_reporting_to(options, report_to)
    if detach:
        return stack_up.launch(options)
    return stack_up.serve(options, ConsoleView())


@click.command()
@_data_dir
def down(data_dir: Path) -> int:
    """Stop the stack in order, and whatever a killed one left."""
    folder = StackFolder(data_dir)
    if not folder.is_running():
        swept = folder.sweep()
        left = f"; ended {swept} processes that one had left" if swept else ""
        click.echo(f"no stack runs in {folder.path}{left}")
        return 0
    supervisor = folder.supervisor()
    for signum, patience in _REQUESTS:
        if supervisor is not None:
            with suppress(ProcessLookupError):
                os.kill(supervisor.pid, signum)
        if _within(patience, lambda: folder.is_running() or (supervisor is not None and supervisor.alive)):
            folder.sweep()
            click.echo("stopped")
            return 0
        click.echo("it takes long; ending it harder", err=True)
    raise Unavailable(f"the stack in {folder.path} does not stop")


def _within(seconds: float, goes_on: Callable[[], bool]) -> bool:
    """Whether it came to its end in time."""
    deadline = clock.monotonic() + seconds
    while goes_on():
        if clock.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


@click.command()
@click.argument("role", required=False)
@click.option(
    "--port", type=click.IntRange(1, 65_535), help="Where ROLE listens, if no stack of `up` runs here."
)
@_data_dir
@json_option
def status(*, role: str | None, port: int | None, data_dir: Path, as_json: bool) -> int:
    """What runs and where. Exit code 0 when all is ready, else 1.

    With ROLE: that role alone, also where it was started by something else than `up` (a container, systemd).
    """
    found = _status(StackFolder(data_dir))
    if role is not None:
        return _show_role(_role(found, role, data_dir, port), as_json=as_json)
    if as_json:
        print_json(found)
        return 0 if found["ready"] else 1
    verdict = "ready" if found["ready"] else "not ready"
    click.echo(f"{verdict}  {found['url'] or 'no stack runs'}  {found['data_dir']}")
    rows = [[one[column] for column in _COLUMNS] for one in found["roles"]]
    print_table(_COLUMNS, rows, empty="")
    for name, address in found["urls"].items():
        click.echo(f"{name:<14}{address}")
    return 0 if found["ready"] else 1


def _role(found: dict[str, Any], name: str, data_dir: Path, port: int | None) -> dict[str, Any]:
    from tenure.cli import role_health

    if found["url"] is None:
        return role_health.ask(name, data_dir=data_dir, port=port)
    known = {role["name"]: role for role in found["roles"]}
    if name not in known:
        raise NotFound(f"there is no role {name!r}; there are: {', '.join(known)}")
    role: dict[str, Any] = known[name]
    return role


def _show_role(role: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        print_json(role)
    else:
        print_table(_COLUMNS, [[role[column] for column in _COLUMNS]], empty="")
    return 0 if role["state"] == "ready" else 1


def _status(folder: StackFolder) -> dict[str, Any]:
    running = folder.is_running()
    stack = folder.read_stack() if running else {}
    state = folder.read_state()
    roles = [
        {
            "name": role["name"],
            "pid": role["pid"] if running else None,
            "state": role["state"] if running else "stopped",
            "restarts": role["restarts"],
            "reason": role.get("reason"),
        }
        for role in state.get("roles", [])
    ]
    return {
        "ready": running and bool(state.get("ready")),
        "url": stack.get("url"),
        "data_dir": str(folder.path),
        "roles": roles,
        "urls": stack.get("urls", {}),
    }


@click.command()
@click.argument("role", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written.")
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=100, show_default=True, help="How many of the last."
)
@_data_dir
def logs(*, role: str | None, follow: bool, lines: int, data_dir: Path) -> None:
    """The roles' logs, one JSON object a line, oldest first."""
    folder = StackFolder(data_dir)
    known = {path.stem: path for path in sorted(folder.logs.glob("*.log"))}
    if role is not None and role not in known:
        raise NotFound(f"there is no log of {role!r}; there are: {', '.join(known) or 'none yet'}")
    paths = [known[role]] if role else list(known.values())
    last = [line for path in paths for line in _last(path, lines)]
    for line in sorted(last, key=_written_at)[-lines:] if lines else ():
        click.echo(line)
    if follow:
        for line in _new_lines(paths):
            click.echo(line)


def _last(path: Path, count: int) -> Sequence[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in file][-count:] if count else []


def _written_at(line: str) -> str:
    try:
        return str(json.loads(line)["ts"])
    except (ValueError, KeyError, TypeError):
        return ""


def _new_lines(paths: Sequence[Path]) -> Iterator[str]:
    """Lines as they come, also after a file was turned over."""
    files: dict[Path, IO[str]] = {}
    for path in paths:
        files[path] = path.open(encoding="utf-8", errors="replace")
        files[path].seek(0, os.SEEK_END)
    while True:
        quiet = True
        for path, file in files.items():
            while line := file.readline():
                quiet = False
                yield line.rstrip("\n")
            if _was_turned_over(path, file):
                file.close()
                files[path] = path.open(encoding="utf-8", errors="replace")
                quiet = False
        if quiet:
            time.sleep(_POLL_S)


def _was_turned_over(path: Path, file: IO[str]) -> bool:
    try:
        return path.stat().st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:  # between the two steps of the turn-over
        return False
