"""Iterations: every run of every job has one START and one END in the record, whatever kills it."""
