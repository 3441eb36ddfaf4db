"""Metrics: computed from the record when they are asked for, so that no process has to keep them."""
