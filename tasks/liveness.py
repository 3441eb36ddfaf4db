"""A worker's signs of progress: its loop turns, the broker answers it, and work runs through.

A worker that looks connected and consumes nothing is a known way for one to die. So the answers to its own
BRPOPs count, not the socket; and where the canary's queue is consumed, an iteration has to end now and then.
"""

from __future__ import annotations

from queue import Empty
from typing import Any, Final

from celery import bootsteps
from celery.worker import state

from tasks import process
from tasks.door import jobs, settings
from tenure.iterations import canary
from tenure.kit.logging import get_logger
from tenure.kit.watchdog import Condition, Sign

_log = get_logger("tenure.worker")
_TURN_S: Final = 1.0
_WORK: Final = "work_waits"
_CANARY: Final = "canary"
# An iteration may take its hard limit, and its child's end a little longer.
_AFTER_LIMIT_S: Final = 30.0


class Liveness(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery is untyped
    """Stamps the signs from the worker's own event loop; set up anew with each connection to the broker."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:
        """Celery calls this when the loop begins, and takes the timer away when the connection is lost."""
        watchdog = process.parent().watchdog
        broker = watchdog.sign("broker", process.BROKER)
        channel = consumer.task_consumer.channel
        channel.handlers["BRPOP"] = _stamping(channel.handlers["BRPOP"], broker)
        loop = watchdog.sign("loop", process.BROKER)
        work = _work_sign(consumer)
        ended = _ended_so_far()

        def turn() -> None:
            nonlocal ended
            loop.stamp()
            if _takes_nothing(consumer):
                broker.stamp()  # nothing was asked of the broker, on purpose
            now = _ended_so_far()
            if work is not None and now != ended:
                work.stamp()
            ended = now

        hub.call_repeatedly(_TURN_S, turn)


def _stamping(read: Any, sign: Sign) -> Any:
    def answered(**options: Any) -> Any:
        try:
            result = read(**options)
        except Empty:  # an answer too: there was nothing
            sign.stamp()
            raise
        sign.stamp()
        return result

    return answered


def _takes_nothing(consumer: Any) -> bool:
    """Whether every pool process is busy, or all queues were canceled by an operator."""
    return len(state.reserved_requests) >= consumer.pool.num_processes or not consumer.task_consumer.queues


def _ended_so_far() -> int:
    accepted: int = state.all_total_count[0]
    return accepted - len(state.active_requests)


def _work_sign(consumer: Any) -> Sign | None:
    """The sign that iterations end here; None where the canary does not come by."""
    if jobs[_CANARY].queue not in {queue.name for queue in consumer.task_consumer.queues}:
        return None
    watchdog = process.parent().watchdog
    slowest_s = max(job.hard_s for job in jobs.values() if job.queue == jobs[_CANARY].queue)
    sign = watchdog.sign(
        "work", process.DATABASE, process.BROKER, _WORK, at_least_s=slowest_s + _AFTER_LIMIT_S
    )
    url = settings.require_database_url()
    # Without beat, or while the canary is paused, there is nothing to run, and silence means nothing.
    watchdog.add(Condition(_WORK, lambda: canary.waits_in_vain(url, within_s=sign.limit_s), told=False))
    return sign
