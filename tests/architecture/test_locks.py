"""The pins and the locked trees agree, and name no place of the machine where they were made."""

from __future__ import annotations

import re

import pytest

from tests.support.services import ROOT

LOCKS = ("requirements.lock", "requirements-dev.lock")


def _pins(name: str) -> dict[str, str]:
    found = re.findall(
        r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", (ROOT / name).read_text(), re.MULTILINE
    )
    return {package.lower().replace("_", "-"): version for package, version in found}


@pytest.mark.parametrize(
    ("wanted", "lock"),
    [
        ("requirements.in", "requirements.lock"),
        ("requirements.in", "requirements-dev.lock"),
        ("requirements-dev.in", "requirements-dev.lock"),
    ],
)
def test_every_pin_stands_in_the_lock(wanted: str, lock: str):
    pins = _pins(wanted)
    assert pins
    locked = _pins(lock)
    assert {name: locked.get(name) for name in pins} == pins


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_a_hash(lock: str):
    text = (ROOT / lock).read_text()
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) >= len(_pins(lock))
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_names_an_index_or_a_folder(lock: str):
    assert not re.search(r"://|--find-links|--index|--extra-index|file:|@ ", (ROOT / lock).read_text())


def test_a_plain_pip_install_ends_with_the_project_itself():
    lines = [
        line for line in (ROOT / "requirements.txt").read_text().splitlines() if line[:1] not in {"#", ""}
    ]
    assert lines == ["-r requirements.in", "-e ."]
