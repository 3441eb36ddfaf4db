"""A container's health check: `python -m tenure.embedded.node_health worker` ends with 0 while it lives.

It asks for the lease that the role renews from its own lease thread; a running process alone proves nothing.
"""

from __future__ import annotations

import socket
import sys

from tenure import settings as settings_module
from tenure.embedded.probes import host_has_node


def main() -> None:
    """Exit with 0 when a process of the role on this host holds a lease, else with 1."""
    url = settings_module.load().require_database_url()
    sys.exit(0 if host_has_node(url, sys.argv[1], socket.gethostname()) else 1)


if __name__ == "__main__":
    main()
