"""Write `docs/reference/` and the console's types from the code: `python docs/generate.py`.

`--check` only compares; a test runs it, so the reference cannot differ from what the code does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import live_messages

from tenure.chaos.storms import STORMS
from tenure.cli.main import cli
from tenure.iterations.catalog import catalog
from tenure.settings import Limits, Settings

REFERENCE = Path(__file__).resolve().parent / "reference"
CONSOLE = Path(__file__).resolve().parents[1] / "web" / "console" / "src"
NOTE = "<!-- Written by docs/generate.py from the code; change the code instead. -->\n\n"


def settings() -> str:
    """Every setting with its default."""
    rows = [
        f"| `TENURE_{name.upper()}` | {_default(field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    limits = [f"| `{name}` | {field.default} |" for name, field in Limits.model_fields.items()]
    return (
        f"# Settings\n\n{NOTE}"
        "Settings are environment variables. `NAME_FILE` reads a value from a file; booleans are "
        "`1`, `0`, `true` or `false`; a misspelt `TENURE_*` name is an error, and all problems are told at "
        "once.\n\n| name | default | what it is |\n|---|---|---|\n" + "\n".join(rows) + "\n\n"
        "## Limits\n\nThe keys of `TENURE_LIMITS`; 0 turns one off.\n\n| key | default |\n|---|---|\n"
        + "\n".join(limits)
        + "\n"
    )


def _default(field: Any) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), {}):
        return "unset"
    return "see below" if isinstance(value, Limits) else f"`{value}`"


def jobs() -> str:
    """The catalog of jobs."""
    rows = [
        f"| `{job.name}` | {job.title} | {f'{job.every_s:g} s' if job.every_s else 'on request'} "
        f"| {job.soft_s:g} s | {job.hard_s:g} s | `{job.queue}` "
        f"| {'internal' if job.internal else 'development' if job.development_only else ''} |"
        for job in catalog(Settings()).values()
    ]
    return (
        f"# Jobs\n\n{NOTE}| job | what it does | every | soft limit | hard limit | queue | |\n"
        "|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def commands() -> str:
    """The help of every command."""
    parts = [f"# Commands\n\n{NOTE}"]
    for path, command in _all(cli, "tenure"):
        context = click.Context(command, info_name=path, terminal_width=100, max_content_width=100)
        parts.append(f"## `{path}`\n\n```\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def _all(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                yield from _all(child, f"{path} {name}")


def live() -> str:
    """The messages and close codes of the WebSocket."""
    return f"# The live layer's messages\n\n{NOTE}{live_messages.page()}"


def chaos() -> str:
    """The runs of chaos with their faults, and how each fault proves itself."""
    parts = [f"# Chaos\n\n{NOTE}`tenure chaos RUN --seed N`: see [Prove it yourself](../howto/chaos.md).\n"]
    for storm in STORMS.values():
        faults = [(step.fault, step.targets) for step in storm.first]
        faults += [(choice.fault, choice.targets) for choice in storm.mix]
        rows = [
            f"| `{fault}` | {', '.join(f'`{target}`' for target in targets)} |" for fault, targets in faults
        ]
        parts.append(
            f"## `{storm.name}`\n\n{storm.title[0].upper()}{storm.title[1:]}. "
            f"{storm.times} strikes by default.\n\n| fault | on |\n|---|---|\n" + "\n".join(rows) + "\n"
        )
    proofs = sorted({(fault, _told(fault, act)) for s in STORMS.values() for fault, act in s.strikes.items()})
    rows = [f"| `{fault}` | {proof} |" for fault, proof in proofs]
    parts.append("## The faults\n\n| fault | what it does |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _told(fault: str, act: Callable[..., None]) -> str:
    """What the code says of the fault: in its module's list of titles, or in the function's first line."""
    titles: dict[str, str] = getattr(sys.modules[act.__module__], "TITLES", {})
    return titles.get(fault) or (act.__doc__ or "").strip().splitlines()[0].rstrip(".")


def main() -> int:
    """Write or compare; 1 when something differs."""
    stale = []
    made = {
        REFERENCE / "settings.md": settings,
        REFERENCE / "jobs.md": jobs,
        REFERENCE / "commands.md": commands,
        REFERENCE / "live.md": live,
        REFERENCE / "chaos.md": chaos,
        CONSOLE / "live" / "messages.gen.ts": live_messages.typescript,
    }
    for file, make in made.items():
        text = make()
        if not file.exists() or file.read_text() != text:
            stale.append(file.name)
            if "--check" not in sys.argv:
                file.write_text(text)
    if stale and "--check" in sys.argv:
        sys.stderr.write(f"differs from the code: {', '.join(stale)}; run `just docs`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
