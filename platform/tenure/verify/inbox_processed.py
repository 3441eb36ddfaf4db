"""A message of a provider, or of the bot, that was acknowledged is processed."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I11",
    title="No stored message of a provider or the bot has waited ten minutes, and none is stored twice",
    checked="SELECT (SELECT count(*) FROM inbound_event) + (SELECT count(*) FROM telegram_update)",
    broken="""
        SELECT id FROM inbound_event
        WHERE processed_at IS NULL AND received_at < clock_timestamp() - interval '10 minutes'
        UNION ALL
        SELECT id FROM inbound_event WHERE (processed_at IS NULL) <> (result IS NULL)
        UNION ALL
        SELECT min(id) FROM inbound_event GROUP BY provider, event_id HAVING count(*) > 1
        UNION ALL
        SELECT update_id::text FROM telegram_update
        WHERE processed_at IS NULL AND received_at < clock_timestamp() - interval '10 minutes'
    """,
)
