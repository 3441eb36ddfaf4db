"""Builds that are broken on purpose are caught, and the sound build stands under the same attack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenure.embedded.postgres import Postgres
from tests.mutants import attacks, catalog
from tests.mutants.attacks import Field, Findings
from tests.mutants.builds import Change, Mutant, build, database
from tests.support import services

pytestmark = [pytest.mark.kill, pytest.mark.timeout(300)]

Attack = Callable[[Field], Findings]
ATTACKS: dict[Mutant, Attack] = {
    catalog.DEDUPE_OFF: attacks.tell_twice,
    catalog.END_IN_FINALLY: attacks.kill_everything,
    catalog.SERIAL_CURSOR: attacks.commit_out_of_order,
    catalog.SEND_THEN_MARK: attacks.kill_after_delivery,
}


@pytest.fixture
def folder() -> Iterator[Path]:
    with services.session_folder() as path:
        yield path


@pytest.mark.parametrize("mutant", catalog.MUTANTS, ids=lambda mutant: mutant.name)
def test_the_sound_build_stands(
    mutant: Mutant, folder: Path, postgres: Postgres, template_database: str, broker_url: str
) -> None:
    made = build(folder, None)
    with (
        database(postgres, template_database, made) as url,
        attacks.a_field(made, folder, database_url=url, broker_url=broker_url) as given,
    ):
        assert ATTACKS[mutant](given) == {}
        assert "MUTANT" not in given.logs()


@pytest.mark.parametrize("mutant", catalog.MUTANTS, ids=lambda mutant: mutant.name)
def test_the_broken_build_is_caught(
    mutant: Mutant, folder: Path, postgres: Postgres, template_database: str, broker_url: str
) -> None:
    made = build(folder, mutant)
    with (
        database(postgres, template_database, made) as url,
        attacks.a_field(made, folder, database_url=url, broker_url=broker_url) as given,
    ):
        found = ATTACKS[mutant](given)
        assert mutant.marker in given.logs(), "the broken code did not run"
    assert mutant.caught_by & set(found), f"it went unnoticed by {set(mutant.caught_by)}; found: {found}"


def test_a_build_runs_its_own_sources(folder: Path) -> None:
    made = build(folder, None)
    for module in ("tenure", "tasks", "web", "celeryconfig"):
        assert made.origin_of(module).is_relative_to(made.root)


def test_a_change_whose_text_is_gone_is_refused(folder: Path) -> None:
    gone = Mutant("gone", frozenset({"I1"}), (Change("tasks/request.py", "no such text", ""),))
    with pytest.raises(AssertionError, match="there 0 times"):
        build(folder, gone)
