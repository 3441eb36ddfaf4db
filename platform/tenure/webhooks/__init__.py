"""Webhooks out: endpoints of others are told of events, signed, at least once, under a stable id."""
