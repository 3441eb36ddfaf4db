"""Stand-ins for the outside: small real servers that speak the real protocols, with faults on demand."""
