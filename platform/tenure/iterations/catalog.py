"""The catalog of jobs: name, period, limits, queue. Beat, tasks, reaper, console and docs all read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from tenure.errors import BadSettings, FieldError, NotFound
from tenure.settings import Settings


@dataclass(frozen=True, slots=True)
class Job:
    """One kind of periodic work. Times are seconds; `every_s` None means only on request."""

    name: str
    title: str
    every_s: float | None
    soft_s: float
    hard_s: float
    queue: str = "default"
    batch: int = 1000
    internal: bool = False
    development_only: bool = False
    max_attempts: int = 1

    @property
    def expires_s(self) -> float:
        """How long a slot may wait for its START: a period, at least a minute."""
        return max(self.every_s or 0.0, 60.0)


_DEFAULTS: Final = (
    Job("payment_watcher", "Watch the chains for payments", 2, 20, 30, queue="payments"),
    Job("activation", "Bring access at the provisioner to the desired state", 2, 60, 75, queue="payments"),
    Job("expiry", "End periods, trials and grace", 10, 120, 150),
    Job("reminders", "Plan reminders of periods that end", 30, 120, 150),
    Job("trial_notifications", "Plan reminders of trials that end", 30, 120, 150),
    Job("auto_renewal", "Open and pay renewal invoices", 60, 120, 150),
    Job("notices", "Send the notices that are planned", 2, 60, 75, internal=True),
    Job("webhooks", "Tell webhook endpoints of events", 2, 60, 75, internal=True),
    Job("canary", "Show that work flows from beat to a worker", 10, 10, 15, internal=True),
    Job("alerting", "Open and resolve alerts from the record", 15, 30, 45, internal=True),
    Job("verify", "Check the invariants and alert when one is broken", 300, 60, 75, internal=True),
    Job("retention", "Delete old history of machines", 300, 60, 75, internal=True),
    Job("sleep", "Try the runtime: ok:S|raise|swallow:S|kill|exit", None, 5, 10, development_only=True),
)  # fmt: skip


def catalog(settings: Settings) -> Mapping[str, Job]:
    """The jobs of this install with the settings' overrides. Raises BadSettings for impossible limits."""
    jobs = {job.name: job for job in _DEFAULTS if not (job.development_only and settings.is_production)}
    problems = []
    for name, override in settings.jobs.items():
        if name not in jobs:
            problems.append(FieldError("TENURE_JOBS", "unknown_job", f"there is no job {name!r}"))
            continue
        given = override.model_dump(exclude_none=True)
        jobs[name] = replace(jobs[name], **given)
        if jobs[name].hard_s <= jobs[name].soft_s:
            problems.append(
                FieldError("TENURE_JOBS", "limits", f"{name}: hard_s must be greater than soft_s")
            )
    if problems:
        raise BadSettings(
            "\n".join(f"{problem.field}: {problem.message}" for problem in problems), errors=problems
        )
    return jobs


def job_named(settings: Settings, name: str) -> Job:
    """The job of this name. Raises NotFound naming the ones there are."""
    jobs = catalog(settings)
    if name not in jobs:
        raise NotFound(f"there is no job {name!r}; there are: {', '.join(sorted(jobs))}")
    return jobs[name]
