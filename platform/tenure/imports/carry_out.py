"""Write what an import has staged: customers, subscriptions, what their accounts shall be told, events.

Each step is one statement over all rows, so that ten thousand take seconds.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.subscriptions.access import Priority, refresh

_CHUNK: Final = 1000
# More events than this are not told one by one on the broad channel; each is on its subscription's own.
_BULK: Final = 50

_NEW_CUSTOMERS: Final = text("""
    INSERT INTO customer (id, external_id, email, telegram_chat_id)
    SELECT tenure_id('cus'), r.external_id, r.email, r.telegram_chat_id FROM (
        SELECT DISTINCT ON (external_id) external_id, email, telegram_chat_id, line FROM import_row
        WHERE clean AND customer_id IS NULL ORDER BY external_id, line) AS r
    ORDER BY r.line
    ON CONFLICT (external_id) DO NOTHING
""")
_KNOW_CUSTOMERS: Final = text("""
    UPDATE import_row r SET customer_id = c.id FROM customer c
    WHERE r.clean AND r.customer_id IS NULL AND c.external_id = r.external_id
""")
# A new address clears the mark that the old one could not be reached.
_CHANGE_CUSTOMERS: Final = text("""
    UPDATE customer c
    SET email = r.email, telegram_chat_id = r.telegram_chat_id, updated_at = clock_timestamp(),
        email_blocked_at = CASE WHEN c.email IS NOT DISTINCT FROM r.email THEN c.email_blocked_at END,
        telegram_blocked_at = CASE WHEN c.telegram_chat_id IS NOT DISTINCT FROM r.telegram_chat_id
                                   THEN c.telegram_blocked_at END
    FROM (SELECT DISTINCT customer_id, email, telegram_chat_id FROM import_row
          WHERE clean AND change <> 'unchanged') AS r
    WHERE c.id = r.customer_id
      AND (c.email, c.telegram_chat_id) IS DISTINCT FROM (r.email, r.telegram_chat_id)
""")

# The anchor is the period's start where the period is one interval of the plan in the customer's zone, so
# that Jan 31 - Feb 28 is followed by Mar 31; otherwise periods are counted from the imported end. A trial's
# end is the anchor of what follows it.
_ANCHORED: Final = """
    (r.status <> 'trialing'
     AND ((r.period_start AT TIME ZONE c.timezone) + {step}) AT TIME ZONE c.timezone = r.period_end)
"""
_ENDED_AT: Final = """
    CASE r.status WHEN 'canceled' THEN least(tenure_now(), r.period_end)
                  WHEN 'expired' THEN least(tenure_now(), r.period_end + {grace}) END
"""
_REMIND_AT: Final = """
    CASE WHEN jsonb_array_length({plan}->'reminders') > 0 AND r.status IN ('trialing', 'active', 'past_due')
         THEN tenure_now() END
"""
_NAME_SUBSCRIPTIONS: Final = text("""
    UPDATE import_row SET subscription_id = tenure_id('sub') WHERE clean AND change = 'created'
""")
_ADD_SUBSCRIPTIONS: Final = text(f"""
    INSERT INTO subscription (id, customer_id, plan_code, plan_snapshot, grace_hours, status, is_trial,
                              anchor_at, anchor_no, period_no, period_start, period_end, grace_until,
                              auto_renew, ended_at, remind_at)
    SELECT r.subscription_id, r.customer_id, r.plan_code, p.snapshot, p.grace_hours, r.status,
           r.status = 'trialing',
           CASE WHEN {_ANCHORED.format(step="p.step")} THEN r.period_start ELSE r.period_end END,
           CASE WHEN {_ANCHORED.format(step="p.step")} THEN 1 ELSE 0 END,
           CASE WHEN r.status = 'trialing' THEN 0 ELSE 1 END,
           r.period_start, r.period_end, r.period_end + p.grace, coalesce(r.auto_renew, p.auto_renew),
           {_ENDED_AT.format(grace="p.grace")}, {_REMIND_AT.format(plan="p.snapshot")}
    FROM import_row r JOIN import_plan p ON p.code = r.plan_code JOIN customer c ON c.id = r.customer_id
    WHERE r.clean AND r.change = 'created'
    ORDER BY r.line
""")
# The provisioner is told of every imported account, also of those that are off: it may have them on.
_ADD_PROVISIONING: Final = text("""
    INSERT INTO provisioning (subscription_id, desired_generation, applied_generation, enabled, access_until,
                              plan_code, external_id, email, state, priority, applied_at)
    SELECT s.id, 1, CASE WHEN :assumed THEN 1 ELSE 0 END, s.status IN ('trialing', 'active', 'past_due'),
           s.access_until, s.plan_code, c.external_id, c.email,
           CASE WHEN :assumed THEN 'in_sync' ELSE 'pending' END, :priority,
           CASE WHEN :assumed THEN clock_timestamp() END
    FROM import_row r JOIN subscription s ON s.id = r.subscription_id JOIN customer c ON c.id = s.customer_id
    WHERE r.clean AND r.change = 'created'
    ORDER BY r.line
""")

# A moved period is announced again (`end_moves`); a trial that became a period is the first one. An open
# invoice keeps the number of the period it pays for.
_SAME_PERIOD: Final = "(s.period_start, s.period_end) IS NOT DISTINCT FROM (r.period_start, r.period_end)"
_STEP: Final = """
    ((s.plan_snapshot->'interval'->>'count') || ' ' || (s.plan_snapshot->'interval'->>'unit'))::interval
"""
_GRACE: Final = "s.grace_hours * interval '1 hour'"
_CHANGE_SUBSCRIPTIONS: Final = text(f"""
    WITH new AS (
        SELECT s.id, r.status, r.period_start, r.period_end,
               coalesce(r.auto_renew, s.auto_renew) AS auto_renew,
               {_SAME_PERIOD} AS same_period, s.is_trial AND r.status <> 'trialing' AS trial_over,
               {_ANCHORED.format(step=_STEP)} AS anchored,
               {_ENDED_AT.format(grace=_GRACE)} AS ended_at,
               {_REMIND_AT.format(plan="s.plan_snapshot")} AS remind_at
        FROM import_row r JOIN subscription s ON s.id = r.subscription_id
        JOIN customer c ON c.id = s.customer_id
        WHERE r.clean AND r.change = 'updated'
          AND (s.status, s.period_start, s.period_end, s.auto_renew) IS DISTINCT FROM
              (r.status, r.period_start, r.period_end, coalesce(r.auto_renew, s.auto_renew))
    )
    UPDATE subscription s
    SET status = n.status, is_trial = n.status = 'trialing', auto_renew = n.auto_renew,
        period_start = n.period_start, period_end = n.period_end,
        grace_until = n.period_end + {_GRACE},
        anchor_at = CASE WHEN n.same_period AND NOT n.trial_over THEN s.anchor_at
                         WHEN n.anchored THEN n.period_start ELSE n.period_end END,
        anchor_no = CASE WHEN n.same_period AND NOT n.trial_over THEN s.anchor_no
                         WHEN n.anchored THEN 1 ELSE 0 END,
        period_no = CASE WHEN n.status <> 'trialing' AND (n.trial_over OR s.period_no = 0)
                         THEN s.period_no + 1 ELSE s.period_no END,
        end_moves = CASE WHEN n.trial_over THEN 0 WHEN n.same_period THEN s.end_moves
                         ELSE s.end_moves + 1 END,
        paid_periods = CASE WHEN n.status = 'trialing' THEN s.paid_periods ELSE 0 END,
        cancel_at_period_end = s.cancel_at_period_end AND n.status <> 'past_due',
        paused_at = NULL, paused_from = NULL,
        ended_at = CASE WHEN s.status = n.status THEN coalesce(s.ended_at, n.ended_at) ELSE n.ended_at END,
        remind_at = n.remind_at, version = s.version + 1, updated_at = clock_timestamp()
    FROM new n WHERE n.id = s.id
""")
# Subscriptions that stood before, of customers of whom anything changed: noted before others are added.
_NOTE_KNOWN: Final = (
    text("""
    CREATE TEMPORARY TABLE import_known (id text COLLATE "C" PRIMARY KEY) ON COMMIT DROP
    """),
    text("""
    INSERT INTO import_known
    SELECT s.id FROM subscription s
    WHERE s.customer_id IN (SELECT customer_id FROM import_row WHERE clean AND change <> 'unchanged')
    """),
)
_KNOWN: Final = text("SELECT id FROM import_known WHERE id > :after ORDER BY id LIMIT :chunk")
_ASSUME_PROVISIONED: Final = text("""
    UPDATE provisioning p
    SET applied_generation = desired_generation, state = 'in_sync', attempts = 0, last_error = NULL,
        applied_at = clock_timestamp()
    FROM import_row r
    WHERE r.clean AND r.change = 'updated' AND p.subscription_id = r.subscription_id AND p.state <> 'in_sync'
""")
_EVENTS: Final = text("""
    INSERT INTO event (id, type, subject, channels, subscription_id, data)
    SELECT tenure_id('evt'), 'subscription.imported', 'subscription:' || s.id,
           CASE WHEN :bulk THEN ARRAY['subscription:' || s.id]
                ELSE ARRAY['subscriptions', 'subscription:' || s.id] END,
           s.id,
           jsonb_build_object(
               'change', r.change, 'status', s.status, 'customer_id', s.customer_id, 'plan_code', s.plan_code,
               'period_no', s.period_no, 'period_start', tenure_rfc3339(s.period_start),
               'period_end', tenure_rfc3339(s.period_end), 'grace_until', tenure_rfc3339(s.grace_until),
               'access_until', tenure_rfc3339(s.access_until),
               'cancel_at_period_end', s.cancel_at_period_end)
    FROM import_row r JOIN subscription s ON s.id = r.subscription_id
    WHERE r.clean AND r.change IN ('created', 'updated')
    ORDER BY r.line
""")
_ENTITLED: Final = text("""
    INSERT INTO event (id, type, subject, channels, subscription_id, data)
    SELECT tenure_id('evt'), 'entitlement.changed', 'subscription:' || s.id,
           CASE WHEN :bulk THEN ARRAY['subscription:' || s.id]
                ELSE ARRAY['subscriptions', 'subscription:' || s.id] END,
           s.id,
           jsonb_build_object('entitled', true, 'access_until', tenure_rfc3339(s.access_until),
                              'customer_id', s.customer_id, 'external_id', r.external_id, 'generation', 1)
    FROM import_row r JOIN subscription s ON s.id = r.subscription_id
    WHERE r.clean AND r.change = 'created' AND s.status IN ('trialing', 'active', 'past_due')
    ORDER BY r.line
""")
_BULK_EVENT: Final = text("""
    INSERT INTO event (id, type, subject, channels, data)
    VALUES (tenure_id('evt'), 'subscription.bulk_changed', 'import', ARRAY['subscriptions'],
            jsonb_build_object('iteration_id', NULL, 'type', 'subscription.imported', 'count',
                               CAST(:count AS bigint)))
""")


def carry_out(session: Session, *, created: int, updated: int, assume_provisioned: bool) -> None:
    """Write the clean rows that are new or changed; `unchanged` ones are not touched."""
    if not created and not updated:
        return
    session.execute(_NEW_CUSTOMERS)
    session.execute(_KNOW_CUSTOMERS)
    session.execute(_CHANGE_CUSTOMERS)
    session.execute(_CHANGE_SUBSCRIPTIONS)
    for statement in _NOTE_KNOWN:
        session.execute(statement)
    session.execute(_NAME_SUBSCRIPTIONS)
    session.execute(_ADD_SUBSCRIPTIONS)
    session.execute(_ADD_PROVISIONING, {"assumed": assume_provisioned, "priority": int(Priority.BULK)})
    bulk = created + updated > _BULK
    session.execute(_EVENTS, {"bulk": bulk})
    session.execute(_ENTITLED, {"bulk": bulk})
    if bulk:
        session.execute(_BULK_EVENT, {"count": created + updated})
    _refresh_known(session)
    if assume_provisioned:
        session.execute(_ASSUME_PROVISIONED)


def _refresh_known(session: Session) -> None:
    """Subscriptions that stood before: their accounts are told what has changed of them."""
    after = ""
    while True:
        ids = session.scalars(_KNOWN, {"after": after, "chunk": _CHUNK}).all()
        refresh(session, ids, priority=Priority.BULK)
        if len(ids) < _CHUNK:
            return
        after = ids[-1]
