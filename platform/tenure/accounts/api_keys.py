"""API keys: shown once when made, kept as a hash, revoked for good."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from tenure.accounts.principal import Role
from tenure.errors import Invalid, NotFound
from tenure.kit.ids import new_id
from tenure.kit.times import rfc3339
from tenure.model.account import ApiKey

PREFIX: Final = "tnk_"
_SHOWN: Final = 10
_LONGEST_NAME: Final = 100
_REVOKE: Final = text(
    "UPDATE api_key SET revoked_at = clock_timestamp() WHERE id = :id AND revoked_at IS NULL"
)


def key_hash(key: str) -> str:
    """What is stored of a key: it is random enough for a plain hash."""
    return hashlib.sha256(key.encode()).hexdigest()


def shown(key: ApiKey) -> dict[str, Any]:
    """A key as the API shows it: never the key itself."""
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "role": key.role,
        "created_by": key.created_by,
        "created_at": rfc3339(key.created_at),
        "last_used_at": rfc3339(key.last_used_at),
        "revoked_at": rfc3339(key.revoked_at),
    }


def create_api_key(session: Session, *, name: str, role: Role, created_by: str) -> dict[str, Any]:
    """Make a key. The result alone holds `key`: it cannot be read again."""
    name = name.strip()
    if not 0 < len(name) <= _LONGEST_NAME:
        raise Invalid.field("name", "length", f"a name has 1 to {_LONGEST_NAME} characters")
    key = PREFIX + secrets.token_urlsafe(32)
    row = ApiKey(
        id=new_id("key"),
        name=name,
        key_hash=key_hash(key),
        prefix=key[:_SHOWN],
        role=role.value,
        created_by=created_by,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return {**shown(row), "key": key}


def list_api_keys(
    session: Session, *, limit: int, cursor: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of keys, newest first, and the cursor of the next."""
    query = select(ApiKey).order_by(ApiKey.id.desc()).limit(limit + 1)
    if cursor:
        query = query.where(ApiKey.id < cursor)
    keys = list(session.scalars(query))
    return [shown(key) for key in keys[:limit]], keys[limit - 1].id if len(keys) > limit else None


def change_api_key(session: Session, key_id: str, *, name: str) -> dict[str, Any]:
    """Rename a key. Raises NotFound."""
    key = session.get(ApiKey, key_id)
    if key is None:
        raise NotFound
    key.name = name.strip()
    session.flush()
    return shown(key)


def revoke_api_key(session: Session, key_id: str) -> None:
    """End the key; a second time changes nothing. Raises NotFound."""
    if session.get(ApiKey, key_id) is None:
        raise NotFound
    session.execute(_REVOKE, {"id": key_id})
