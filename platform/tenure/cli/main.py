"""The `tenure` command: finds commands lazily, turns errors into one line and an exit code.

Exit codes: 0 done; 1 checked and found wanting; 2 usage or settings; 3 a needed service is unavailable;
4 conflict; 130 interrupted. `--debug` shows tracebacks.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

import click

from tenure import __version__
from tenure.errors import Invalid, TenureError
from tenure.kit.logging import masked

# Command -> module and attribute: imported only when asked for, so that `--help` stays quick.
_COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "up": ("tenure.cli.stack", "up"),
    "down": ("tenure.cli.stack", "down"),
    "status": ("tenure.cli.stack", "status"),
    "logs": ("tenure.cli.stack", "logs"),
    "queues": ("tenure.cli.queues", "queues_"),
    "migrate": ("tenure.cli.database", "migrate"),
    "doctor": ("tenure.cli.doctor", "doctor"),
    "verify": ("tenure.cli.verify", "verify"),
    "config": ("tenure.cli.config", "config"),
    "user": ("tenure.cli.accounts", "user"),
    "apikey": ("tenure.cli.accounts", "apikey"),
    "keys": ("tenure.cli.keys", "keys"),
    "import": ("tenure.cli.transfer", "import_"),
    "export": ("tenure.cli.transfer", "export"),
    "jobs": ("tenure.cli.runs", "jobs"),
    "run": ("tenure.cli.runs", "run"),
    "iterations": ("tenure.cli.runs", "iterations"),
    "schedule": ("tenure.cli.schedules", "schedule"),
    "slots": ("tenure.cli.runs", "slots_"),
    "scenario": ("tenure.cli.scenario", "scenario"),
    "soak": ("tenure.cli.soak", "soak"),
    "backup": ("tenure.cli.backup", "backup"),
    "restore": ("tenure.cli.backup", "restore"),
    "clock": ("tenure.cli.clock", "clock"),
    "relay": ("tenure.cli.relay", "relay"),
    "exporter": ("tenure.cli.roles", "exporter"),
    "demo": ("tenure.cli.demo", "demo"),
    "chaos": ("tenure.cli.chaos", "chaos"),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called or listed with their help."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, but an unknown command is answered with those that are like it."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:  # click looks at the imported ones, and none is
            raise click.exceptions.NoSuchCommand(args[0], possibilities=_COMMANDS, ctx=ctx) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tenure")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
def cli(debug: bool) -> None:
    """Tenure: subscriptions, payments, access, and proof of what ran."""


def main() -> None:
    """Run the command line and exit with the code that the contract names."""
    sys.exit(_exit_code(sys.argv[1:]))


def _exit_code(arguments: list[str]) -> int:
    try:
        result: Any = cli.main(args=arguments, prog_name="tenure", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except TenureError as error:
        if "--debug" in arguments:
            raise
        _show(error)
        return error.exit_code
    return result if isinstance(result, int) else 0


def _show(error: TenureError) -> None:
    click.echo(f"tenure: {masked(error.message)}", err=True)
    if isinstance(error, Invalid):
        for problem in error.errors:
            if problem.message not in error.message:
                click.echo(f"  {problem.field}: {masked(problem.message)}", err=True)
