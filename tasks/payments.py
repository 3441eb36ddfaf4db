"""Tasks of payments."""

from __future__ import annotations

from tasks.iteration import iteration
from tenure.iterations.run import Run
from tenure.payments import renew, watch
from tenure.wiring import Deps


@iteration("payment_watcher")
def payment_watcher(run: Run, deps: Deps) -> None:
    """Look at every chain, credit what came, take in webhooks, expire invoices."""
    watch.run(run, deps.settings, deps.chains)


@iteration("auto_renewal")
def auto_renewal(run: Run, deps: Deps) -> None:
    """Open and pay the invoices of subscriptions that renew by themselves."""
    renew.run(run, deps.settings)
