"""Integrations: what this install talks to outside, and the breakers that stand before it."""
