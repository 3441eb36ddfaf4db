"""Lines of a file that somebody else is writing at this moment."""

from __future__ import annotations

from pathlib import Path


def whole_lines(file: Path) -> list[str]:
    """The lines that were written to their end; none where there is no file (yet)."""
    try:
        text = file.read_text(errors="replace")
    except FileNotFoundError:
        return []
    return text[: text.rfind("\n") + 1].splitlines()
