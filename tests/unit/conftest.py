"""What holds for all tests of rules: how long one example takes is the machine's affair, not the rule's."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
