"""The parent's view of a received message: it names the run's owner and writes END when the child cannot.

A child that is killed says nothing, and Celery fires no signal on some kills and two on others. This class
is where the parent surely learns of them, so it tries END too; the ledger lets only one writer win.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

from billiard.exceptions import Terminated, TimeLimitExceeded
from celery.worker.request import Request

from tasks import process
from tenure.iterations.ledger import EndedBy, Outcome
from tenure.kit import clock, crash

OWNER_HEADER: Final = "tenure_owner"
# How long after the hard limit the child ends itself, should the parent not have done it.
WATCHDOG_GRACE_S: Final = 5.0


class AccountedRequest(Request):  # type: ignore[misc]  # Celery is untyped
    """A message that becomes at most one iteration."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Make the nonce: a duplicate of the message gets another one and can never end this run."""
        super().__init__(*args, **kwargs)
        self._owner = secrets.token_hex(16)
        self._accepted_at: float | None = None
        self._request_dict[OWNER_HEADER] = self._owner
        crash.point("request.received", self.task.job.name)

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """Remember when the body could have begun."""
        self._accepted_at = clock.monotonic()
        super().on_accepted(pid, time_accepted)
        crash.point("request.accepted", self.task.job.name)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Write the END of a hard limit; the soft one is the child's own affair."""
        if not soft:
            self._end(Outcome.TIMED_OUT, "TimeLimitExceeded")
        super().on_timeout(soft, timeout)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Write the END of a child that did not report by itself (`return_ok` False)."""
        if not return_ok:
            self._end(*self._cause(exc_info.exception))
        return super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def _cause(self, error: BaseException) -> tuple[Outcome, str]:
        error = getattr(error, "exc", error)
        if isinstance(error, TimeLimitExceeded) or self._past_watchdog():
            # Where the parent could not enforce the limit in time, the child's own watchdog did.
            return Outcome.TIMED_OUT, "TimeLimitExceeded"
        if isinstance(error, Terminated):
            return Outcome.CANCELED, "Terminated"
        return Outcome.KILLED, "WorkerLostError"

    def _past_watchdog(self) -> bool:
        # Not the hard limit itself: a death may be noticed up to five seconds after it happened.
        hard_s = self.time_limits[0] or self.task.time_limit
        if self._accepted_at is None or hard_s is None:
            return False
        return bool(clock.monotonic() - self._accepted_at >= hard_s + WATCHDOG_GRACE_S)

    def _end(self, outcome: Outcome, error_type: str) -> None:
        crash.point("end.parent", self.task.job.name)
        process.parent().end(self._owner, outcome, EndedBy.PARENT, error_type)
