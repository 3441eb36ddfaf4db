"""Channels that carry notices to people."""
