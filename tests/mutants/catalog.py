"""The four classic ways of building this wrong."""

from __future__ import annotations

from tests.mutants.builds import Change, Mutant, says

DEDUPE_OFF = Mutant(
    # What a provider tells twice counts twice: no unique key, and nobody asks whether it was there.
    name="dedupe off",
    caught_by=frozenset({"I1", "I1b", "I11"}),
    changes=(
        Change(
            "alembic/versions/0004_money.py",
            '        sa.UniqueConstraint("provider", "provider_ref", '
            'name=op.f("uq_payment_provider_provider_ref")),\n',
            "",
        ),
        Change(
            "alembic/versions/0004_money.py",
            '        sa.UniqueConstraint("provider", "event_id", '
            'name=op.f("uq_inbound_event_provider_event_id")),\n',
            "",
        ),
        Change(
            "alembic/versions/0004_money.py",
            '        sa.UniqueConstraint("payment_id", "kind", '
            'name=op.f("uq_ledger_entry_payment_id_kind")),\n',
            "",
        ),
        Change(
            "platform/tenure/payments/receive_webhook.py",
            "    ON CONFLICT (provider, event_id) DO NOTHING RETURNING id",
            "    RETURNING id",
        ),
        Change(
            "platform/tenure/payments/process_inbound.py",
            "    ON CONFLICT (provider, provider_ref) DO NOTHING RETURNING id",
            "    RETURNING id",
        ),
        Change(
            "platform/tenure/payments/ledger.py",
            "    ON CONFLICT DO NOTHING RETURNING id",
            "    RETURNING id",
        ),
        Change(
            "platform/tenure/payments/process_inbound.py",
            '    payment_id = new_id("pay")\n',
            f'    {says("dedupe off")}\n    payment_id = new_id("pay")\n',
        ),
    ),
)

END_IN_FINALLY = Mutant(
    # Only the child writes END: what kills the child, or the whole node, leaves the iteration open for ever.
    name="END only in finally",
    caught_by=frozenset({"I6"}),
    changes=(
        Change(
            "tasks/request.py",
            "        process.parent().end(self._owner, outcome, EndedBy.PARENT, error_type)\n",
            f"        {says('END only in finally')}\n",
        ),
        Change(
            "platform/tenure/iterations/repair.py",
            "                ended = ledger.reap(self._door, judge=node.id, lease_s=self._lease_s)\n",
            f"                {says('END only in finally')}\n                ended: list[Ended] = []\n",
        ),
    ),
)

SERIAL_CURSOR = Mutant(
    # The relay follows the number that an event got when it was inserted: who commits late is passed by.
    name="plain serial cursor",
    caught_by=frozenset({"I9", "I9c"}),
    changes=(
        Change(
            "alembic/versions/0001_runtime.py",
            "    INSERT INTO event_pending (n, event_id) SELECT n, id FROM added;\n",
            "",
        ),
        Change(
            "platform/tenure/events/order.py",
            """\
        DELETE FROM event_pending
        WHERE n IN (SELECT n FROM event_pending ORDER BY n LIMIT :limit)
        RETURNING n, event_id
""",
            """\
        SELECT n, id AS event_id FROM event
        WHERE n > (SELECT coalesce(max(e.n), 0) FROM event_seq s JOIN event e ON e.id = s.event_id)
        ORDER BY n LIMIT :limit
""",
        ),
        Change(
            "platform/tenure/events/order.py",
            "    return int(session.execute(_NUMBER,",
            f"    {says('plain serial cursor')}\n    return int(session.execute(_NUMBER,",
        ),
    ),
)

SEND_THEN_MARK = Mutant(
    # A notice is marked when it was sent, not before: a sender that dies in between leaves it to the next.
    # One thread, because several would send the same notice without any death.
    name="send then mark",
    caught_by=frozenset({"I3"}),
    changes=(
        Change("platform/tenure/notices/send_planned.py", "_THREADS: Final = 4\n", "_THREADS: Final = 1\n"),
        Change(
            "platform/tenure/notices/send_planned.py",
            '            session.execute(_SENDING, {"id": row.id, "iteration_id": iteration_id})\n',
            f"            {says('send then mark')}\n",
        ),
        Change(
            "platform/tenure/notices/send_planned.py",
            "    WHERE id = :id AND state = 'sending' AND sent_by = :iteration_id\n",
            "    WHERE id = :id AND state = 'planned'\n",
        ),
    ),
)

MUTANTS = (DEDUPE_OFF, END_IN_FINALLY, SERIAL_CURSOR, SEND_THEN_MARK)
