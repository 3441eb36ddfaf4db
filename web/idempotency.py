"""Repeats of a POST with the same `Idempotency-Key` get the first answer; nothing happens twice.

The key is claimed, and the answer stored, in the transaction that does the work: either both stand or
neither. A repeat that arrives meanwhile waits for that transaction at the unique key.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Final

from flask import Request
from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.errors import Conflict
from web.problem import BadRequest

HEADER: Final = "Idempotency-Key"
REPLAY: Final = "Idempotent-Replay"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")

# An expired row is taken over as if it were new.
_CLAIM: Final = text("""
    INSERT INTO idempotency_key AS k (actor, key, request_hash, expires_at)
    VALUES (:actor, :key, :hash, clock_timestamp() + interval '24 hours')
    ON CONFLICT (actor, key) DO UPDATE SET request_hash = excluded.request_hash, status = NULL,
        response = NULL, created_at = clock_timestamp(), expires_at = excluded.expires_at
    WHERE k.expires_at < clock_timestamp()
    RETURNING 1
""")
_READ: Final = text(
    "SELECT request_hash, status, response FROM idempotency_key WHERE actor = :actor AND key = :key"
)
_STORE: Final = text("""
    UPDATE idempotency_key SET status = :status, response = :response WHERE actor = :actor AND key = :key
""")


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer that was given to the first request."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class Repeatable:
    """One request that carries a key."""

    actor: str
    key: str
    request_hash: str

    def claim(self, session: Session) -> Stored | None:
        """None: the work is ours to do. Else the answer of the first time.

        Raises Conflict `idempotency_mismatch` when the key came with another request.
        """
        values = {"actor": self.actor, "key": self.key, "hash": self.request_hash}
        if session.execute(_CLAIM, values).first() is not None:
            return None
        row = session.execute(_READ, values).mappings().one()
        if row["request_hash"] != self.request_hash:
            raise Conflict("this Idempotency-Key came with another request", code="idempotency_mismatch")
        if row["response"] is None:
            raise Conflict("the answer held a secret that is shown only once", code="already_answered")
        return Stored(row["status"], json.loads(row["response"]))

    def store(self, session: Session, status: int, body: Any, *, secret: bool) -> None:
        """Keep the answer; of one with a secret only that it was given."""
        response = None if secret else json.dumps(body, default=str)
        session.execute(
            _STORE, {"actor": self.actor, "key": self.key, "status": status, "response": response}
        )


def key_of(request: Request, *, required: bool) -> str | None:
    """The request's key. Raises BadRequest for one that is missing where required, or not readable."""
    key = request.headers.get(HEADER)
    if key is None:
        if required:
            raise BadRequest(f"the header {HEADER} is required here", code="idempotency_key_required")
        return None
    if not _KEY.fullmatch(key):
        raise BadRequest(f"{HEADER}: 1 to 255 visible ASCII characters", code="idempotency_key_invalid")
    return key


def repeatable(request: Request, *, actor: str, key: str, body: Any) -> Repeatable:
    """What identifies this request among its repeats."""
    return identified(
        actor=actor,
        key=key,
        method=request.method,
        path=request.path,
        query=request.query_string.decode("latin-1"),
        body=body,
    )


def identified(*, actor: str, key: str, method: str, path: str, query: str = "", body: Any) -> Repeatable:
    """The same for a request that came another way: asked for on both ways, it happens once."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    asked = "\n".join([method, path, query, canonical])
    return Repeatable(actor, key, hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest())
