"""Rotate the ring: a new key signs and seals from now on, and what is kept sealed is sealed anew.

Access tokens of the key before are believed for the fifteen minutes that they last; a session whose refresh
token is used in that time goes on under the new key, every other one has to sign in again.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.keys.live_ring import ACCEPTED_S, load_ring, opened, sealers
from tenure.kit.keyring import FIRST, Ring, RingKey
from tenure.kit.sealing import Sealer, Unreadable
from tenure.kit.times import rfc3339
from tenure.settings import Settings

_KEY_BYTES: Final = 48
_LOCK: Final = text("SELECT pg_advisory_xact_lock(7305810)")
_ROWS: Final = text("SELECT kid, sealed FROM signing_key ORDER BY created_at, kid FOR UPDATE")
_FIRST_ROW: Final = text("INSERT INTO signing_key (kid) VALUES (:kid)")
_RETIRE: Final = text("UPDATE signing_key SET retired_at = clock_timestamp() WHERE retired_at IS NULL")
_ADD: Final = text("INSERT INTO signing_key (kid, sealed) VALUES (:kid, :sealed)")
_RESEAL: Final = text("UPDATE signing_key SET sealed = :sealed WHERE kid = :kid")
_LIST: Final = text("""
    SELECT kid, created_at, retired_at, retired_at + :accepted * interval '1 second' AS accepted_until,
           retired_at + :accepted * interval '1 second' > clock_timestamp() AS accepted
    FROM signing_key ORDER BY created_at DESC, kid DESC
""")


@dataclass(frozen=True, slots=True)
class _Kept:
    """A column whose values are sealed: the purpose of its key, and the column of the id it is bound to."""

    table: str
    column: str
    purpose: str


# Everything that is kept sealed. (Secrets of providers stand in the settings, never in the record.)
KEPT: Final = (
    _Kept("webhook_endpoint", "secret_sealed", "webhook endpoint secrets"),
    _Kept("webhook_endpoint", "previous_sealed", "webhook endpoint secrets"),
)


@dataclass(frozen=True, slots=True)
class _Stands:
    """A ring that is not looked for anywhere."""

    stands: Ring

    def ring(self) -> Ring:
        return self.stands

    def fresh(self) -> Ring:
        return self.stands


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did: the new key's name, and how many secrets were sealed anew or cannot be opened."""

    kid: str
    resealed: int
    unreadable: int


def rotate_keys(session: Session, settings: Settings, *, actor: Actor) -> Rotated:
    """The ring has a new current key, and everything kept sealed is sealed with it."""
    session.execute(_LOCK)
    before = load_ring(session, settings)
    ways = sealers(settings)
    rows = session.execute(_ROWS).all()
    if not rows:
        session.execute(_FIRST_ROW, {"kid": FIRST})
    for row in rows:
        # Under the master as it is now: then the master before it is not needed any more.
        secret = opened(ways, row.kid, bytes(row.sealed)) if row.sealed is not None else None
        if secret is not None:
            session.execute(_RESEAL, {"kid": row.kid, "sealed": ways[0].seal(secret, about=row.kid)})
    new = RingKey(
        f"k{1 + max((int(row.kid[1:]) for row in rows), default=0)}", secrets.token_urlsafe(_KEY_BYTES)
    )
    session.execute(_RETIRE)
    session.execute(_ADD, {"kid": new.kid, "sealed": ways[0].seal(new.secret, about=new.kid)})
    after = Ring(new, before.accepted, {**before.readable, new.kid: (new,)})
    resealed = unreadable = 0
    for kept in KEPT:
        done, failed = _reseal(session, kept, after)
        resealed, unreadable = resealed + done, unreadable + failed
    record(
        session,
        actor=actor,
        action="keys.rotated",
        object_=f"key:{new.kid}",
        before={"kid": before.current.kid},
        after={"kid": new.kid, "resealed": resealed, "unreadable": unreadable},
    )
    return Rotated(new.kid, resealed, unreadable)


def _reseal(session: Session, kept: _Kept, ring: Ring) -> tuple[int, int]:
    sealer = Sealer(_Stands(ring), purpose=kept.purpose)
    # Names of our own tables and columns, from the list above.
    read = text(
        f"SELECT id, {kept.column} AS sealed FROM {kept.table} WHERE {kept.column} IS NOT NULL FOR UPDATE"
    )
    write = text(f"UPDATE {kept.table} SET {kept.column} = :sealed WHERE id = :id")
    done = failed = 0
    for row in session.execute(read).all():
        try:
            secret = sealer.open(bytes(row.sealed), about=row.id)
        except Unreadable:
            failed += 1
            continue
        session.execute(write, {"id": row.id, "sealed": sealer.seal(secret, about=row.id)})
        done += 1
    return done, failed


def list_keys(session: Session) -> list[dict[str, Any]]:
    """The ring's keys, the newest first; never a key itself."""
    rows = session.execute(_LIST, {"accepted": ACCEPTED_S}).all()
    if not rows:
        return [{"kid": FIRST, "state": "current", "created_at": None, "accepted_until": None}]
    return [
        {
            "kid": row.kid,
            "state": "current" if row.retired_at is None else ("previous" if row.accepted else "retired"),
            "created_at": rfc3339(row.created_at),
            "accepted_until": rfc3339(row.accepted_until),
        }
        for row in rows
    ]
