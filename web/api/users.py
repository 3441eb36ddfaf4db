"""Users and API keys: for admins."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tenure.accounts import passwords
from tenure.accounts.api_keys import change_api_key, create_api_key, list_api_keys, revoke_api_key
from tenure.accounts.principal import Role
from tenure.accounts.users import LOCK, UserChange, change_user, create_user, get_user, list_users
from tenure.audit.record import record
from tenure.errors import Invalid
from web.body import Body
from web.live.tickets import tell_revoked
from web.offload import in_thread
from web.route import Call, Page, Routes
from web.version import Versioned

routes = Routes("Users and keys")
USER = Versioned(
    read=lambda call, id_: get_user(call.session, id_),
    locks=(LOCK,),
    fields=("id", "email", "role", "disabled_at"),
)
RoleName = Literal["admin", "operator", "viewer"]


class NewUser(Body):
    """A user; without a password one is made and shown once."""

    email: str = Field(min_length=3, max_length=254)
    role: RoleName
    password: str | None = Field(default=None, min_length=passwords.SHORTEST, max_length=passwords.LONGEST)


class ChangedUser(Body):
    """What to change; what is left out stays."""

    role: RoleName | None = None
    disabled: bool | None = None
    password: str | None = Field(default=None, min_length=passwords.SHORTEST, max_length=passwords.LONGEST)


class NewKey(Body):
    """An API key."""

    name: str = Field(min_length=1, max_length=100)
    role: RoleName


class ChangedKey(Body):
    """A key's new name."""

    name: str = Field(min_length=1, max_length=100)


@routes.get("/users", query=Page, summary="List users")
def users(call: Call, query: Page) -> dict[str, Any]:
    items, cursor = list_users(call.session, limit=query.limit, cursor=query.cursor)
    return {"items": items, "next_cursor": cursor}


@routes.get("/users/{id}", versioned=USER, summary="One user")
def user(call: Call, id: str) -> dict[str, Any]:  # noqa: A002 - the contract's name
    return get_user(call.session, id)


@routes.post("/users", role=Role.ADMIN, body=NewUser, status=201, secret=True, summary="Add a user")
def add_user(call: Call, body: NewUser) -> dict[str, Any]:
    password = body.password or passwords.generated()
    made = create_user(
        call.session,
        email=body.email,
        password_hash=in_thread(passwords.hashed, password),
        role=Role(body.role),
    )
    after = {"email": made["email"], "role": made["role"]}
    record(call.session, actor=call.actor, action="user.created", object_=made["id"], after=after)
    return made if body.password else {**made, "password": password}


@routes.patch("/users/{id}", role=Role.ADMIN, body=ChangedUser, versioned=USER, summary="Change a user")
def edit_user(call: Call, id: str, body: ChangedUser) -> dict[str, Any]:  # noqa: A002 - the contract's name
    if not body.model_fields_set:
        raise Invalid("nothing to change")
    before, after = change_user(
        call.session,
        id,
        UserChange(
            role=Role(body.role) if body.role else None,
            disabled=body.disabled,
            password_hash=in_thread(passwords.hashed, body.password) if body.password else None,
        ),
    )
    record(call.session, actor=call.actor, action="user.changed", object_=id, before=before, after=after)
    call.after_commit(lambda: tell_revoked(call.services, id))
    return after


@routes.delete("/users/{id}", role=Role.ADMIN, versioned=USER, summary="Disable a user")
def disable_user(call: Call, id: str) -> None:  # noqa: A002 - the contract's name
    before, after = change_user(call.session, id, UserChange(disabled=True))
    record(call.session, actor=call.actor, action="user.disabled", object_=id, before=before, after=after)
    call.after_commit(lambda: tell_revoked(call.services, id))


@routes.get("/api-keys", query=Page, summary="List API keys")
def keys(call: Call, query: Page) -> dict[str, Any]:
    items, cursor = list_api_keys(call.session, limit=query.limit, cursor=query.cursor)
    return {"items": items, "next_cursor": cursor}


@routes.post("/api-keys", role=Role.ADMIN, body=NewKey, status=201, secret=True, summary="Make an API key")
def add_key(call: Call, body: NewKey) -> dict[str, Any]:
    made = create_api_key(call.session, name=body.name, role=Role(body.role), created_by=call.principal.name)
    after = {"name": made["name"], "role": made["role"]}
    record(call.session, actor=call.actor, action="api_key.created", object_=made["id"], after=after)
    return made


@routes.patch("/api-keys/{id}", role=Role.ADMIN, body=ChangedKey, summary="Rename an API key")
def rename_key(call: Call, id: str, body: ChangedKey) -> dict[str, Any]:  # noqa: A002 - the contract's name
    changed = change_api_key(call.session, id, name=body.name)
    record(call.session, actor=call.actor, action="api_key.renamed", object_=id, after={"name": body.name})
    return changed


@routes.delete("/api-keys/{id}", role=Role.ADMIN, summary="Revoke an API key")
def revoke_key(call: Call, id: str) -> None:  # noqa: A002 - the contract's name
    revoke_api_key(call.session, id)
    record(call.session, actor=call.actor, action="api_key.revoked", object_=id)
    call.after_commit(lambda: tell_revoked(call.services, id))
