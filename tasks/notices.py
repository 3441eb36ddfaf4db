"""Tasks of notices."""

from __future__ import annotations

from tasks.iteration import iteration
from tenure.iterations.run import Run
from tenure.notices import plan_reminders, send_planned
from tenure.wiring import Deps


@iteration("reminders")
def reminders(run: Run, deps: Deps) -> None:  # noqa: ARG001 - the form of every body
    """Plan the reminders of periods that end."""
    plan_reminders.run_periods(run)


@iteration("trial_notifications")
def trial_notifications(run: Run, deps: Deps) -> None:  # noqa: ARG001 - the form of every body
    """Plan the reminders of trials that end."""
    plan_reminders.run_trials(run)


@iteration("notices")
def notices(run: Run, deps: Deps) -> None:
    """Send what is planned."""
    send_planned.run(run, deps.senders)
