"""Run a soak: start a throw-away stack, let it work, let it come to rest, and go through the list."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from tenure.chaos.check import check
from tenure.chaos.history import History, summary
from tenure.chaos.quiet import Rest, until_quiet
from tenure.chaos.soak import rules
from tenure.chaos.soak.rules import Row, Trend
from tenure.chaos.soak.sampling import Sampler
from tenure.chaos.throwaway import Recipe, Stack
from tenure.chaos.throwaway import stack as throw_away
from tenure.chaos.workload.load import Measure, Workload
from tenure.kit import clock

# Steady, not heavy: what leaks does so at any pace, and nothing shall wait for the machine.
STEADY: Final = Measure(clients=2, pause_s=1.0, listeners=2, imports=40, clock_every_s=20.0)
_MOST_SAMPLES: Final = 200
_SHORTEST_STEP_S: Final = 2.0
_NOTE_EVERY_S: Final = 10.0
_REST_S: Final = 120.0
_LAST_ENDS_S: Final = 60.0
_UNAVAILABLE: Final = 503
_FIRST_OWN_ERROR: Final = 500
_TOO_MANY: Final = 429
_ALARMS: Final = ("WEBHOOK_HANDLER_TIMEOUT", "WORKER_TIMEOUT", "LIVENESS_CHECK_FAILED")


@dataclass(frozen=True, slots=True)
class Soaked:
    """The evidence of one soak."""

    minutes: float
    seed: int
    rows: tuple[Row, ...]
    processes: tuple[Trend, ...]
    operations: Mapping[str, Mapping[str, int]]

    @property
    def ok(self) -> bool:
        """Whether the list holds."""
        return all(row.ok for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """`{ok, minutes, seed, rows, processes, operations}`."""
        return {
            "ok": self.ok,
            "minutes": self.minutes,
            "seed": self.seed,
            "rows": [row.as_dict() for row in self.rows],
            "processes": [one.as_dict() for one in self.processes],
            "operations": self.operations,
        }


def soak(*, minutes: float, seed: int, note: Callable[[str], None] = lambda _: None) -> Soaked:
    """The evidence of so many minutes of work; the stack is gone. Call from the main thread."""
    duration_s = minutes * 60
    history = History()
    with throw_away(Recipe(), note=note) as stack:
        workload = Workload(stack, history, seed=seed, measure=STEADY)
        workload.start()
        sampler = Sampler(stack, every_s=max(_SHORTEST_STEP_S, duration_s / _MOST_SAMPLES))
        sampler.start()
        _wait(duration_s, history, note)
        sampler.stop()
        note("the work is over: coming to rest")
        workload.stop()
        rest = until_quiet(stack, within_s=_REST_S)
        workload.finish()
        note("checking")
        found = rules.trends(sampler.samples, duration_s=duration_s)
        rows = tuple(_rows(stack, history, sampler, found, rest))
    return Soaked(minutes, seed, rows, tuple(found), summary(history.entries))


def _wait(duration_s: float, history: History, note: Callable[[str], None]) -> None:
    """Until the time is over; tells how much is left."""
    end, pause = clock.monotonic() + duration_s, threading.Event()
    while (left := end - clock.monotonic()) > 0:
        done = len(history.entries)
        note(f"{int(left) // 60}:{int(left) % 60:02d} left; {done} entries in the clients' history")
        pause.wait(min(left, _NOTE_EVERY_S))


def _rows(stack: Stack, history: History, sampler: Sampler, found: list[Trend], rest: Rest) -> Iterator[Row]:
    left = _open_in_the_end(stack)
    lines = list(_lines(stack))
    size = int(stack.environment.get("TENURE_DB_POOL_MAX_SIZE", "25"))
    yield rules.pool_said(lines, expected=size)
    yield rules.ended(sum(line.get("event") == "ITERATION_START" for line in lines), left)
    for event in _ALARMS:
        yield rules.silent(lines, event)
    refused = _answers(history, _UNAVAILABLE)
    yield rules.pool_used(sampler.pool, refused, size=size)
    restarted = [f"{role.name} {role.restarts}" for role in stack.roles().values() if role.restarts]
    yield rules.counted("no watchdog false positive: no role was restarted", restarted)
    yield rules.memory(found)
    yield rules.handles(found)
    checked = check(stack, history.entries)
    broken = [f"{one.rule} {one.subject}: {one.message}" for one in checked.findings]
    yield rules.counted("verify and the outside agree with the record", broken)
    yield rules.counted("everything is drained", [f"{what} {count}" for what, count in rest.left.items()])
    yield rules.counted("every client got a proper answer", _unhappy(history))
    yield rules.unhandled(lines)


def _open_in_the_end(stack: Stack) -> list[str]:
    """What had begun by now and has no END in the log after a while; jobs go on meanwhile."""
    left = set(rules.unended(stack.log_lines("ITERATION_START", "ITERATION_END")))
    deadline, pause = clock.monotonic() + _LAST_ENDS_S, threading.Event()
    while left and clock.monotonic() < deadline:
        pause.wait(1.0)
        left &= set(rules.unended(stack.log_lines("ITERATION_START", "ITERATION_END")))
    return sorted(left)


def _lines(stack: Stack) -> Iterator[dict[str, Any]]:
    """Every line of every role's log; one that is no JSON object is an error of its own."""
    for file in sorted((stack.data_dir / "logs").glob("*.log*")):
        for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
            line: Any = None
            with suppress(ValueError):
                line = json.loads(text)
            if isinstance(line, dict):
                yield {"role": file.name.split(".")[0], **line}
            else:
                yield {"role": file.name.split(".")[0], "level": "error", "event": f"no JSON: {text[:80]}"}


def _answers(history: History, status: int) -> int:
    return sum(
        isinstance(entry.value, dict) and entry.value.get("status") == status for entry in history.entries
    )


def _unhappy(history: History) -> list[str]:
    """Tries that found nobody, got no answer, or an error of our own. A refusal for cause is an answer."""
    values: Iterable[Any] = (entry.value for entry in history.entries if entry.type in {"fail", "info"})
    told = Counter(
        json.dumps(value, sort_keys=True)[:160]
        for value in values
        if not isinstance(value, dict) or not _for_cause(value.get("status"))
    )
    return [f"{count} x {what}" for what, count in told.most_common()]


def _for_cause(status: int | None) -> bool:
    return status is not None and status < _FIRST_OWN_ERROR and status != _TOO_MANY
