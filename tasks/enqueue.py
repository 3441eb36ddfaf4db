"""The way from a slot's row to the broker: best effort, for the row is published until it starts."""

from __future__ import annotations

from typing import Any, Final

import redis
from kombu.exceptions import OperationalError
from kombu.pools import producers

from tasks.app import app
from tasks.door import jobs, settings
from tenure.iterations import slots
from tenure.iterations.slots import ToPublish
from tenure.kit import crash
from tenure.kit.db import StatementDoor
from tenure.kit.logging import get_logger
from tenure.kit.valkey import connect

_log = get_logger("tenure.enqueue")
_PUBLISHER_S: Final = 2.0
TASK_PREFIX: Final = "tenure."

_probe: redis.Redis | None = None


def publish_slot(door: StatementDoor, slot_id: str) -> bool:
    """Publish this slot now if it waits to be; whether the broker took it."""
    crash.point("run.requested")
    return _publish_all(door, slots.claim_to_publish(door, slot_id=slot_id)) > 0


def publish_due(door: StatementDoor) -> None:
    """Publish the pending slots whose turn it is."""
    _publish_all(door, slots.claim_to_publish(door))


def _publish_all(door: StatementDoor, claimed: list[ToPublish]) -> int:
    sent = 0
    for slot in claimed:
        crash.point("publish.claimed", slot.job)
        if slot.job in jobs and _send(slot):
            crash.point("publish.sent", slot.job)
            slots.published(door, slot.id)
            sent += 1
        else:
            slots.not_published(door, slot.id)
    return sent


def _send(slot: ToPublish) -> bool:
    job = jobs[slot.job]
    try:
        # A broker that is away is found here in two seconds; the client library inside the transport
        # retries ten times on its own.
        _broker().ping()
        connection = app.connection_for_write(
            transport_options={
                **app.conf.broker_transport_options,
                "socket_timeout": _PUBLISHER_S,
                "socket_connect_timeout": _PUBLISHER_S,
            }
        )
        with producers[connection].acquire(block=True, timeout=_PUBLISHER_S) as producer:
            app.send_task(
                TASK_PREFIX + job.name,
                kwargs={"slot": slot.id, "attempt": slot.attempt},
                # The same slot and attempt is the same task, however often it is sent.
                task_id=f"{slot.id}.{slot.attempt}",
                queue=job.queue,
                expires=max(slot.expires_in_s, 1.0),
                soft_time_limit=job.soft_s,
                time_limit=job.hard_s,
                kwargsrepr=repr({"slot": slot.id, "scope": slot.scope}),
                producer=producer,
                retry=False,
                ignore_result=True,
            )
    except (redis.RedisError, OperationalError, OSError) as error:
        _log.warning("slot.not_published", slot_id=slot.id, job=slot.job, reason=type(error).__name__)
        return False
    return True


def _broker() -> Any:
    global _probe  # noqa: PLW0603 - one connection a process
    if _probe is None:
        _probe = connect(settings.require_broker_url(), timeout_s=_PUBLISHER_S)
    return _probe
