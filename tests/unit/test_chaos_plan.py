"""Plans of chaos: the same seed, the same plan."""

from __future__ import annotations

import pytest

from tenure.chaos.plan import plan
from tenure.chaos.storms import STORMS, Storm


def planned(storm: Storm, seed: int, times: int | None = None):
    return plan(seed, storm.mix, times=times or storm.times, gap_s=storm.gap_s)


@pytest.mark.parametrize("storm", STORMS.values(), ids=STORMS)
def test_the_same_seed_makes_the_same_plan_and_another_makes_another(storm: Storm):
    assert planned(storm, 1) == planned(storm, 1)
    assert any(planned(storm, 1) != planned(storm, seed) for seed in range(2, 8))


@pytest.mark.parametrize("storm", STORMS.values(), ids=STORMS)
def test_every_kind_of_fault_is_in_a_plan_that_is_long_enough(storm: Storm):
    steps = planned(storm, 3)
    assert len(steps) == storm.times >= len(storm.mix)
    kinds = {(choice.fault, frozenset(choice.targets)) for choice in storm.mix}
    assert {(step.fault, frozenset(step.targets)) for step in steps} == kinds


@pytest.mark.parametrize("storm", STORMS.values(), ids=STORMS)
def test_every_fault_of_a_run_can_be_dealt(storm: Storm):
    assert {choice.fault for choice in storm.mix} <= set(storm.strikes)


def test_pauses_and_durations_stay_within_what_the_run_says():
    storm = STORMS["zombies"]
    for step in planned(storm, 5, times=50):
        assert storm.gap_s[0] <= step.after_s <= storm.gap_s[1]
        assert 0.2 <= step.for_s <= 2.0
