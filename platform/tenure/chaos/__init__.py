"""Chaos: faults against a throw-away stack, and the proof of what they left. It works from outside only."""
