"""The job `payment_watcher`: looks at every chain, records and credits what came, and takes in webhooks.

For each chain: read what is remembered (transaction), look (no transaction), write (transaction: cursor by
compare-and-set together with everything that was found). A kill between any two steps leaves work that the
next iteration finds again, and nothing half done. A chain that fails is told of and holds up no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from concurrent.futures import TimeoutError as TooSlow
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.alerts.raise_alert import raise_alert, resolve_alert
from tenure.errors import TenureError
from tenure.events.append import append
from tenure.iterations.run import Run
from tenure.kit import crash
from tenure.payments import chain_memory
from tenure.payments.confirm import confirm
from tenure.payments.expire_invoices import expire_invoices
from tenure.payments.look import Memory, Sight, look
from tenure.payments.orphan import orphan
from tenure.payments.payment_row import COLUMNS, payment_event, payment_from
from tenure.payments.ports import ChainMoved, ChainReader, ChainUnavailable
from tenure.payments.process_inbound import process_inbound
from tenure.payments.record import record
from tenure.settings import Chain, Settings

UNREACHABLE_RULE: Final = "chain_unreachable"
REWRITTEN_RULE: Final = "chain_rewritten"
# With several chains, one that answers slower than this is left for the next iteration.
_PATIENCE_S: Final = 6.0

_PROGRESS: Final = text(f"""
    WITH moved AS (
        UPDATE payment p SET confirmations = greatest(0, :head - p.block_number + 1)
        WHERE p.chain = :chain AND p.status = 'seen'
          AND p.confirmations <> greatest(0, :head - p.block_number + 1)
        RETURNING p.*
    )
    SELECT {COLUMNS}, i.subscription_id FROM moved p JOIN invoice i ON i.id = p.invoice_id
""")


@dataclass(frozen=True, slots=True)
class _Look:
    """One chain with all that a look at it needs."""

    chain: Chain
    reader: ChainReader
    memory: Memory | None
    addresses: Sequence[str]
    began: datetime

    def take(self) -> Sight:
        return look(self.reader, self.memory, self.addresses, confirmations=self.chain.confirmations)


def run(run: Run, settings: Settings, readers: Mapping[str, ChainReader]) -> None:
    """One pass over webhooks, chains and invoices whose time is over. `readers` by the chains' names."""
    process_inbound(run)
    waiting = [chain for chain in settings.chains if chain.name in readers]
    while waiting and run.has_time:
        looks = [_prepare(run, chain, readers[chain.name]) for chain in waiting]
        behind = []
        for one, seen in _take_all(looks):
            if isinstance(seen, TenureError):
                _note_failure(run, one.chain, seen)
                continue
            crash.point("watch.seen")
            written = _write(run, one, seen)
            confirm(run, one.chain.name)
            if not seen.complete and not seen.behind and written:
                behind.append(one.chain)
        waiting = behind
    expire_invoices(run)


def _prepare(run: Run, chain: Chain, reader: ChainReader) -> _Look:
    with run.transaction() as session:
        return _Look(
            chain=chain,
            reader=reader,
            memory=chain_memory.recall(session, chain.name),
            addresses=chain_memory.watched(session, chain.name, chain.addresses),
            began=chain_memory.domain_now(session),
        )


def _take_all(looks: Sequence[_Look]) -> Iterator[tuple[_Look, Sight | TenureError]]:
    """Each look with what it saw or why it failed, the fastest first."""
    if len(looks) == 1:
        yield looks[0], _outcome(looks[0])
        return
    pool = ThreadPoolExecutor(max_workers=len(looks), thread_name_prefix="chain")
    try:
        futures = {pool.submit(_outcome, one): one for one in looks}
        late = dict(futures)
        try:
            for future in as_completed(futures, timeout=_PATIENCE_S):
                yield late.pop(future), future.result()
        except TooSlow:
            for one in late.values():
                yield one, ChainUnavailable(f"{one.chain.name}: no answer within {_PATIENCE_S:.0f} s")
    finally:
        # Never waits: a thread that still asks ends by the door's own deadline, and its answer is dropped.
        pool.shutdown(wait=False, cancel_futures=True)


def _outcome(one: _Look) -> Sight | TenureError:
    try:
        return one.take()
    except TenureError as error:
        return error


def _write(run: Run, one: _Look, sight: Sight) -> bool:
    """Whether this look was written; another watcher that was faster has written the same."""
    name, iteration_id = one.chain.name, run.iteration_id
    idle = sight.first > sight.last and sight.fork == (one.memory.tip if one.memory else None)
    with run.transaction() as session:
        if not idle:
            if not chain_memory.advance(session, name, one.memory, sight):
                return False
            orphaned = 0
            if sight.fork is not None:
                orphaned = orphan(
                    session,
                    name,
                    fork=sight.fork,
                    there=sight.transfers,
                    whole_ring=sight.rewritten,
                    iteration_id=iteration_id,
                )
            found = record(
                session,
                one.chain,
                sight.transfers,
                block_times=sight.block_times,
                iteration_id=iteration_id,
            )
            run.counters.seen += found.shown + orphaned
            _tell_progress(session, name, sight.head.number, iteration_id)
        chain_memory.note_seen(session, name, one.memory, sight, began=one.began)
        resolve_alert(session, rule=UNREACHABLE_RULE, subject=f"chain:{name}")
        if sight.rewritten:
            raise_alert(
                session,
                rule=REWRITTEN_RULE,
                subject=f"chain:{name}",
                severity="critical",
                message=f"{name}: none of the last blocks is part of the chain any more; it is read anew "
                f"from block {sight.first}. Credited payments were left as they are: check them.",
            )
    return True


def _tell_progress(session: Session, chain: str, head: int, iteration_id: str) -> None:
    moved = session.execute(_PROGRESS, {"chain": chain, "head": head}).mappings().all()
    events = []
    for row in moved:
        values = dict(row)
        subscription_id: str = values.pop("subscription_id")
        events.append(
            payment_event(
                "payment.progress",
                payment_from(values),
                subscription_id=subscription_id,
                iteration_id=iteration_id,
                broad=False,
            )
        )
    append(session, events)


def _note_failure(run: Run, chain: Chain, error: TenureError) -> None:
    run.counters.failed += 1
    with run.transaction() as session:
        chain_memory.note_unseen(session, chain.name, error.message)
        if not isinstance(error, ChainMoved):
            raise_alert(
                session,
                rule=UNREACHABLE_RULE,
                subject=f"chain:{chain.name}",
                severity="critical",
                message=f"{chain.name} cannot be read: {error.message}",
            )
