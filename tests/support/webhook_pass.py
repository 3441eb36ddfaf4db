"""One pass of the job `webhooks` in a process of its own, for tests that kill it."""

from __future__ import annotations

from tenure import settings, wiring
from tenure.webhooks import deliver
from tests.support import builders


def main() -> None:
    deps = wiring.build(settings.load(), pool_size=3, application="tenure-test-pass")
    deliver.run(builders.run(deps.db, "webhooks"), deps.post_webhook, deps.webhook_sealer)


if __name__ == "__main__":
    main()
