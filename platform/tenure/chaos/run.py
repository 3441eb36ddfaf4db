"""One run: start a throw-away stack, work on it, strike, heal, wait for rest, check, tell."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tenure.chaos import throwaway
from tenure.chaos.check import Checked, check
from tenure.chaos.field import Field
from tenure.chaos.finding import Finding
from tenure.chaos.history import History, summary
from tenure.chaos.mount import NotPermitted
from tenure.chaos.plan import Step, plan
from tenure.chaos.quiet import Rest, until_quiet
from tenure.chaos.storms import Storm
from tenure.chaos.throwaway import Stack
from tenure.chaos.transcript import contradictions, repeated
from tenure.chaos.workload.listener import CHANNELS, Listener
from tenure.chaos.workload.load import Workload
from tenure.kit import clock
from tenure.kit.db import StatementDoor

# Waited for longer than it may take, so that the evidence can say how long it took.
_PATIENCE_S: Final = 120.0
_CAUGHT_UP_S: Final = 30.0
_LOG: Final = """
SELECT s.seq, e.id, e.type, e.iteration_id FROM event_seq s JOIN event e ON e.id = s.event_id
WHERE %(channel)s = ANY(e.channels) ORDER BY s.seq
"""


@dataclass(frozen=True, slots=True)
class Options:
    """How a run is made: its seed, the number of strikes, and the time that healing may take."""

    seed: int
    times: int | None = None
    heal_within_s: float = 30.0
    keep: Path | None = None


def run(storm: Storm, options: Options, note: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """The evidence of one run; its stack is gone. Call from the main thread.

    `{run, seed, ok, skipped, duration_s, heal_s, faults, operations, invariants, findings}`
    A run that this machine cannot carry out is `skipped` with the reason, and `ok`.
    """
    try:
        return _run(storm, options, note)
    except NotPermitted as error:
        note(f"SKIPPED: {error.message}")
        return {"run": storm.name, "seed": options.seed, "ok": True, "skipped": error.message, "findings": []}


def _run(storm: Storm, options: Options, note: Callable[[str], None]) -> dict[str, Any]:
    began = clock.monotonic()
    steps = plan(options.seed, storm.mix, times=options.times or storm.times, gap_s=storm.gap_s)
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    history = History(options.keep / "history.jsonl" if options.keep else None)
    with storm.ground() as (recipe, proxies), throwaway.stack(recipe, keep=options.keep, note=note) as stack:
        dice = random.Random(f"{options.seed}:{storm.name}")  # noqa: S311 - a plan, not a secret
        field = Field(stack, history, dice, note, proxies)
        workload = Workload(stack, history, seed=options.seed, measure=storm.measure)
        workload.start()
        _strike(storm, steps, field)
        checked, rest = _healed(stack, workload, history, options, note)
    findings = [*_unproved(field), *checked.findings]
    return {
        "run": storm.name,
        "seed": options.seed,
        "ok": not findings,
        "skipped": None,
        "duration_s": round(clock.monotonic() - began, 1),
        "heal_s": rest.took_s,
        "heal_path": [{"at_s": at, "owed": owed} for at, owed in rest.path],
        "faults": [strike.as_dict() for strike in field.strikes],
        "operations": summary(history.entries),
        "quarantines_lifted": workload.operator.lifted,
        "listeners": [_heard(one) for one in workload.listeners],
        "invariants": list(checked.invariants),
        "findings": [finding.as_dict() for finding in findings],
    }


def _strike(storm: Storm, steps: Sequence[Step], field: Field) -> None:
    with field.healing:
        for step in (*storm.first, *steps):
            field.wait(step.after_s)
            storm.strikes[step.fault](field, step)


def _healed(
    stack: Stack, workload: Workload, history: History, options: Options, note: Callable[[str], None]
) -> tuple[Checked, Rest]:
    note("healing")
    workload.stop()
    rest = until_quiet(stack, within_s=max(_PATIENCE_S, options.heal_within_s))
    found = []
    if rest.left:
        found.append(Finding("heal", "never", f"after {rest.took_s:.0f} s still owed: {rest.left}"))
    elif rest.took_s > options.heal_within_s:
        found.append(Finding("heal", "late", f"{rest.took_s} s, more than {options.heal_within_s:g} s"))
    note(f"not at rest: {rest.left}; checking" if rest.left else f"at rest after {rest.took_s} s; checking")
    found += _transcripts(stack, workload, options.keep)
    checked = check(stack, history.entries)
    return Checked(checked.invariants, (*found, *checked.findings)), rest


def _transcripts(stack: Stack, workload: Workload, keep: Path | None) -> list[Finding]:
    """Live clients hear of everything up to now, and their transcripts are the log."""
    found: list[Finding] = []
    with closing(
        StatementDoor(stack.database_url, application="tenure-chaos", statement_timeout_s=60)
    ) as door:
        logs = {channel: door.run(_LOG, {"channel": channel}) for channel in CHANNELS}
    for listener in workload.listeners:
        found += _behind(listener, logs)
    workload.finish()
    if keep is not None:
        for listener in workload.listeners:
            _save(listener, keep / f"{listener.name}.jsonl")
    # What happened while they caught up belongs to the log as well.
    with closing(
        StatementDoor(stack.database_url, application="tenure-chaos", statement_timeout_s=60)
    ) as door:
        logs = {channel: door.run(_LOG, {"channel": channel}) for channel in CHANNELS}
    for listener in workload.listeners:
        for channel, notes in listener.notes.items():
            found += contradictions(listener.name, channel, notes, logs[channel])
    return found


def _save(listener: Listener, file: Path) -> None:
    with file.open("w", encoding="utf-8") as lines:
        for channel, notes in listener.notes.items():
            lines.writelines(json.dumps({"channel": channel, **asdict(note)}) + "\n" for note in notes)


def _behind(listener: Listener, logs: dict[str, list[dict[str, Any]]]) -> list[Finding]:
    behind = listener.behind(logs, within_s=_CAUGHT_UP_S)
    return [
        Finding("live.behind", f"{listener.name} {channel}", f"heard up to {at} of {end}")
        for channel, (at, end) in behind.items()
    ]


def _heard(listener: Listener) -> dict[str, Any]:
    return {
        "name": listener.name,
        "connections": listener.connections,
        "events": {channel: len(notes) for channel, notes in listener.notes.items()},
        "told_again": sum(repeated(notes) for notes in listener.notes.values()),
    }


def _unproved(field: Field) -> list[Finding]:
    return [
        Finding("fault", f"{strike.fault} {strike.target}", f"did not happen: {dict(strike.proof)}")
        for strike in field.strikes
        if not strike.happened
    ]
