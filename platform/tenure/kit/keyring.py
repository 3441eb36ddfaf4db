"""A ring of keys: one that signs and seals now, and those before it that are still believed or readable.

The first key of every install is the master itself (TENURE_SECRET_KEY), under the name `k0`. After a rotation
the ring's keys are random ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

FIRST: Final = "k0"


@dataclass(frozen=True, slots=True)
class RingKey:
    """One key and its name."""

    kid: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ring:
    """The keys as they stand.

    `accepted`: tokens signed with these are believed. `readable`: what was sealed with these can be opened;
    of the first key there may be two, because the master itself may have been changed.
    """

    current: RingKey
    accepted: Mapping[str, RingKey] = field(repr=False)
    readable: Mapping[str, tuple[RingKey, ...]] = field(repr=False)


class RingSource(Protocol):
    """Where the ring is to be had from."""

    def ring(self) -> Ring:
        """The ring as it was seen a few seconds ago at the latest."""
        ...

    def fresh(self) -> Ring:
        """The ring after a new look: for a key that is not known yet. Rarely more than once a second."""
        ...


@dataclass(frozen=True, slots=True)
class FixedRing:
    """The ring of an install that never rotated: the master alone."""

    master: str = field(repr=False)

    def ring(self) -> Ring:
        """The same for ever."""
        key = RingKey(FIRST, self.master)
        return Ring(key, {FIRST: key}, {FIRST: (key,)})

    def fresh(self) -> Ring:
        """The same for ever."""
        return self.ring()


def source_of(given: str | RingSource) -> RingSource:
    """A key alone is a ring of one."""
    return FixedRing(given) if isinstance(given, str) else given
