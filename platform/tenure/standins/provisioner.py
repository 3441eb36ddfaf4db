"""A stand-in for the customer's service: accounts that are switched on and off by signed PUTs.

It keeps what the contract asks of a provisioner: the highest generation of each account, 409 for a lower
one, 200 without effect for the same again. Its journal is the truth from outside: every call with its answer.
"""

from __future__ import annotations

import html
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from tenure import settings
from tenure.errors import Invalid, NotFound
from tenure.kit import clock, signing
from tenure.kit.times import rfc3339
from tenure.standins.faults import FaultKind
from tenure.standins.httpserver import Cut, HttpStandIn, Reply, Request, run_until_stopped

_FIELDS: Final = ("enabled", "access_until", "generation", "plan", "customer")
_PAGE_ROWS: Final = 200


@dataclass(frozen=True, slots=True)
class _Call:
    account: str
    key: str
    body: dict[str, Any]


class ProvisionerStandIn(HttpStandIn):
    """`PUT /accounts/{id}` as the contract has it; `GET /accounts`, `/accounts/{id}`, `/journal`."""

    def __init__(
        self, *, secrets: Sequence[str], port: int = 0, host: str = "127.0.0.1", journal: Path | None = None
    ) -> None:
        """With a journal file the accounts of an earlier life are known again."""
        self._secrets = list(secrets)
        self._lock = threading.Lock()
        self._accounts: dict[str, dict[str, Any]] = {}
        self._journal: list[dict[str, Any]] = []
        self._file = journal
        if journal is not None and journal.exists():
            self._remember(journal)
        super().__init__(port=port, host=host)

    @property
    def accounts(self) -> dict[str, dict[str, Any]]:
        """Each account's state, by its id."""
        with self._lock:
            return {account: dict(state) for account, state in self._accounts.items()}

    @property
    def journal(self) -> list[dict[str, Any]]:
        """Every PUT since the beginning, oldest first."""
        with self._lock:
            return list(self._journal)

    def answer(self, request: Request) -> Reply:
        place = request.path.rstrip("/")
        if request.method == "PUT" and place.startswith("/accounts/"):
            return self._put(place.removeprefix("/accounts/"), request)
        if request.method != "GET":
            return Reply(405, {"error": "PUT an account, or GET"}, {"Allow": "GET, PUT"})
        if place == "/accounts":
            return Reply(200, {"items": list(self.accounts.values())})
        if place == "/journal":
            return Reply(200, {"items": self._selected(request)})
        if place.startswith("/accounts/"):
            state = self.accounts.get(place.removeprefix("/accounts/"))
            return Reply(200, state) if state else Reply(404, {"error": "no such account"})
        if place == "":
            return Reply(200, html=self._page())
        raise NotFound

    def _put(self, account: str, request: Request) -> Reply:
        fault = self.faults.take(account)
        kind = fault.kind if fault is not None else None
        status: int | None = None
        effect = False
        body: Any = None

        def act() -> Reply:
            nonlocal effect, body
            body = request.json()
            reply, effect = self._apply(self._checked(account, request, body))
            return reply

        try:
            reply = self.suffer(fault, act)
            status = reply.status
        except signing.BadSignature as error:
            status, reply = 401, Reply(401, {"error": error.message})
        except Invalid as error:
            status, reply = 422, Reply(422, {"error": error.message})
        except Cut:
            self._note(account, request, body, status=None, effect=effect, fault=kind)
            raise
        self._note(account, request, body, status=status, effect=effect, fault=kind)
        return reply

    def _checked(self, account: str, request: Request, body: Any) -> _Call:
        message_id = signing.verify(
            self._secrets, headers=request.headers, body=request.body, now=clock.unix_seconds()
        )
        key = request.headers.get("idempotency-key", "")
        if key != message_id:
            raise Invalid("the Idempotency-Key must be the webhook-id")
        if not isinstance(body, dict) or any(name not in body for name in _FIELDS):
            raise Invalid(f"the body must be an object with {', '.join(_FIELDS)}")
        generation = body["generation"]
        if type(generation) is not int or type(body["enabled"]) is not bool:
            raise Invalid("generation must be an integer and enabled a boolean")
        if key != f"prov:{account}:{generation}":
            raise Invalid("the Idempotency-Key must name this account and generation")
        return _Call(account, key, body)

    def _apply(self, call: _Call) -> tuple[Reply, bool]:
        with self._lock:
            known = self._accounts.get(call.account)
            generation = call.body["generation"]
            if known is not None and known["generation"] > generation:
                return Reply(409, {"generation": known["generation"]}), False
            if known is not None and known["generation"] == generation:
                if any(known[name] != call.body[name] for name in _FIELDS):
                    raise Invalid("this generation was used for another state")
                return Reply(200, known), False
            state = {"id": call.account, **{name: call.body[name] for name in _FIELDS}}
            self._accounts[call.account] = state
            return Reply(200, state), True

    def _note(
        self,
        account: str,
        request: Request,
        body: Any,
        *,
        status: int | None,
        effect: bool,
        fault: FaultKind | None,
    ) -> None:
        """`status` null: the caller got no answer."""
        told = body if isinstance(body, dict) else {}
        with self._lock:
            entry = {
                "seq": len(self._journal) + 1,
                "at": rfc3339(clock.utc_now()),
                "account": account,
                "idempotency_key": request.headers.get("idempotency-key"),
                **{name: told.get(name) for name in _FIELDS},
                "status": status,
                "effect": effect,
                "fault": fault,
            }
            self._journal.append(entry)
            if self._file is not None:
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(entry) + "\n")

    def _remember(self, journal: Path) -> None:
        for line in journal.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # the last line of a life that ended while it wrote
            self._journal.append(entry)
            if entry["effect"]:
                state = {"id": entry["account"], **{name: entry[name] for name in _FIELDS}}
                self._accounts[entry["account"]] = state

    def _selected(self, request: Request) -> list[dict[str, Any]]:
        after = request.query.get("after", "0")
        account = request.query.get("account")
        if not after.isdigit():
            raise Invalid("after must be a number")
        return [
            entry for entry in self.journal[int(after) :] if account is None or entry["account"] == account
        ]

    def _page(self) -> str:
        cells = ("at", "account", "enabled", "generation", "access_until", "plan", "status", "fault")
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(entry[cell]))}</td>" for cell in cells) + "</tr>"
            for entry in reversed(self.journal[-_PAGE_ROWS:])
        )
        head = "".join(f"<th>{cell}</th>" for cell in cells)
        return (
            "<!doctype html><html lang=en><meta charset=utf-8><title>Provisioner (stand-in)</title>"
            "<h1>Provisioner (stand-in)</h1>"
            f"<p>{len(self.accounts)} accounts. The newest calls first; all of them are in "
            "<a href=/journal>/journal</a>, the accounts in <a href=/accounts>/accounts</a>.</p>"
            f"<table><tr>{head}</tr>{rows}</table></html>"
        )


@click.command()
@click.option("--port", type=int, default=0, help="0 takes a free port.")
@click.option("--host", default="127.0.0.1")
@click.option("--secret-file", type=click.Path(path_type=Path, exists=True), help="Default: the setting.")
@click.option("--journal", type=click.Path(path_type=Path), help="Append every call, and start from it.")
def main(port: int, host: str, secret_file: Path | None, journal: Path | None) -> None:
    """Run the stand-in provisioner until it is stopped."""
    if secret_file is not None:
        secrets = secret_file.read_text(encoding="utf-8").split()
    else:
        setting = settings.load().provisioner_secret
        secrets = [setting.get_secret_value()] if setting is not None else []
    if not secrets:
        raise click.UsageError("give --secret-file or set TENURE_PROVISIONER_SECRET")
    run_until_stopped(ProvisionerStandIn(secrets=secrets, port=port, host=host, journal=journal))


if __name__ == "__main__":
    main()
