"""How long `tenure verify` takes on a long history: by default a million iterations with all that they wrote.

The peer is PostgreSQL itself: counting the rows of the same tables by reading each once, on one connection.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import psycopg

from bench.machine import Servers, load_now, servers
from tenure.iterations.catalog import catalog
from tenure.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
_TABLES: Final = ("slot", "iteration", "event", "event_seq", "event_channel")
# Long enough ago that nothing is under way, in steps that leave room between the runs of one job.
_SETTING: Final = """
    CREATE TEMP TABLE given AS
    WITH catalog AS (SELECT %(jobs)s::text[] AS names, clock_timestamp() - interval '1 day' AS newest)
    SELECT g AS n, names[1 + g %% cardinality(names)] AS job,
           newest - (%(count)s - g) * interval '0.8 s' AS due,
           lpad(to_hex((extract(epoch FROM newest) * 1000 - (%(count)s - g) * 800)::bigint), 12, '0')
               || right(md5(g::text), 16) AS id
    FROM catalog, generate_series(1, %(count)s) AS g;
    ANALYZE given
"""
_LOAD: Final = (
    """INSERT INTO slot (id, job, due_at, origin, state, created_at, expires_at, publish_after, publish_tries,
                         published_at, decided_at)
       SELECT 'slt_' || id, job, due, 'schedule', 'started', due, due + interval '1 minute',
              due + interval '10 s', 1, due + interval '10 ms', due + interval '20 ms' FROM given""",
    """INSERT INTO iteration (id, slot_id, job, scope, due_at, attempt, owner, node_id, worker, pid,
                              started_at, deadline_at, ended_at, outcome, ended_by)
       SELECT 'itr_' || id, 'slt_' || id, job, '', due, 1, md5(id), 'nod_' || left(id, 28), 'worker', 7,
              due + interval '20 ms', due + interval '3 minutes', due + interval '60 ms', 'ok', 'child'
       FROM given""",
    """INSERT INTO event (id, type, subject, channels, iteration_id, ts, data)
       SELECT 'evt_' || left(id, 12) || right(md5(id || part), 16), 'iteration.' || part,
              'iteration:itr_' || id, ARRAY['iterations', 'slot:slt_' || id], 'itr_' || id, due,
              jsonb_build_object('slot_id', 'slt_' || id, 'job', job, 'scope', '', 'due_at', due,
                  'attempt', 1, 'iteration_id', 'itr_' || id, 'worker', 'worker', 'pid', 7, 'started_at', due)
              || CASE part WHEN 'started' THEN '{"count": 1}' ELSE jsonb_build_object(
                  'ended_at', due, 'outcome', 'ok', 'ended_by', 'child', 'error_type', NULL,
                  'duration_ms', 40,
                  'counters', '{"seen": 0, "done": 0, "skipped": 0, "failed": 0}'::jsonb) END
       FROM given CROSS JOIN (VALUES ('started'), ('ended')) AS parts (part) ORDER BY n, part DESC""",
    "INSERT INTO event_seq (seq, event_id) SELECT n, id FROM event",
    """INSERT INTO event_channel (channel, ofs, seq)
       SELECT channels[2], 2 - n % 2, n FROM event""",
)


def main(*, quick: bool) -> None:
    """Print how long the command takes beside reading the tables once."""
    count = 5_000 if quick else 1_000_000
    with servers() as where:
        load(where.database_url, count)
        limit_s = _read_once(where.database_url)
        began = time.perf_counter()
        told = _verify(where)
        took_s = time.perf_counter() - began
    assert told["ok"], told
    print(f"\nverify: {count:,} iterations with {2 * count:,} events; {load_now()}")
    print(f"  read the same tables once  {limit_s:8.2f} s")
    print(f"  tenure verify              {took_s:8.2f} s   ratio {took_s / limit_s:.2f}")


def load(database_url: str, count: int) -> None:
    """A history of this many iterations that breaks no invariant."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        names = [job.name for job in catalog(Settings()).values()]
        connection.execute("ALTER TABLE event DISABLE TRIGGER USER")
        connection.execute("SET work_mem = '256MB'")
        for statement in _SETTING.split(";"):
            connection.execute(
                statement.encode(), {"count": count, "jobs": names} if "%(" in statement else None
            )
        for statement in _LOAD:
            connection.execute(statement.encode())
        connection.execute("ALTER TABLE event ENABLE TRIGGER USER")
        connection.execute("VACUUM (ANALYZE)")


def _read_once(database_url: str) -> float:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET enable_indexonlyscan = off")
        connection.execute("SET enable_indexscan = off")
        connection.execute("SET max_parallel_workers_per_gather = 0")
        began = time.perf_counter()
        for table in _TABLES:
            connection.execute(f"SELECT count(*) FROM {table}".encode())
        return time.perf_counter() - began


def _verify(where: Servers) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "tenure", "verify", "--json"],
        cwd=ROOT, env=where.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told
