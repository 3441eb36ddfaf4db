"""Tasks of provisioning."""

from __future__ import annotations

from tasks.iteration import iteration
from tenure.iterations.run import Run
from tenure.provisioning import reconcile
from tenure.wiring import Deps


@iteration("activation")
def activation(run: Run, deps: Deps) -> None:
    """Bring access at the provisioner to the desired state."""
    reconcile.run(run, deps.provisioner)
