"""The check after healing: `tenure verify`, and the record held against the truth from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from tenure.chaos import effects, rules
from tenure.chaos.finding import Finding
from tenure.chaos.history import Entry
from tenure.chaos.throwaway import Stack
from tenure.kit.db import StatementDoor
from tenure.kit.times import rfc3339
from tenure.notices.rules import MUST_ARRIVE

_FOUND_WANTING: Final = 1
_DESIRED: Final = """
SELECT subscription_id AS id, desired_generation AS generation, enabled, plan_code AS plan, access_until
FROM provisioning
"""
_MAILS: Final = """
SELECT id, state, attempts, kind = ANY(%(must)s) AS must_arrive FROM notice WHERE channel = 'email'
"""
_MESSAGES: Final = """
SELECT c.telegram_chat_id AS chat, n.state FROM notice n
JOIN subscription s ON s.id = n.subscription_id JOIN customer c ON c.id = s.customer_id
WHERE n.channel = 'telegram'
"""
# What a healed stack does not have: somebody who waits for a lock or holds a transaction open in idleness.
_STUCK: Final = """
SELECT pid, application_name, state, wait_event_type FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND ((starts_with(state, 'idle in transaction') AND state_change < clock_timestamp() - interval '5 seconds')
       OR (wait_event_type = 'Lock' AND query_start < clock_timestamp() - interval '5 seconds'))
"""


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check saw: every invariant's verdict as `tenure verify --json` prints it, and the findings."""

    invariants: tuple[dict[str, Any], ...]
    findings: tuple[Finding, ...]


def check(stack: Stack, history: Sequence[Entry] = ()) -> Checked:
    """Hold everything against everything. The stack runs and has come to rest."""
    invariants, found = _verified(stack)
    door = StatementDoor(stack.database_url, application="tenure-chaos", statement_timeout_s=60)
    with closing(door):
        found += _outside(stack, door)
        found += effects.judged(door, history)
        found += [_stuck(row) for row in door.run(_STUCK)]
    found += rules.answers(history)
    found += rules.printed(stack.log_lines("ITERATION_START", "ITERATION_END"))
    return Checked(tuple(invariants), tuple(found))


def _verified(stack: Stack) -> tuple[list[dict[str, Any]], list[Finding]]:
    done = stack.command("verify", "--json")
    if done.code not in {0, _FOUND_WANTING}:
        return [], [Finding("verify", "command", f"exit code {done.code}: {done.stderr.strip()[-500:]}")]
    invariants: list[dict[str, Any]] = done.json()["invariants"]
    return invariants, [
        Finding(one["id"], " ".join(one["samples"]), f"{one['title']}: {one['violated']} of {one['checked']}")
        for one in invariants
        if one["violated"]
    ]


def _outside(stack: Stack, door: StatementDoor) -> list[Finding]:
    world = stack.outside
    desired = [{**row, "access_until": rfc3339(row["access_until"])} for row in door.run(_DESIRED)]
    mails = [{name.lower(): at for name, at in mail["headers"].items()} for mail in world.mailbox.mails]
    taken = [{"notice": mail.get("x-tenure-notice"), "message_id": mail.get("message-id")} for mail in mails]
    return [
        *rules.accounts(desired, world.provisioner.accounts),
        *rules.calls(world.provisioner.journal),
        *rules.mails(door.run(_MAILS, {"must": list(MUST_ARRIVE)}), taken),
        *rules.messages(door.run(_MESSAGES), world.telegram.messages),
    ]


def _stuck(row: Mapping[str, Any]) -> Finding:
    seen = f"{row['state']}, waits for {row['wait_event_type']}"
    return Finding("stuck", str(row["application_name"]), seen)
