"""Invariants: what must hold in the record whatever has happened, asked of the tables themselves."""
