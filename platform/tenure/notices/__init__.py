"""Notices: what is announced to a customer, when, on which channel, and what became of it."""
