"""Backups: the whole database as one file, and back, by PostgreSQL's own programs."""
