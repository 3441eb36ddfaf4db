"""The documents say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
RULE = re.compile(r"""(?:rule=|RULE: Final = |ALERT: Final = |_bring\(session, run, )["']([a-z_]+)["']""")


def test_the_reference_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    missing = [
        target for target in LINK.findall(document.read_text()) if not (document.parent / target).exists()
    ]
    assert missing == []


def test_every_alert_has_its_runbook() -> None:
    rules = {
        rule
        for path in (ROOT / "platform" / "tenure").rglob("*.py")
        for rule in RULE.findall(path.read_text())
    }
    text = (ROOT / "docs" / "runbooks" / "README.md").read_text()
    told = set(re.findall(r"^## (\w+)$", text, re.MULTILINE))
    assert rules - told == set()
    assert told - rules == set()


def test_decisions_are_numbered_without_holes_and_have_their_headings() -> None:
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [file.name[:4] for file in files] == [f"{n:04d}" for n in range(len(files))]
    for file in files:
        headings = re.findall(r"^## (.+)$", file.read_text(), re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "Alternatives"], file.name
