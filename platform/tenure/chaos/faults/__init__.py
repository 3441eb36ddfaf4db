"""Faults: each is a file, each proves that it happened."""
