"""The task that tells webhook endpoints."""

from __future__ import annotations

from tasks.iteration import iteration
from tenure.iterations.run import Run
from tenure.webhooks import deliver
from tenure.wiring import Deps


@iteration("webhooks")
def webhooks(run: Run, deps: Deps) -> None:
    """Post what is due."""
    try:
        deliver.run(run, deps.post_webhook, deps.webhook_sealer)
    finally:
        deps.guarded_door.close()
