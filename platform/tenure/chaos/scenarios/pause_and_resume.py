"""A pause keeps what remains of the period, and resuming gives it back to the second."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from tenure.chaos.scenarios.story import Story
from tenure.chaos.scenarios.told import Scenario, Told

_PAUSE: Final = timedelta(days=60)
# Domain time goes on while the commands run.
_SLACK: Final = timedelta(minutes=10)


def pauses(story: Story) -> Told:
    """In the middle of a period it is paused: access goes off."""
    story.subscribe()
    story.pay_by_provider()
    story.becomes(status="active", switches=[True])
    story.remembered["end"] = story.subscription()["period_end"]
    story.advance(timedelta(days=10))
    story.act("pause")
    return story.becomes(status="paused", entitled=False, switches=[True, False])


def does_not_expire(story: Story) -> Told:
    """Long after the old end it is still paused, not expired."""
    story.advance(_PAUSE)
    story.run("expiry")
    return story.stands(status="paused", entitled=False)


def resumes(story: Story) -> Told:
    """Resumed, access is on again, and the end has moved by as long as the pause was."""
    story.act("resume")
    told = story.becomes(status="active", entitled=True, switches=[True, False, True])
    end, before = (
        datetime.fromisoformat(at) for at in (story.subscription()["period_end"], story.remembered["end"])
    )
    moved = timedelta(0) <= end - before - _PAUSE <= _SLACK
    return Told({**told.expected, "moved": True}, {**told.seen, "moved": moved})


SCENARIO = Scenario("pause-and-resume", (__doc__ or "").rstrip("."), (pauses, does_not_expire, resumes))
