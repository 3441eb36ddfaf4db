"""Live through a scenario on a running stack, step by step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Final

from tenure.chaos.scenarios.story import Story
from tenure.chaos.scenarios.told import Evidence, Scenario, Step, StepResult, Told
from tenure.chaos.throwaway import Recipe, Stack
from tenure.errors import TenureError
from tenure.kit import clock
from tenure.kit.db import Database
from tenure.kit.http import ErrorAnswer
from tenure.standins.devchain import Rpc, SimulatedDevChain
from tenure.verify.run import verify

# Machine time that a story does not wait out: expiry need not repeat a provider's webhooks here.
RECIPE: Final = Recipe(
    jobs={"auto_renewal": {"every_s": 2}, "reminders": {"every_s": 1}, "trial_notifications": {"every_s": 1}},
    env={"TENURE_REOPEN_HOLD_S": "0"},
)


def play(stack: Stack, scenario: Scenario, note: Callable[[StepResult], None] = lambda _: None) -> Evidence:
    """The evidence; the first step that does not hold is the last one. `note` hears of each step.

    After the scenario's own steps every invariant is checked.
    """
    results: list[StepResult] = []
    with closing(Rpc(stack.outside.chain.url)) as rpc:
        story = Story(stack, SimulatedDevChain(rpc), scenario.name)
        for step in (*scenario.steps, still_holds):
            began = clock.monotonic()
            told = _lived(step, story)
            took_ms = round((clock.monotonic() - began) * 1000)
            results.append(StepResult(name_of(step), told.ok, told.expected, told.seen, took_ms))
            note(results[-1])
            if not told.ok:
                break
    return Evidence(scenario.name, tuple(results))


def still_holds(story: Story) -> Told:
    """Whatever must always hold holds: no invariant is broken."""
    with closing(Database(story.stack.database_url, pool_size=1, application="tenure-scenario")) as db:
        violated = [verdict.id for verdict in verify(db) if verdict.violated]
    return Told({"violated": []}, {"violated": violated})


def name_of(step: Step) -> str:
    """The sentence that names a step."""
    return (step.__doc__ or step.__name__).splitlines()[0].rstrip(".")


def _lived(step: Step, story: Story) -> Told:
    try:
        return step(story)
    except ErrorAnswer as error:
        return Told({"error": None}, {"error": f"{error.message}: {error.excerpt}"})
    except (TenureError, LookupError, ValueError) as error:
        return Told({"error": None}, {"error": f"{type(error).__name__}: {error}"})
