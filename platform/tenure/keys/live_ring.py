"""The key ring of this process: read from the record, looked at again every few seconds."""

from __future__ import annotations

import threading
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.accounts.tokens import ACCESS_S
from tenure.errors import BrokenRule, TenureError
from tenure.kit import clock
from tenure.kit.db import Database, in_transaction
from tenure.kit.keyring import FIRST, FixedRing, Ring, RingKey
from tenure.kit.logging import get_logger
from tenure.kit.sealing import Sealer, Unreadable
from tenure.settings import Settings

_log = get_logger(__name__)
_READ_EVERY_S: Final = 2.0
_AT_MOST_EVERY_S: Final = 1.0
# Another process may sign with the key before for as long as it has not looked again.
ACCEPTED_S: Final = ACCESS_S + 60
_PURPOSE: Final = "signing keys"
_KEYS: Final = text("""
    SELECT kid, sealed, retired_at IS NULL AS current,
           coalesce(retired_at > clock_timestamp() - :accepted * interval '1 second', true) AS accepted
    FROM signing_key ORDER BY created_at, kid
""")


class LiveRing:
    """Safe to share between threads. Raises Unavailable only when the ring was never read."""

    def __init__(self, settings: Settings, db: Database) -> None:
        """Nothing is read yet."""
        self._settings = settings
        self._db = db
        self._reading = threading.Lock()
        self._ring: Ring | None = None
        self._read_at = 0.0

    def ring(self) -> Ring:
        """The ring, at most a few seconds old (older while PostgreSQL is away)."""
        return self._looked(_READ_EVERY_S)

    def fresh(self) -> Ring:
        """The ring, at most a second old."""
        return self._looked(_AT_MOST_EVERY_S)

    def load(self, session: Session) -> Ring:
        """The ring as it stands within this transaction; later calls see it too."""
        self._ring, self._read_at = load_ring(session, self._settings), clock.monotonic()
        return self._ring

    def _looked(self, at_most_s: float) -> Ring:
        known = self._ring
        if known is not None and (in_transaction() or clock.monotonic() - self._read_at < at_most_s):
            return known
        if in_transaction():
            raise BrokenRule("the key ring was not loaded before this transaction")
        # One thread reads; the others go by what is known.
        if self._reading.acquire(blocking=known is None):
            try:
                with self._db.transaction() as session:
                    return self.load(session)
            except TenureError as error:
                if known is None:
                    raise
                _log.warning("keys.not_read", error_type=type(error).__name__)
            finally:
                self._reading.release()
        return known if known is not None else self._looked(at_most_s)


def sealers(settings: Settings) -> list[Sealer]:
    """What opens the ring's keys: the master first (it also seals them), then the master before it."""
    masters = [settings.key()]
    if settings.secret_key_previous is not None:
        masters.append(settings.secret_key_previous.get_secret_value())
    return [Sealer(master, purpose=_PURPOSE) for master in masters]


def opened(ways: list[Sealer], kid: str, sealed: bytes) -> str | None:
    """The key, by the first way that works; None when none does."""
    for way in ways:
        try:
            return way.open(sealed, about=kid)
        except Unreadable:
            continue
    return None


def load_ring(session: Session, settings: Settings) -> Ring:
    """The ring as the record has it. Keys that cannot be opened are left out, and told of in the log."""
    master = settings.key()
    first = RingKey(FIRST, master)
    previous = settings.secret_key_previous
    readable: dict[str, tuple[RingKey, ...]] = {FIRST: (first,)}
    if previous is not None:
        readable[FIRST] = (first, RingKey(FIRST, previous.get_secret_value()))
    rows = session.execute(_KEYS, {"accepted": ACCEPTED_S}).all()
    if not rows:
        return Ring(first, FixedRing(master).ring().accepted, readable)
    current: RingKey | None = None
    accepted: dict[str, RingKey] = {}
    ways = sealers(settings)
    for row in rows:
        secret = master if row.sealed is None else opened(ways, row.kid, bytes(row.sealed))
        if secret is None:
            _log.error("keys.unreadable", kid=row.kid, hint="set TENURE_SECRET_KEY_PREVIOUS and rotate")
            continue
        key = RingKey(row.kid, secret)
        if row.sealed is not None:
            readable[row.kid] = (key,)
        if row.accepted:
            accepted[row.kid] = key
        if row.current:
            current = key
    if current is None:
        # Sealed under a master that nobody has: people can sign in again with the master alone.
        current = accepted[FIRST] = first
    return Ring(current, accepted, readable)
