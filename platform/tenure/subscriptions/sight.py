"""Whether payments can be seen: nobody with a payable invoice expires while they cannot.

A chain is seen up to a moment when a complete poll began after it and its newest block is not old. A
provider tells by webhooks only, so after a gap in our own running it is given time to repeat them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.alerts.raise_alert import raise_alert, resolve_alert

BLIND_ALERT: Final = "expiry_blind"
_GAP_S: Final = 60

# For statements over `subscription s`, with the parameter `reopen_hold_s`. Holds are counted on the row;
# the source's row is read at the statement's snapshot, where it can only be older: that errs towards waiting.
MAY_END: Final = """(
    s.holds = 0
    AND (s.payable_until IS NULL OR s.payable_source IS NULL OR s.payable_until < s.access_until
         OR EXISTS (
             SELECT 1 FROM payment_source p
             WHERE p.name = s.payable_source AND s.payable_source LIKE 'chain:%'
               AND p.polled_at >= s.access_until
               AND p.head_at >= clock_timestamp()
                   - greatest(60, 10 * coalesce(p.block_time_s, 1)) * interval '1 second')
         OR (s.payable_source NOT LIKE 'chain:%' AND EXISTS (
             SELECT 1 FROM payment_source p
             WHERE p.name = 'platform'
               AND (p.head_at IS NULL
                    OR p.head_at <= clock_timestamp() - :reopen_hold_s * interval '1 second'))))
)"""

# `head_at` of the row `platform`: since when it runs without a gap; null when there never was one.
_NOTE_RUNNING: Final = text("""
    INSERT INTO payment_source AS p (name, seen_ok_at) VALUES ('platform', clock_timestamp())
    ON CONFLICT (name) DO UPDATE
    SET head_at = CASE WHEN p.seen_ok_at < clock_timestamp() - :gap_s * interval '1 second'
                       THEN clock_timestamp() ELSE p.head_at END,
        seen_ok_at = clock_timestamp()
""")

_BLIND: Final = text(f"""
    SELECT s.payable_source AS source, count(*) AS waiting, min(s.access_until) AS since
    FROM subscription s
    WHERE s.status IN ('trialing', 'active', 'past_due') AND s.holds = 0 AND s.payable_source IS NOT NULL
      AND s.access_until <= tenure_now() - :blind_max_h * interval '1 hour' AND NOT {MAY_END}
    GROUP BY s.payable_source
""")
_OPEN_ALERTS: Final = text("SELECT subject FROM alert WHERE rule = :rule AND resolved_at IS NULL")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a missing sight keeps an expiry back, and when a person is asked."""

    reopen_hold_s: float = 900
    blind_max_h: float = 24


def note_running(session: Session) -> None:
    """Remember that the platform runs now, and since when without a gap of more than a minute."""
    session.execute(_NOTE_RUNNING, {"gap_s": _GAP_S})


def alert_when_blind(session: Session, patience: Patience) -> None:
    """Ask a person where an expiry has waited for sight longer than the cap; it never expires by itself."""
    found = session.execute(
        _BLIND, {"blind_max_h": patience.blind_max_h, "reopen_hold_s": patience.reopen_hold_s}
    ).all()
    for row in found:
        raise_alert(
            session,
            rule=BLIND_ALERT,
            subject=row.source,
            severity="critical",
            message=f"{row.waiting} subscriptions wait for their expiry: payments through {row.source} "
            f"cannot be seen. Mend the source, or expire them by hand.",
            data={"waiting": row.waiting},
        )
    seen = {row.source for row in found}
    for subject in session.scalars(_OPEN_ALERTS, {"rule": BLIND_ALERT}).all():
        if subject not in seen:
            resolve_alert(session, rule=BLIND_ALERT, subject=subject)
