"""Which roles make a whole, in which order they start, and what they are told of each other."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import tenure
from tenure.embedded import budget, ports, postgres, probes, process, schema
from tenure.embedded.folder import StackFolder, StackSecrets
from tenure.embedded.postgres import Postgres
from tenure.embedded.roles import Errand, Phase, RoleSpec, StopOrder
from tenure.embedded.valkey import Valkey
from tenure.errors import BadSettings, Unavailable
from tenure.kit.db import check_reachable
from tenure.kit.valkey import answers as valkey_answers
from tenure.settings import Settings

ROOT: Final = Path(tenure.__file__).resolve().parents[2]  # where celeryconfig.py and alembic.ini are
_FLOWER_USER: Final = "tenure"
_WARM_S: Final = 15.0
_COLD_S: Final = 5.0
_LIVE_S: Final = 10.0  # for an answer on a machine that does much else


@dataclass(frozen=True, slots=True)
class Additions:
    """What a demo world brings: stand-ins, what the application is told of them, and its data.

    The roles start after the migrations and before the application; the errands run when they are ready.
    """

    roles: Sequence[RoleSpec] = ()
    errands: Sequence[Errand] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Servers:
    """The addresses of the data stores, and the ones among them that are ours to run."""

    database_url: str
    broker_url: str
    live_url: str
    roles: tuple[RoleSpec, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack that can be started: its phases, its address, and what is published about it."""

    phases: tuple[Phase, ...]
    url: str
    database_url: str
    document: Mapping[str, Any]
    secrets: tuple[str, ...]
    notes: tuple[str, ...]
    listener: socket.socket


def build(
    settings: Settings,
    folder: StackFolder,
    *,
    host: str,
    port: int,
    additions: Additions,
) -> Stack:
    """Plan the stack of the folder, whose lock is held.

    Raises Unavailable when a server that the settings name does not answer.
    """
    kept = folder.secrets()
    servers, kept = _servers(settings, folder, kept)
    used = {**kept.ports, **{name: ports.choose(kept.ports.get(name)) for name in ("flower", "exporter")}}
    folder.keep_secrets(replace(kept, ports=used))
    listener = ports.listen(port, host)
    bound = int(listener.getsockname()[1])
    url = f"http://{_browsable(host)}:{bound}"
    overlay = {
        "TENURE_DATABASE_URL": servers.database_url,
        "TENURE_BROKER_URL": servers.broker_url,
        "TENURE_LIVE_URL": servers.live_url,
        "TENURE_DATA_DIR": str(folder.path),
        **additions.env,
    }
    env = {**inherited_environment(), **overlay}
    flower_password = secrets.token_urlsafe(24)
    login = (_FLOWER_USER, flower_password)
    apps = _applications(
        env,
        servers.database_url,
        host=_browsable(host),
        port=bound,
        listener=listener,
        ports_used=used,
        flower_login=login,
        drain_s=settings.drain_s,
    )
    migrate = Errand(
        "migrate",
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        env,
        ROOT,
        needed=lambda: not schema.is_at_head(servers.database_url, ROOT / "alembic" / "versions"),
    )
    passwords = (kept.postgres, kept.postgres_superuser, kept.valkey, kept.valkey_live)
    flower = {"port": used["flower"], "user": _FLOWER_USER, "password": flower_password}
    return Stack(
        phases=(
            Phase(roles=servers.roles),
            Phase(errands=[migrate], roles=additions.roles),
            Phase(errands=additions.errands, roles=apps),
        ),
        url=url,
        database_url=servers.database_url,
        document={
            "url": url,
            "supervisor": _self_identity(),
            "env": overlay,
            "urls": {"flower": f"{url}/flower/", **additions.urls},
            "flower": {**flower, "url": f"http://127.0.0.1:{used['flower']}/flower"},
            "exporter": {"port": used["exporter"], "url": f"http://127.0.0.1:{used['exporter']}"},
        },
        secrets=(*passwords, flower_password, *settings.secrets()),
        notes=(*servers.notes, *([f"port {port} is taken; using {bound}"] if bound != port else [])),
        listener=listener,
    )


def inherited_environment() -> dict[str, str]:
    """What our own children get of our environment: all of it, since the settings stand there."""
    return dict(os.environ)  # noqa: TID251 - handed on whole, nothing is read from it here


def _servers(settings: Settings, folder: StackFolder, kept: StackSecrets) -> tuple[Servers, StackSecrets]:
    roles: list[RoleSpec] = []
    notes: list[str] = []
    used = dict(kept.ports)
    if settings.database_url is None:
        used["postgres"] = ports.choose(used.get("postgres"))
        budget.check(settings, postgres.MAX_CONNECTIONS)
        cluster = Postgres(folder.postgres_data(), used["postgres"], kept.postgres_superuser, kept.postgres)
        database_url = cluster.url()
        roles.append(_postgres_role(cluster))
    else:
        database_url = settings.require_database_url()
        _insist(database_url)
        budget.check(settings, budget.allowed_by(database_url))
    if settings.broker_url is None:
        used["valkey"] = ports.choose(used.get("valkey"))
        broker = Valkey.broker(folder.path / "valkey", used["valkey"], kept.valkey)
        broker_url = broker.url()
        roles.append(_valkey_role("valkey", broker))
    else:
        broker_url = settings.require_broker_url()
        notes += _missed(broker_url, "TENURE_BROKER_URL", "work waits in the database")
    if settings.live_url is None and settings.broker_url is None:
        used["valkey-live"] = ports.choose(used.get("valkey-live"))
        live = Valkey.live(folder.path / "valkey-live", used["valkey-live"], kept.valkey_live)
        live_url = live.url()
        roles.append(_valkey_role("valkey-live", live))
    else:
        live_url = settings.live_url.get_secret_value() if settings.live_url else broker_url
        notes += _missed(live_url, "TENURE_LIVE_URL", "browsers see changes when they ask")
    servers = Servers(database_url, broker_url, live_url, tuple(roles), tuple(notes))
    return servers, replace(kept, ports=used)


def _insist(database_url: str) -> None:
    """Without PostgreSQL there is nothing to start for. Raises with a sentence that names the setting."""
    try:
        check_reachable(database_url)
    except (Unavailable, BadSettings) as error:
        raise type(error)(f"TENURE_DATABASE_URL: {error.message}") from error


def _missed(url: str, name: str, meanwhile: str) -> list[str]:
    """A note when nothing answers there: everything starts all the same."""
    if valkey_answers(url):
        return []
    return [f"{name} is set, but nothing answers there with these credentials: {meanwhile}"]


def _postgres_role(cluster: Postgres) -> RoleSpec:
    return RoleSpec(
        name="postgres",
        command=cluster.command(),
        prepare=cluster.prepare,
        ready=lambda _pid: cluster.ready(),
        env=postgres.environment(),
        cwd=Path("/"),
        account=process.service_account(),
        order=StopOrder.DATABASE,
        stop=((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0)),  # fast, then immediate
        hard_stop=signal.SIGQUIT,
    )


def _valkey_role(name: str, server: Valkey) -> RoleSpec:
    return RoleSpec(
        name=name,
        command=server.command(),
        prepare=server.prepare,
        ready=lambda _pid: server.ready(),
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        cwd=Path("/"),
        order=StopOrder.BROKER,
        hard_stop=signal.SIGTERM,  # it flushes its file and is quick about it
    )


def _applications(
    env: Mapping[str, str],
    database_url: str,
    *,
    host: str,
    port: int,
    listener: socket.socket,
    ports_used: Mapping[str, int],
    flower_login: tuple[str, str],
    drain_s: float,
) -> tuple[RoleSpec, ...]:
    def node(role: str) -> Callable[[int], bool]:
        return probes.node_is_leased(database_url, role)

    def app(name: str, words: Sequence[str], ready: Callable[[int], bool], **more: Any) -> RoleSpec:
        settings: dict[str, Any] = {"order": StopOrder.OBSERVER, "env": env, **more}
        return RoleSpec(name=name, command=[sys.executable, "-m", *words], ready=ready, cwd=ROOT, **settings)

    def worker(name: str, queue: str) -> RoleSpec:
        words = [*("celery", "-A", "tasks", "worker", "-Q", queue, "-c", "2", "-n", f"{name}@%h")]
        # Warm: running iterations end by themselves. Cold: they end as canceled.
        stop = ((signal.SIGTERM, _WARM_S), (signal.SIGQUIT, _COLD_S))
        options = ["--without-gossip", "--without-mingle"]
        return app(name, [*words, *options], node("worker"), order=StopOrder.WORKER, stop=stop)

    flower_port, exporter_port = str(ports_used["flower"]), str(ports_used["exporter"])
    gunicorn = [
        *("gunicorn", "-k", "gevent", "--no-control-socket", "-w", "1", "-c", "web/gunicorn.conf.py"),
        *("--bind", f"fd://{listener.fileno()}", "web:create_app()"),
    ]
    flower = ["celery", "-A", "tasks", "flower", "--address=127.0.0.1", f"--port={flower_port}"]
    web = app(
        "web",
        gunicorn,
        probes.http_answers(port, "/readyz", host=host.strip("[]"), patience_s=_LIVE_S),
        alive=probes.http_answers(port, "/livez", host=host.strip("[]"), patience_s=_LIVE_S),
        order=StopOrder.WEB,
        inherited_sockets=(listener.fileno(),),
        stop=((signal.SIGTERM, _WARM_S + drain_s),),
    )
    return (
        web,
        app("relay", ["tenure", "relay"], node("relay")),
        worker("worker", "default"),
        worker("worker-payments", "payments"),
        app("beat", ["celery", "-A", "tasks", "beat", "--pidfile="], node("beat"), order=StopOrder.BEAT),
        app(
            "flower",
            flower,
            probes.http_answers(int(flower_port), "/flower/healthcheck"),
            alive=probes.http_answers(int(flower_port), "/flower/healthcheck", patience_s=_LIVE_S),
            env={**env, "FLOWER_BASIC_AUTH": ":".join(flower_login)},
        ),
        app(
            "exporter",
            ["tenure", "exporter", "--port", exporter_port],
            probes.http_answers(int(exporter_port), "/metrics"),
        ),
    )


def _browsable(host: str) -> str:
    """A host that a client on this machine can use."""
    if host in {"0.0.0.0", ""}:  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _self_identity() -> dict[str, float | int]:
    me = process.Identity.of(os.getpid())
    assert me is not None  # noqa: S101 - we are alive
    return {"pid": me.pid, "started": me.started}
