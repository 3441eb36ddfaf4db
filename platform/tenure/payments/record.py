"""Record transfers that a chain shows: once by key, matched by their exact amount, held until confirmed.

A transfer that is known already only has its place in the chain brought up to date: a reorg moves blocks and
log indexes, never the key `(chain, tx_hash, ordinal)`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.events.append import NewEvent, append
from tenure.payments.payment_row import (
    COLUMNS,
    IN_FLIGHT,
    Payment,
    follow_suspense_alert,
    payment_event,
    payment_from,
)
from tenure.payments.ports import Transfer
from tenure.settings import Chain
from tenure.subscriptions.holds import place_hold

# A statement of its own: a row that the same statement has updated already would not be found by its lock.
_KNOWN: Final = text("""
    SELECT p.id, p.status FROM payment p
    JOIN jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(tx_hash text, ordinal integer)
      ON g.tx_hash = p.tx_hash AND g.ordinal = p.ordinal
    WHERE p.chain = :chain ORDER BY p.id FOR UPDATE OF p
""")
# `made_at` is the block's time on the domain's clock, at most now: it decides what came late.
_UPSERT: Final = text("""
    WITH given AS (
        SELECT g.*, least(tenure_now(), g.block_time + (tenure_now() - now())) AS made_at
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(
            tx_hash text, ordinal integer, log_index integer, block_number bigint, block_hash text,
            to_address text, amount_units numeric, asset text, contract text, decimals integer,
            block_time timestamptz)
    )
    INSERT INTO payment (id, chain, tx_hash, ordinal, log_index, block_number, block_hash, to_address,
                         amount_units, asset, contract, decimals, required, status, match, note, seen_at)
    SELECT tenure_id('pay'), :chain, g.tx_hash, g.ordinal, g.log_index, g.block_number, g.block_hash,
           g.to_address, g.amount_units, g.asset, g.contract, g.decimals, :required, 'seen', 'unmatched',
           'no_quote', coalesce(g.made_at, tenure_now())
    FROM given g
    ON CONFLICT (chain, tx_hash, ordinal) DO UPDATE
    SET log_index = excluded.log_index, block_number = excluded.block_number,
        block_hash = excluded.block_hash,
        status = CASE WHEN payment.status IN ('orphaned', 'reversed') THEN 'seen' ELSE payment.status END
    WHERE payment.block_hash <> excluded.block_hash OR payment.status IN ('orphaned', 'reversed')
    RETURNING id
""")
_TAKEN_BACK: Final = frozenset({"orphaned", "reversed"})
_MATCH: Final = text("""
    UPDATE payment p
    SET match = 'matched', invoice_id = q.invoice_id, amount_minor = q.amount_minor, currency = i.currency,
        note = NULL
    FROM quote q JOIN invoice i ON i.id = q.invoice_id
    WHERE p.id = ANY(:ids) AND p.match = 'unmatched' AND q.live AND q.chain = p.chain
      AND q.address = p.to_address AND q.contract = p.contract AND q.amount_units = p.amount_units
      AND i.status NOT IN ('void', 'draft')
""")
_SEEN: Final = text(f"""
    SELECT {COLUMNS}, i.subscription_id FROM payment p LEFT JOIN invoice i ON i.id = p.invoice_id
    WHERE p.id = ANY(:ids) ORDER BY i.subscription_id NULLS FIRST, p.id
""")


@dataclass(frozen=True, slots=True)
class Recorded:
    """How many transfers were shown, how many of them were new, and how many came back after a reorg."""

    shown: int = 0
    new: int = 0
    back: int = 0


def record(
    session: Session,
    chain: Chain,
    transfers: Sequence[Transfer],
    *,
    block_times: Mapping[int, datetime],
    iteration_id: str | None = None,
) -> Recorded:
    """The transfers are recorded. What is new or back is matched, keeps expiry back, and is told."""
    if not transfers:
        return Recorded()
    rows = json.dumps(_rows(chain, transfers, block_times))
    known = {row.id: row.status for row in session.execute(_KNOWN, {"chain": chain.name, "rows": rows})}
    given = {"chain": chain.name, "required": chain.confirmations, "rows": rows}
    put = list(session.scalars(_UPSERT, given))
    new = [id_ for id_ in put if id_ not in known]
    # One that only lies in another block now goes on as it was: nothing new is to be told or held.
    fresh = new + [id_ for id_ in put if known.get(id_) in _TAKEN_BACK]
    if fresh:
        session.execute(_MATCH, {"ids": new})
        _tell(session, fresh, iteration_id)
    return Recorded(shown=len(transfers), new=len(new), back=len(fresh) - len(new))


def _rows(
    chain: Chain, transfers: Sequence[Transfer], block_times: Mapping[int, datetime]
) -> list[dict[str, Any]]:
    decimals = {asset.contract.lower(): asset.decimals for asset in chain.assets if asset.contract}
    rows = []
    for one in transfers:
        time = block_times.get(one.block_number)
        rows.append(
            {
                "tx_hash": one.tx_hash,
                "ordinal": one.ordinal,
                "log_index": one.log_index,
                "block_number": one.block_number,
                "block_hash": one.block_hash,
                "to_address": one.to,
                "amount_units": one.amount_units,
                "asset": one.asset,
                "contract": one.contract,
                "decimals": decimals[one.contract],
                "block_time": time.isoformat() if time is not None else None,
            }
        )
    return rows


def _tell(session: Session, ids: Sequence[str], iteration_id: str | None) -> None:
    events: list[NewEvent] = []
    in_suspense = False
    for row in session.execute(_SEEN, {"ids": list(ids)}).mappings().all():
        values = dict(row)
        subscription_id: str | None = values.pop("subscription_id")
        payment: Payment = payment_from(values)
        events.append(
            payment_event("payment.seen", payment, subscription_id=subscription_id, iteration_id=iteration_id)
        )
        if subscription_id is not None:
            place_hold(session, subscription_id, IN_FLIGHT, payment.id)
        elif payment.match == "unmatched":
            in_suspense = True
            events.append(
                payment_event(
                    "payment.unmatched", payment, iteration_id=iteration_id, data={"note": payment.note}
                )
            )
    append(session, events)
    if in_suspense:
        follow_suspense_alert(session)
