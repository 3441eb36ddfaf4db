"""A whole stack of servers and two small roles, for trying the supervisor: run as a script with a data dir.

`web` serves HTTP; `family` is a shell with a child of its own, as a worker with a pool is.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tenure.embedded import ports, probes, stack
from tenure.embedded.folder import StackFolder
from tenure.embedded.postgres import THROW_AWAY, Postgres
from tenure.embedded.roles import Errand, Phase, RoleSpec, StopOrder
from tenure.embedded.supervisor import BootFailed, Supervisor
from tenure.embedded.valkey import Valkey

ENV = {"PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1"}


def web_role(folder: Path, port: int, name: str = "web") -> RoleSpec:
    return RoleSpec(
        name=name,
        command=[sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        ready=probes.http_answers(port, "/"),
        env=ENV,
        cwd=folder,
        order=StopOrder.WEB,
        stop=((signal.SIGINT, 5.0),),
    )


def family_role(folder: Path) -> RoleSpec:
    """Writes its child's pid to `<folder>/grandchild`, and does not listen to SIGTERM."""
    script = (
        'trap "" TERM; rm -f grandchild; sleep 600 & '
        "echo $! > grandchild.new; mv grandchild.new grandchild; wait"
    )
    return RoleSpec(
        name="family",
        command=["/bin/sh", "-c", script],
        ready=lambda _pid: (folder / "grandchild").exists(),
        env=ENV,
        cwd=folder,
        order=StopOrder.WORKER,
        stop=((signal.SIGTERM, 0.3),),
    )


def phases(folder: StackFolder, web_port: int) -> list[Phase]:
    kept = folder.secrets()
    cluster = Postgres(
        folder.postgres_data(),
        ports.any_free(),
        kept.postgres_superuser,
        kept.postgres,
        options=tuple(THROW_AWAY.items()),
    )
    broker = Valkey.broker(folder.path / "valkey", ports.any_free(), kept.valkey)
    greeting = Errand("greeting", [sys.executable, "-c", "print('hello')"], ENV, folder.path)
    return [
        Phase(roles=[stack._postgres_role(cluster), stack._valkey_role("valkey", broker)]),
        Phase(errands=[greeting], roles=[web_role(folder.path, web_port), family_role(folder.path)]),
    ]


def main() -> None:
    folder = StackFolder(Path(sys.argv[1]))
    folder.acquire()
    with Supervisor(folder.logs, lambda roles: folder.write_state(roles, ready=False)) as supervisor:
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: supervisor.request_stop())
        try:
            supervisor.boot(phases(folder, int(sys.argv[2])))
        except BootFailed as error:
            raise SystemExit("\n".join([str(error), *error.tail])) from error
        folder.write_state(supervisor.statuses, ready=True)
        supervisor.watch()
    folder.release()


if __name__ == "__main__":
    main()
