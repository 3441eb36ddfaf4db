"""What the demo adds to a stack: stand-ins for whatever the settings do not name, the world, its traffic."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tenure.demo.marks import ASSET, CHAIN, refuse_in_production
from tenure.embedded import ports, probes
from tenure.embedded.roles import Errand, RoleSpec, StopOrder
from tenure.embedded.stack import ROOT, Additions, inherited_environment
from tenure.errors import TenureError
from tenure.settings import Settings
from tenure.standins import anvil, token
from tenure.standins.chain import DEV_CHAIN_ID
from tenure.standins.devchain import Rpc

_BLOCK_TIME_S: Final = 3
_CONFIRMATIONS: Final = 3
_ADDRESSES: Final = (
    "0xDe30000000000000000000000000000000000001",
    "0xDe30000000000000000000000000000000000002",
)
_LOAD_S: Final = 120.0
# A machine without a way to npm shall not wait for it.
_NPM_OPTIONS: Final = ("--fetch-retries=0", "--fetch-timeout=60000")
TRAFFIC_MARK: Final = "traffic.pid"


def folder_of(data_dir: Path) -> Path:
    """Where the demo keeps what it needs."""
    return data_dir / "demo"


@dataclass(slots=True)
class _Plan:
    """The additions while they are put together, with the ports and secrets that are kept between starts."""

    folder: Path
    kept: dict[str, Any]
    roles: list[RoleSpec] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)

    def port(self, name: str) -> int:
        """The port of last time when it is free, else another."""
        known = self.kept.setdefault("ports", {})
        known[name] = ports.choose(known.get(name))
        port: int = known[name]
        return port

    def secret(self, name: str) -> str:
        """The secret of last time, else a new one; also in a file of this name."""
        known = self.kept.setdefault("secrets", {})
        value: str = known.setdefault(name, secrets.token_urlsafe(24))
        _write_private(self.folder / f"{name}.secret", value)
        return value

    def stand_in(
        self, name: str, words: list[str], ready: Callable[[int], bool], *, module: bool = True
    ) -> None:
        """A role that stays up until the workers are gone."""
        command = [sys.executable, "-m", *words] if module else words
        self.roles.append(
            RoleSpec(
                name=name,
                command=command,
                ready=ready,
                env=inherited_environment(),
                cwd=ROOT,
                order=StopOrder.OBSERVER,
            )
        )


def additions(settings: Settings, note: Callable[[str], None] = lambda _: None) -> Additions:
    """The demo for this data directory. What the settings name is used instead of a stand-in.

    Raises Invalid in production.
    """
    refuse_in_production(settings)
    folder = folder_of(settings.data_dir)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    plan = _Plan(folder, _read(folder / "demo.json"))
    if settings.provisioner_url is None:
        _add_provisioner(plan)
    if settings.smtp_url is None:
        _add_mailbox(plan, settings)
    if settings.telegram_token is None and "telegram_api_url" not in settings.model_fields_set:
        _add_telegram(plan)
    if not settings.chains:
        _add_chain(plan, settings, note)
    _write_private(folder / "demo.json", json.dumps(plan.kept))
    own = {**inherited_environment(), "TENURE_DATA_DIR": str(settings.data_dir)}
    plan.roles.append(_traffic(folder, own))
    load = Errand("demo-load", [sys.executable, "-m", "tenure", "demo", "load"], own, ROOT, within_s=_LOAD_S)
    return Additions(roles=plan.roles, errands=[load], env=plan.env, urls=plan.urls)


def _add_provisioner(plan: _Plan) -> None:
    port, secret = plan.port("provisioner"), plan.secret("provisioner")
    words = ["tenure.standins.provisioner", "--port", str(port)]
    words += ["--secret-file", str(plan.folder / "provisioner.secret")]
    words += ["--journal", str(plan.folder / "provisioner.jsonl")]
    plan.stand_in("provisioner", words, probes.http_answers(port, "/"))
    url = f"http://127.0.0.1:{port}"
    plan.env |= {"TENURE_PROVISIONER_URL": url, "TENURE_PROVISIONER_SECRET": secret}
    plan.urls["provisioner"] = url


def _add_mailbox(plan: _Plan, settings: Settings) -> None:
    port, smtp_port = plan.port("mail"), plan.port("smtp")
    words = ["tenure.standins.mailbox", "--port", str(port), "--smtp-port", str(smtp_port)]
    plan.stand_in("mailbox", words, probes.http_answers(port, "/"))
    plan.env["TENURE_SMTP_URL"] = f"smtp://127.0.0.1:{smtp_port}"
    if "mail_from" not in settings.model_fields_set:
        plan.env["TENURE_MAIL_FROM"] = "Tenure demo <tenure@demo.invalid>"
    plan.urls["mail"] = f"http://127.0.0.1:{port}"


def _add_telegram(plan: _Plan) -> None:
    port, bot = plan.port("telegram"), plan.secret("telegram")
    words = ["tenure.standins.telegram", "--port", str(port)]
    words += ["--token-file", str(plan.folder / "telegram.secret")]
    plan.stand_in("telegram", words, probes.http_answers(port, "/messages"))
    url = f"http://127.0.0.1:{port}"
    plan.env |= {"TENURE_TELEGRAM_TOKEN": bot, "TENURE_TELEGRAM_API_URL": url}
    plan.urls["telegram"] = url


def _add_chain(plan: _Plan, settings: Settings, note: Callable[[str], None]) -> None:
    port = plan.port("chain")
    url = f"http://127.0.0.1:{port}"
    binary = _anvil(note)
    # The two keep their chains in different forms: neither can go on from the other's.
    if binary is not None:
        state = plan.folder / "anvil.json"
        words = anvil.command(binary, port=port, block_time_s=_BLOCK_TIME_S, state=state)
    else:
        words = ["tenure.standins.chain", "--port", str(port), "--block-time", str(_BLOCK_TIME_S)]
        words += ["--file", str(plan.folder / "chain.jsonl")]
    plan.stand_in("chain", words, _chain_answers(url), module=binary is None)
    chain = {
        "name": CHAIN,
        "kind": "evm",
        "chain_id": DEV_CHAIN_ID,
        "rpc_urls": [url],
        "confirmations": _CONFIRMATIONS,
        "assets": [{"symbol": ASSET, "contract": token.ADDRESS, "decimals": token.DECIMALS}],
        "addresses": list(_ADDRESSES),
    }
    rates = {asset: {name: str(rate) for name, rate in of.items()} for asset, of in settings.rates.items()}
    plan.env["TENURE_CHAINS"] = json.dumps([chain])
    plan.env["TENURE_RATES"] = json.dumps({**rates, ASSET: {"USD": "1.00", **rates.get(ASSET, {})}})
    plan.urls["chain_rpc"] = url


def _anvil(note: Callable[[str], None]) -> Path | None:
    cache = Path.home() / ".cache" / "tenure"
    found = anvil.find(cache)
    if found is not None:
        return found
    own = ROOT / ".venv-node" / "shims" / "npm"
    npm = str(own) if own.exists() else shutil.which("npm")
    if npm is not None:
        note("fetching anvil, a development chain, from npm (once)")
        with suppress(OSError):  # a home that cannot be written to
            found = anvil.install(cache, npm=[npm, *_NPM_OPTIONS])
    if found is None:
        note("anvil cannot be had here: the chain is a simulated one")
    return found


def _chain_answers(url: str) -> Callable[[int], bool]:
    def probe(_pid: int) -> bool:
        rpc = Rpc(url)
        try:
            return int(rpc.ask("eth_chainId"), 16) == DEV_CHAIN_ID
        except TenureError:
            return False
        finally:
            rpc.close()

    return probe


def _traffic(folder: Path, env: Mapping[str, str]) -> RoleSpec:
    mark = folder / TRAFFIC_MARK

    def runs(pid: int) -> bool:
        return mark.is_file() and mark.read_text(encoding="utf-8").strip() == str(pid)

    return RoleSpec(
        name="demo-traffic",
        command=[sys.executable, "-m", "tenure", "demo", "traffic"],
        ready=runs,
        env=env,
        cwd=ROOT,
        order=StopOrder.BEAT,  # it makes work
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_private(path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
