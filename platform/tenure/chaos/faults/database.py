"""Faults of PostgreSQL: its backends ended politely and impolitely, and the whole server restarted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg

from tenure.chaos.faults.processes import hold
from tenure.chaos.field import Field
from tenure.chaos.plan import Step
from tenure.embedded.process import Identity

_BACK_S: Final = 60.0
# Everybody but ourselves, the busiest first: a fault shall meet work.
_BACKENDS: Final = b"""
SELECT pid, application_name, state FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND NOT starts_with(application_name, 'tenure-chaos')
ORDER BY state = 'active' DESC, pid
"""
_MOST: Final = 4


def terminate(field: Field, step: Step) -> None:
    """pg_terminate_backend of some at random; proved by its word, and by their backends being gone."""
    with _connected(field) as server:
        # Those that ended by themselves before they were told are none of ours: then others are chosen.
        struck = field.until(lambda: _terminated(field, server), within_s=_BACK_S) or []
        pids = [pid for pid, _, _ in struck]
        gone = field.until(lambda: _none_left(server, pids), within_s=10)
    field.record(
        "terminate",
        step.targets[0],
        happened=bool(struck) and bool(gone),
        backends=[[name, state] for _, name, state in struck],
    )


def kill_backend(field: Field, step: Step) -> None:
    """SIGKILL of one backend: the server ends all others and recovers; proved by our own connection's end."""
    with _connected(field) as server:
        held = field.until(lambda: _held(field, server), within_s=_BACK_S)
        if held is None:
            field.record("kill_backend", step.targets[0], happened=False, reason="there is no backend")
            return
        pid, name, state = held
        os.kill(pid, signal.SIGKILL)
        cut = field.until(lambda: _is_cut(server), within_s=10)
    back = field.until(lambda: _answers(field), within_s=_BACK_S)
    field.record(
        "kill_backend",
        step.targets[0],
        happened=bool(cut),
        backend=[name, state],
        pid=pid,
        recovered=bool(back),
    )


def restart(field: Field, step: Step) -> None:
    """A fast shutdown of the server; proved by another postmaster that started later."""
    before = field.until(lambda: _started(field), within_s=_BACK_S)
    postmaster = field.stack.identity("postgres")
    if postmaster is None or before is None:
        field.record("restart", step.targets[0], happened=False, reason="there is no server")
        return
    os.kill(postmaster.pid, signal.SIGINT)
    after = field.until(lambda: (at := _started(field)) and at > before and at, within_s=_BACK_S)
    field.record(
        "restart", step.targets[0], happened=bool(after), pid=postmaster.pid, was=str(before), now=str(after)
    )


@contextmanager
def _connected(field: Field) -> Iterator[psycopg.Connection[Any]]:
    """A connection as the server's administrator, once it lets anybody in."""
    field.until(lambda: _answers(field), within_s=_BACK_S)
    made = _connect(field)
    try:
        yield made
    finally:
        with suppress(psycopg.Error):
            made.close()


def _connect(field: Field) -> psycopg.Connection[Any]:
    return psycopg.connect(
        field.stack.superuser_url, autocommit=True, connect_timeout=3, application_name="tenure-chaos-fault"
    )


def _answers(field: Field) -> bool:
    return _started(field) is not None


def _started(field: Field) -> Any:
    """When the server started; None while it lets nobody in."""
    try:
        with _connect(field) as server:
            row = server.execute("SELECT pg_postmaster_start_time()").fetchone()
    except psycopg.OperationalError:
        return None
    return row[0] if row else None


def _terminated(field: Field, server: psycopg.Connection[Any]) -> list[tuple[int, str, str]]:
    """Some backends that were there and were told to end."""
    found = server.execute(_BACKENDS).fetchall()
    chosen = field.dice.sample(found, min(len(found), field.dice.randint(1, _MOST)))
    return [one for one in chosen if _told_to_end(server, one[0])]


def _told_to_end(server: psycopg.Connection[Any], pid: int) -> bool:
    row = server.execute("SELECT pg_terminate_backend(%s)", [pid]).fetchone()
    return row is not None and bool(row[0])


def _held(field: Field, server: psycopg.Connection[Any]) -> tuple[int, str, str] | None:
    """A backend that stands still, stopped by us: one that ended by itself is chosen anew."""
    found = server.execute(_BACKENDS).fetchall()
    if not found:
        return None
    pid, name, state = field.dice.choice(found)
    backend = Identity.of(pid)
    return (pid, name, state) if backend is not None and hold(field, backend) else None


def _none_left(server: psycopg.Connection[Any], pids: list[int]) -> bool:
    row = server.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)", [pids]).fetchone()
    return row is not None and row[0] == 0


def _is_cut(server: psycopg.Connection[Any]) -> bool:
    try:
        server.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False
