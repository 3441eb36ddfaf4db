"""The one layer over flask-openapi.

A route is declared once, with its role and models, and then runs the same steps as every other:
credential, role, key, body, one transaction, answer.

    routes = Routes("Plans")

    @routes.post("/plans", role=Role.ADMIN, body=NewPlan, status=201, summary="Create a plan")
    def create(call: Call, body: NewPlan) -> dict[str, Any]:
        return plans.create(call.session, actor=call.actor, ...)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flask import Response, g, jsonify, request
from flask_openapi.openapi import OpenAPI
from pydantic import BaseModel, Field, ValidationError, create_model
from sqlalchemy.orm import Session

from tenure.accounts.principal import Principal, Role
from tenure.audit.record import Actor
from tenure.errors import BrokenRule, Forbidden, Invalid, NotFound
from tenure.kit.logging import get_logger
from web.auth import principal_of
from web.body import Body, Empty, RawBody, read_body, refuse_unstorable
from web.idempotency import REPLAY, Repeatable, key_of, repeatable
from web.problem import field_errors
from web.services import Services, services
from web.version import Versioned, require_match

PREFIX: Final = "/api/v1"
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_LONGEST_ID: Final = 200
log = get_logger(__name__)

Handler = Callable[..., Any]


class Page(Body):
    """The query of every list: `limit` and the `cursor` of the page before."""

    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=200, pattern=r"^[A-Za-z0-9_.:~-]+$")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer whose status differs from the declared one, or that has headers."""

    body: Any
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Call:
    """One request as a handler sees it. `session` is the open transaction; it commits after the handler."""

    services: Services
    request_id: str
    maybe_principal: Principal | None
    maybe_session: Session | None = None
    afterwards: list[Callable[[], object]] = field(default_factory=list)

    @property
    def session(self) -> Session:
        """The transaction of this request."""
        if self.maybe_session is None:
            raise BrokenRule("this route was declared with transaction=False")
        return self.maybe_session

    @property
    def principal(self) -> Principal:
        """Who asks."""
        if self.maybe_principal is None:
            raise BrokenRule("this route is public: nobody in particular asks")
        return self.maybe_principal

    @property
    def actor(self) -> Actor:
        """Who asks, as the audit log wants it."""
        who = self.principal
        return Actor(who.name, role=who.role.value, user_id=who.id, request_id=self.request_id)

    def after_commit(self, act: Callable[[], object]) -> None:
        """Do this when the transaction has been committed: best effort, its errors are only logged."""
        self.afterwards.append(act)


@dataclass(frozen=True, slots=True)
class Route:
    """One declared operation."""

    method: str
    rule: str
    handler: Handler
    tag: str
    summary: str
    role: Role | None
    body: type[Body] | None
    query: type[Body] | None
    response: type[BaseModel] | None
    status: int
    key_required: bool
    transaction: bool
    secret: bool
    versioned: Versioned | None


class Routes:
    """The routes of one file; `install` puts them on the application."""

    def __init__(self, tag: str, *, prefix: str = PREFIX) -> None:
        """`tag` groups the routes in the documentation."""
        self.tag = tag
        self.prefix = prefix
        self.declared: list[Route] = []

    def get(self, rule: str, **options: Any) -> Callable[[Handler], Handler]:
        """Declare a read."""
        return self._declare("GET", rule, options)

    def post(self, rule: str, **options: Any) -> Callable[[Handler], Handler]:
        """Declare a creation or an action. Options: see `_declare`."""
        return self._declare("POST", rule, options)

    def patch(self, rule: str, **options: Any) -> Callable[[Handler], Handler]:
        """Declare a change."""
        return self._declare("PATCH", rule, options)

    def delete(self, rule: str, **options: Any) -> Callable[[Handler], Handler]:
        """Declare a removal; answers 204."""
        return self._declare("DELETE", rule, {"status": 204, **options})

    def _declare(self, method: str, rule: str, options: dict[str, Any]) -> Callable[[Handler], Handler]:
        """Declare one operation.

        Options: role (None: public; default viewer for GET, operator otherwise), body, query, response,
        status, summary, key_required, transaction (False: the handler opens its own), secret (the answer
        is not kept for repeats), versioned (what is read or changed here has an ETag).
        """
        default_role = Role.VIEWER if method == "GET" else Role.OPERATOR

        def decorate(handler: Handler) -> Handler:
            unknown = options.keys() - Route.__dataclass_fields__.keys()
            if unknown:
                raise BrokenRule(f"{rule}: no such options: {sorted(unknown)}")
            self.declared.append(
                Route(
                    method=method,
                    rule=self.prefix + rule,
                    handler=handler,
                    tag=self.tag,
                    summary=options.get("summary") or handler.__name__.replace("_", " "),
                    role=options.get("role", default_role),
                    body=options.get("body") or (Empty if method in {"POST", "PATCH", "PUT"} else None),
                    query=options.get("query") or (Empty if method == "GET" else None),
                    response=options.get("response"),
                    status=options.get("status", 200),
                    key_required=options.get("key_required", False),
                    transaction=options.get("transaction", True),
                    secret=options.get("secret", False),
                    versioned=options.get("versioned"),
                )
            )
            return handler

        return decorate


def install(app: OpenAPI, routes: Routes) -> None:
    """Put the routes on the application and into its OpenAPI document."""
    for route in routes.declared:
        names = _PLACEHOLDER.findall(route.rule)
        path_model = _path_model(names) if names else None
        view = _view(route)
        hints = {"path": path_model, "query": route.query, "body": route.body}
        view.__annotations__ = {
            name: model for name, model in hints.items() if model not in (None, Empty, RawBody)
        }
        register = getattr(app, route.method.lower())
        register(
            _PLACEHOLDER.sub(r"<\1>", route.rule),
            summary=route.summary,
            tags=[{"name": route.tag}],
            security=[{"bearer": []}] if route.role else [],
            responses={str(route.status): _response(route)},
            openapi_extensions={
                "x-tenure-role": route.role.value if route.role else "public",
                "x-idempotency-key": "required" if route.key_required else "accepted",
                **({"x-etag": True} if route.versioned else {}),
            },
        )(view)


def _response(route: Route) -> Any:
    if route.status == 204:  # noqa: PLR2004 - No Content
        return None
    return route.response or {"content": {"application/json": {"schema": {"type": "object"}}}}


def _path_model(names: list[str]) -> type[BaseModel]:
    fields: dict[str, Any] = {name: (str, Field(max_length=_LONGEST_ID)) for name in names}
    model: type[BaseModel] = create_model("Path", **fields)
    return model


def _view(route: Route) -> Callable[..., Response]:
    def view(**path: str) -> Response:
        return run(route, path)

    view.__name__ = re.sub(r"\W+", "_", f"{route.tag}_{route.handler.__name__}".lower())
    # flask-openapi only documents: reading the input comes after the credential has been checked.
    view.__delay_validate_request__ = True  # type: ignore[attr-defined]
    return view


def run(route: Route, path: Mapping[str, str]) -> Response:
    """Serve one request: credential, role, key, input, transaction, answer."""
    made = services()
    principal = principal_of(request, made) if route.role else None
    g.principal = principal
    if route.role and principal and not principal.may(route.role):
        raise Forbidden(f"this needs the role {route.role.value}", needed=route.role.value)
    key = key_of(request, required=route.key_required) if route.method == "POST" else None
    if any("\x00" in value or len(value) > _LONGEST_ID for value in path.values()):
        raise NotFound
    inputs: dict[str, Any] = dict(path)
    plain: Any = {}
    if route.query is not None:
        query = _read_query(route.query)
        if route.query is not Empty:
            inputs["query"] = query
    if route.body is not None and route.body is not RawBody:
        body, plain = read_body(request, route.body)
        if route.body is not Empty:
            inputs["body"] = body
    call = Call(made, g.request_id, principal)
    if not route.transaction:
        return _answer(route, route.handler(call, **inputs))
    repeat = repeatable(request, actor=principal.name, key=key, body=plain) if key and principal else None
    with made.db.transaction() as session:
        call.maybe_session = session
        answer = _within(route, call, repeat, inputs, path)
    for act in call.afterwards:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - the work is committed: what follows must not undo the answer
            log.warning("http.after_commit_failed", error_type=type(error).__name__, error=error)
    return answer


def _within(
    route: Route, call: Call, repeat: Repeatable | None, inputs: dict[str, Any], path: Mapping[str, str]
) -> Response:
    stored = repeat.claim(call.session) if repeat is not None else None
    if stored is not None:
        # Before its condition is looked at: the first time has changed what it named.
        return _answer(route, Reply(stored.body, stored.status, {REPLAY: "true"}))
    if route.method != "GET":
        require_match(request, route.versioned, call, path)
    result = route.handler(call, **inputs)
    if repeat is None:
        return _answer(route, result)
    reply = result if isinstance(result, Reply) else Reply(result)
    repeat.store(call.session, reply.status or route.status, reply.body, secret=route.secret)
    return _answer(route, reply)


def _read_query(model: type[Body]) -> Body:
    given: dict[str, Any] = {}
    for name, values in request.args.lists():
        if len(values) > 1:
            raise Invalid.field(name, "repeated", "give this parameter once")
        given[name] = values[0]
    refuse_unstorable(given)
    try:
        return model.model_validate_strings(given)
    except ValidationError as error:
        raise Invalid("some parameters are not valid", errors=field_errors(error)) from None


def _answer(route: Route, result: Any) -> Response:
    if isinstance(result, Response):
        return result
    reply = result if isinstance(result, Reply) else Reply(result)
    status = reply.status or route.status
    answer = Response(status=status) if reply.body is None else jsonify(reply.body)
    answer.status_code = status
    answer.headers.update(reply.headers)
    return route.versioned.mark(answer, reply.body, request) if route.versioned else answer
