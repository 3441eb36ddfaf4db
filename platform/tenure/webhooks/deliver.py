"""The job `webhooks`: turns events into deliveries and posts what is due.

Each try is claimed in a transaction, posted without one, and written down in another. A sender that dies in
between leaves the claim to its lease; then the same event is posted again under the same id.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.iterations.crew import Crew
from tenure.iterations.run import Run
from tenure.kit import crash
from tenure.kit.retry import repeating
from tenure.kit.sealing import Sealer, Unreadable
from tenure.outbox.claim import Claimed, claim, retire_lapsed
from tenure.outbox.topics import WEBHOOK
from tenure.webhooks.fan_out import fan_out
from tenure.webhooks.letter import Letter, letter_of
from tenure.webhooks.outcome import write_lapsed, write_outcome
from tenure.webhooks.ports import Post, Told
from tenure.webhooks.traffic import Traffic

_THREADS: Final = 6
# While somebody is being called, the free threads look for new events this often.
_LOOK_S: Final = 0.25

_WAITING: Final = text("""
    SELECT count(*) FROM (
        SELECT 1 FROM outbox
        WHERE topic = :topic AND state = 'ready' AND available_at <= clock_timestamp()
          AND (locked_until IS NULL OR locked_until < clock_timestamp())
        LIMIT :most
    ) AS due
""")


@dataclass(frozen=True, slots=True)
class _NotSent:
    """A try that came to nothing before anything was sent."""

    reason: str
    delivered: bool = False
    status: int | None = None
    retry_after_s: float | None = None
    held_s: float | None = None
    gone: bool = False


def run(run: Run, post: Post, sealer: Sealer) -> None:
    """Post what is due, or as much as there is time for."""
    read, waiting = run.batch, 0
    while read == run.batch and run.has_time:
        with run.transaction() as session:
            read = fan_out(session, limit=run.batch)
            write_lapsed(session, retire_lapsed(session, WEBHOOK))
            waiting = _waiting(session)
    if waiting:
        # One more than there is work for: it sees what happens while an endpoint keeps the others.
        body = partial(_deliver_all, post, sealer, Traffic())
        Crew(run).work([body] * min(_THREADS, waiting + 1))


def _waiting(session: Session) -> int:
    return int(session.execute(_WAITING, {"topic": WEBHOOK.name, "most": _THREADS}).scalar_one())


def _deliver_all(post: Post, sealer: Sealer, traffic: Traffic, crew: Crew) -> None:
    while crew.goes_on:
        if _deliver_one(post, sealer, traffic, crew):
            continue
        if not traffic.any:
            return
        crew.rest(_LOOK_S)
        with crew.transaction() as session:
            fan_out(session, limit=crew.run.batch)


def _deliver_one(post: Post, sealer: Sealer, traffic: Traffic, crew: Crew) -> bool:
    """Take one message through its steps; whether there was one."""
    with ExitStack() as calling:
        with crew.transaction() as session:
            claimed = _claim_one(session, traffic)
            if claimed is None:
                return False
            calling.enter_context(traffic.calling(claimed.to))
            letter = letter_of(session, claimed)
        if letter is None:
            crew.count(seen=1, skipped=1)
            return True
        crash.point("call.claimed")
        with repeating(claimed.attempt > 1):
            told = _posted(post, sealer, letter)
        crash.point("call.answered")
        if told.held_s is not None:
            traffic.leave(letter.endpoint_id)
        else:
            traffic.note(letter.endpoint_id, delivered=told.delivered)
        with crew.transaction() as session:
            write_outcome(session, claimed, letter, told)
    done, held = int(told.delivered), int(told.held_s is not None)
    crew.count(seen=1, done=done, skipped=held, failed=1 - done - held)
    return True


def _claim_one(session: Session, traffic: Traffic) -> Claimed | None:
    return next(iter(claim(session, WEBHOOK, avoid=traffic.avoid())), None)


def _posted(post: Post, sealer: Sealer, letter: Letter) -> Told:
    try:
        secrets = [sealer.open(sealed, about=letter.endpoint_id) for sealed in letter.secrets_sealed]
    except Unreadable as error:
        return _NotSent(reason=error.message)
    return post(
        endpoint_id=letter.endpoint_id,
        url=letter.url,
        secrets=secrets,
        message_id=letter.event_id,
        body=letter.body,
    )
