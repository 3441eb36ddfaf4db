"""What a run found wrong, as a value."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that should not be: the rule that it breaks, what it is about, and what was seen."""

    rule: str
    subject: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """As the evidence shows it."""
        return asdict(self)
