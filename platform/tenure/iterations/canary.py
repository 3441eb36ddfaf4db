"""The canary seen from outside a run: whether its runs are asked for and nobody makes them."""

from __future__ import annotations

from contextlib import closing
from typing import Final

from tenure.errors import Unavailable
from tenure.kit.db import StatementDoor

# Sent a while ago and waiting or given up, while for a while none was started by any worker.
_IN_VAIN: Final = """
SELECT EXISTS (SELECT 1 FROM slot
               WHERE job = 'canary' AND published_at IS NOT NULL
                 AND due_at BETWEEN clock_timestamp() - make_interval(secs => %(within_s)s)
                                AND clock_timestamp() - make_interval(secs => %(within_s)s / 9)
                 AND (state = 'pending' OR (state = 'skipped' AND reason = 'expired')))
   AND NOT EXISTS (SELECT 1 FROM iteration
                   WHERE job = 'canary'
                     AND started_at > clock_timestamp() - make_interval(secs => %(within_s)s / 4)) AS in_vain
"""


def waits_in_vain(database_url: str, *, within_s: float) -> bool:
    """Whether canaries were sent in this time and none is started anywhere; False when nobody can tell.

    Asks over a connection of its own, so that whatever hangs elsewhere cannot hold the answer back.
    """
    with closing(StatementDoor(database_url, application="tenure-watchdog")) as door:
        try:
            return bool(door.run(_IN_VAIN, {"within_s": within_s})[0]["in_vain"])
        except Unavailable:
            return False
