"""One role's health, asked of itself where no stack of `tenure up` runs: for containers and units."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Final

from tenure import settings as settings_module
from tenure.embedded.probes import host_has_node, http_answers
from tenure.errors import NotFound

_PATIENCE_S: Final = 8.0  # `/readyz` itself may wait for parts that are away
_NODES: Final = ("worker", "worker-payments", "beat", "relay")
_SERVERS: Final = {
    "web": (8080, "/readyz"),
    "flower": (5555, "/flower/healthcheck"),
    "exporter": (9464, "/metrics"),
}


def ask(role: str, *, data_dir: Path, port: int | None) -> dict[str, Any]:
    """The role as `status --json` shows it. A running process alone proves nothing: it must do its work.

    Nodes renew a lease from this host; servers answer on their port. Raises NotFound for an unknown role.
    """
    if role in _NODES:
        url = settings_module.load(data_dir=data_dir).require_database_url()
        well = host_has_node(url, role, socket.gethostname())
    elif role in _SERVERS:
        usual, path = _SERVERS[role]
        well = http_answers(port or usual, path, patience_s=_PATIENCE_S)(0)
    else:
        raise NotFound(f"there is no role {role!r}; there are: {', '.join((*_NODES, *_SERVERS))}")
    state = "ready" if well else "not_ready"
    return {"name": role, "pid": None, "state": state, "restarts": None, "reason": None}
