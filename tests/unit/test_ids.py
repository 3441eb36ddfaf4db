"""Ids: what one thread makes one after the other sorts in that order, also within a millisecond."""

from __future__ import annotations

from tenure.kit.ids import is_id, new_id


def test_ids_that_one_thread_makes_ascend() -> None:
    made = [new_id("led") for _ in range(5000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert all(is_id(one, "led") for one in made)
