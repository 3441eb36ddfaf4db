"""Soak: a steady workload on a throw-away stack for some minutes, and the list of what must stay quiet."""
