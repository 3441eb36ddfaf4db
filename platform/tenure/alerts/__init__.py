"""Alerts: what a person should look at, one open row for a rule and its subject."""
