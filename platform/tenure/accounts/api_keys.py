"""API keys: shown once when made, kept as a hash, revoked for good."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
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

# Who made a key is written as the audit log writes it; a person is told the email, or the other key's name.
_NAMES: Final = text("""
    SELECT 'user:' || id AS maker, email AS called FROM app_user WHERE 'user:' || id = ANY(:makers)
    UNION ALL
    SELECT 'key:' || id, name FROM api_key WHERE 'key:' || id = ANY(:makers)
""")


def key_hash(key: str) -> str:
    """What is stored of a key: it is random enough for a plain hash."""
    return hashlib.sha256(key.encode()).hexdigest()


def _shown(session: Session, keys: list[ApiKey]) -> list[dict[str, Any]]:
    """Keys as the API shows them: never the key itself."""
    makers = {key.created_by for key in keys}
    names = {row.maker: row.called for row in session.execute(_NAMES, {"makers": list(makers)})}
    return [_one(key, names) for key in keys]


def _one(key: ApiKey, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "role": key.role,
        "created_by": key.created_by,
        "created_by_name": names.get(key.created_by, key.created_by),
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
    return {**_shown(session, [row])[0], "key": key}


def list_api_keys(
    session: Session, *, limit: int, cursor: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of keys, newest first, and the cursor of the next."""
    query = select(ApiKey).order_by(ApiKey.id.desc()).limit(limit + 1)
    if cursor:
        query = query.where(ApiKey.id < cursor)
    keys = list(session.scalars(query))
    return _shown(session, keys[:limit]), keys[limit - 1].id if len(keys) > limit else None


def change_api_key(session: Session, key_id: str, *, name: str) -> dict[str, Any]:
    """Rename a key. Raises NotFound."""
    key = session.get(ApiKey, key_id)
    if key is None:
        raise NotFound
    key.name = name.strip()
    session.flush()
    return _shown(session, [key])[0]


def revoke_api_key(session: Session, key_id: str) -> None:
    """End the key; a second time changes nothing. Raises NotFound."""
    if session.get(ApiKey, key_id) is None:
        raise NotFound
    session.execute(_REVOKE, {"id": key_id})
