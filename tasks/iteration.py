"""The decorator that makes a function an accounted iteration, and the task base under it.

The child's side of the ledger: START before the body, END after it, whatever the body does. Limits come
from the catalog; a watchdog in the child ends a body that outlives the hard limit by five seconds, because
the parent's limits are not enforced while the broker is frozen.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from celery import Task
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded

from tasks import last_limit, process
from tasks.app import app
from tasks.door import jobs
from tasks.enqueue import TASK_PREFIX
from tasks.request import OWNER_HEADER, WATCHDOG_GRACE_S
from tenure.errors import TenureError, Unavailable
from tenure.iterations import announce, ledger
from tenure.iterations.catalog import Job
from tenure.iterations.ledger import Caller, Ended, EndedBy, Outcome, Started
from tenure.iterations.run import Run
from tenure.kit import clock, crash
from tenure.kit.logging import get_logger, masked
from tenure.wiring import Deps

_log = get_logger("tenure.worker")

Body = Callable[[Run, Deps], None]

# After this the reaper may call a run lost although its node lives: limit, watchdog, and a slow END.
_DEADLINE_GRACE_S: Final = 20.0
_LONGEST_MESSAGE: Final = 500
_SIGNAL_CODES: Final = 256


class IterationFailed(TenureError):
    """An iteration ended without ok; the ledger holds the details."""


@dataclass(slots=True)
class _End:
    """How the body ended, kept until it is written."""

    owner: str
    counters: dict[str, int]
    # Until the body has returned: whatever leaves it in a way that nobody thought of has failed.
    outcome: Outcome = Outcome.FAILED
    error_type: str | None = "Interrupted"
    error_message: str | None = None
    # Written, or kept to be written.
    settled: bool = False


class AccountedTask(Task):  # type: ignore[misc]  # Celery is untyped
    """A task whose every run is one START and one END in the ledger."""

    abstract = True
    Request = "tasks.request:AccountedRequest"
    job: Job
    body: Body
    _pending_end: _End | None = None

    def __call__(self, *, slot: str, attempt: int) -> dict[str, Any]:
        """Run one attempt of a slot. The result is short: Flower shows it."""
        child = process.child()
        owner: str = self.request.get(OWNER_HEADER)
        started = self._start(child, slot, attempt, owner)
        if started is None:
            _log.info("slot.dropped", slot_id=slot, attempt=attempt, reason="decided before")
            self._end_of_a_dead_child(child, owner)
        if started is None or started.state != "started":
            return {"slot": slot, "dropped": "decided before" if started is None else started.reason}
        run = Run(
            iteration_id=started.iteration_id,
            job=self.job.name,
            scope=started.scope,
            db=child.deps.db,
            soft_s=self.job.soft_s,
            batch=self.job.batch,
        )
        structlog.contextvars.bind_contextvars(iteration_id=started.iteration_id, job=self.job.name)
        end = _End(owner=owner, counters=run.counters.as_dict())
        self._pending_end = end
        try:
            crash.point("start.told")
            self._run_body(run, child.deps, end)
        finally:
            end.counters = run.counters.as_dict()
            crash.point("end.before")
            self._write(child, end)
        counted = {name: count for name, count in end.counters.items() if count}
        return {"iteration": started.iteration_id, "outcome": end.outcome.value, **counted}

    def _start(self, child: process.Child, slot: str, attempt: int, owner: str) -> Started | None:
        parent = process.parent()
        caller = Caller(
            owner=owner, node_id=parent.node.id, worker=self.request.hostname or "", pid=os.getpid()
        )
        try:
            crash.point("start.before", self.job.name)
            started = ledger.start(
                child.door,
                slot_id=slot,
                attempt=attempt,
                caller=caller,
                deadline_s=self.job.hard_s + _DEADLINE_GRACE_S,
                max_attempts=self.job.max_attempts,
            )
            crash.point("start.written", self.job.name)
        except Unavailable:
            self._forsake(child, slot, attempt, owner)
            raise
        except (SystemExit, SoftTimeLimitExceeded):
            # Stopped while START was under way: nobody knows whether it took effect.
            self._forsake(child, slot, attempt, owner)
            raise
        if started is None:
            return None
        if started.state == "started":
            announce.started(started)
            from tasks.signals import iteration_started

            iteration_started.send(sender=self.job.name, start=started)
        else:
            announce.skipped(started)
        return started

    def _forsake(self, child: process.Child, slot: str, attempt: int, owner: str) -> None:
        child.late.write(
            lambda: ledger.forsake(child.door, slot_id=slot, attempt=attempt, owner=owner),
            event="start.unknown",
            slot_id=slot,
        )

    def _end_of_a_dead_child(self, child: process.Child, owner: str) -> None:
        """End what an earlier child began for this very message and was killed over.

        When a child dies before its parent has read that it took the message, the pool gives the message to
        another child and forgets the dead one (billiard puts back what was not accepted). The owner is made
        for each delivery, so nobody else's run can match; without this it would stay open until its deadline.
        """
        child.late.write(
            lambda: ledger.end(
                child.door,
                owner=owner,
                outcome=Outcome.KILLED,
                ended_by=EndedBy.PARENT,  # on whose behalf the message came again
                error_type="WorkerLostError",
            ),
            event="end.waits",
            ended_by=EndedBy.PARENT.value,
        )

    def _run_body(self, run: Run, deps: Deps, end: _End) -> None:
        began = clock.monotonic()
        last_limit.arm(self.job.hard_s + WATCHDOG_GRACE_S)
        try:
            self.body(run, deps)
            end.outcome, end.error_type = Outcome.OK, None
        except SoftTimeLimitExceeded:
            end.outcome, end.error_type = Outcome.TIMED_OUT, "SoftTimeLimitExceeded"
            raise
        except SystemExit as error:
            if not _is_of_a_signal(error):
                end.error_type = "SystemExit"
                raise IterationFailed("SystemExit") from None
            # The parent ends a child by SIGTERM, for the hard limit as for a shutdown.
            if clock.monotonic() - began >= self.job.hard_s:
                end.outcome, end.error_type = Outcome.TIMED_OUT, "TimeLimitExceeded"
            else:
                end.outcome, end.error_type = Outcome.CANCELED, "Terminated"
            raise
        except (MemoryError, Retry, Reject, Ignore) as error:
            end.error_type = type(error).__name__
            # Unconverted, the first would stop the whole worker, and the others are orders to Celery: its
            # state would say for ever that the task is about to run again.
            raise IterationFailed(end.error_type) from None
        except Exception as error:  # the edge where every failure becomes an outcome
            end.error_type = type(error).__name__
            end.error_message = masked(str(error))[:_LONGEST_MESSAGE]
            raise
        finally:
            last_limit.disarm()

    def _write(self, child: process.Child, end: _End) -> None:
        try:
            self._try_to_write(child, end)
        except SoftTimeLimitExceeded:
            # The limit passed while END was being written: the body was done, so its outcome stands.
            self._try_to_write(child, end)

    def _try_to_write(self, child: process.Child, end: _End) -> None:
        def verdict() -> Ended | None:
            ended = ledger.end(
                child.door,
                owner=end.owner,
                outcome=end.outcome,
                ended_by=EndedBy.CHILD,
                error_type=end.error_type,
                error_message=end.error_message,
                counters=end.counters,
            )
            crash.point("end.written", self.job.name)
            if ended is None:  # somebody ended this run before, or our own answer was lost the first time
                _log.info("end.was_there", outcome=end.outcome.value)
            return ended

        child.late.write(verdict, event="end.waits", ended_by=EndedBy.CHILD.value)
        end.settled = True

    def end_again(self) -> None:
        """The second chance, after the run: write an END whose writing was broken off."""
        end, self._pending_end = self._pending_end, None
        if end is not None and not end.settled:
            self._try_to_write(process.child(), end)


def _is_of_a_signal(error: SystemExit) -> bool:
    """Whether the pool's signal handler raised this: its codes are the signal's number less 256."""
    return isinstance(error.code, int) and -_SIGNAL_CODES < error.code <= signal.NSIG - 1 - _SIGNAL_CODES


def iteration(name: str) -> Callable[[Body], AccountedTask]:
    """Make a function of `(run, deps)` the body of this job of the catalog."""
    job = jobs[name]

    def register(body: Body) -> AccountedTask:
        task: AccountedTask = app.task(
            name=TASK_PREFIX + job.name,
            base=AccountedTask,
            bind=True,
            soft_time_limit=job.soft_s,
            time_limit=job.hard_s,
            ignore_result=True,
        )(_unused)
        task.job = job
        task.body = body
        return task

    return register


def _unused(*_: Any, **__: Any) -> None:
    """What Celery wants as the task's function; `AccountedTask.__call__` runs the body instead."""
