"""How often each job started, ended and was skipped, without counting its history each time.

The order of events is dense and never changes behind its end, so what lies behind a mark is counted once and
kept; only the few events after the mark are counted when somebody asks. The totals survive the deletion of
old history and every restart, and never go down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

# Events of one pass: below what a job may take, above what happens between two passes.
BATCH: Final = 20_000

_COUNTED: Final = """
    SELECT CASE e.type WHEN 'iteration.started' THEN 'started' WHEN 'iteration.ended' THEN 'ended'
                       ELSE 'skipped' END AS kind,
           e.data->>'job' AS job,
           coalesce(CASE e.type WHEN 'iteration.ended' THEN e.data->>'outcome'
                                WHEN 'slot.skipped' THEN e.data->>'reason' END, '') AS detail,
           -- One skip may stand for several due times.
           sum(CASE e.type WHEN 'slot.skipped' THEN coalesce((e.data->>'count')::bigint, 1)
                           ELSE 1 END)::bigint AS n,
           coalesce(sum((e.data->>'duration_ms')::bigint), 0) / 1000.0::float8 AS seconds
    FROM event_seq s JOIN event e ON e.id = s.event_id
    WHERE s.seq > {after} AND s.seq <= {upto}
      AND e.type IN ('iteration.started', 'iteration.ended', 'slot.skipped')
    GROUP BY 1, 2, 3
"""
_LOCK: Final = text("""
    SELECT seq, (SELECT coalesce(max(seq), 0) FROM event_seq) AS newest FROM tally_mark FOR UPDATE
""")
_FOLD: Final = text(f"""
    INSERT INTO tally (kind, job, detail, n, seconds)
    {_COUNTED.format(after=":after", upto=":upto")}
    ON CONFLICT (kind, job, detail)
    DO UPDATE SET n = tally.n + excluded.n, seconds = tally.seconds + excluded.seconds
""")
_ADVANCE: Final = text("UPDATE tally_mark SET seq = :upto")
_TOTALS: Final = text(f"""
    SELECT kind, job, detail, sum(n)::bigint AS n, sum(seconds) AS seconds FROM (
        SELECT kind, job, detail, n, seconds FROM tally
        UNION ALL
        {_COUNTED.format(after="(SELECT seq FROM tally_mark)", upto="(SELECT max(seq) FROM event_seq)")}
    ) AS parts
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
""")


@dataclass(frozen=True, slots=True)
class Total:
    """`kind`: started, ended, skipped; `detail`: the outcome or the reason; `seconds`: from START to END."""

    kind: str
    job: str
    detail: str
    n: int
    seconds: float


def fold(session: Session, *, batch: int = BATCH) -> int:
    """Count up to `batch` places in the order of events, once for ever; how many were left before."""
    mark = session.execute(_LOCK).one()
    upto = min(mark.newest, mark.seq + batch)
    if upto > mark.seq:
        session.execute(_FOLD, {"after": mark.seq, "upto": upto})
        session.execute(_ADVANCE, {"upto": upto})
    return max(0, int(mark.newest - mark.seq))


def totals(session: Session) -> list[Total]:
    """What has its place in the order of events by now, in one snapshot."""
    return [Total(row.kind, row.job, row.detail, row.n, row.seconds) for row in session.execute(_TOTALS)]
