"""dev.py: steps that are done leave a stamp, a broken environment is made again, and set-ups take turns."""

from __future__ import annotations

import fcntl
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.services import ROOT
from tests.support.waiting import until


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = tmp_path / "a check out"
    place.mkdir()
    shutil.copy(ROOT / "dev.py", place)
    for name in ("requirements.lock", "requirements-dev.lock", "requirements.in", "pyproject.toml"):
        (place / name).write_text(name)
    return place


@pytest.fixture
def dev(checkout: Path) -> ModuleType:
    """The copy of dev.py, as a module: its paths are the checkout's."""
    spec = importlib.util.spec_from_file_location("dev_of_a_checkout", checkout / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def steps(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of the steps that would have been run."""
    taken: list[str] = []
    monkeypatch.setattr(dev, "step", lambda title, *_: taken.append(title))
    return taken


def test_it_tells_how_it_is_used(checkout: Path):
    asked = subprocess.run(
        [sys.executable, "dev.py"], cwd=checkout, capture_output=True, text=True, check=True
    )
    assert "python3 dev.py up" in asked.stdout


def test_packages_are_installed_once_and_again_when_the_lock_changes(dev: ModuleType, steps: list[str]):
    dev.sync("requirements.lock")
    assert steps == ["installing requirements.lock", "installing tenure"]
    dev.sync("requirements.lock")
    assert len(steps) == 2
    (dev.ROOT / "requirements.lock").write_text("changed")
    dev.sync("requirements.lock")
    assert len(steps) == 4


def test_the_development_tools_are_not_taken_away_again(dev: ModuleType, steps: list[str]):
    dev.sync("requirements-dev.lock")
    dev.sync("requirements.lock")
    assert steps == ["installing requirements-dev.lock", "installing tenure"]
    for lock in ("requirements.lock", "requirements-dev.lock"):
        (dev.ROOT / lock).write_text("changed")
    dev.sync("requirements.lock")
    assert steps[2:] == ["installing requirements-dev.lock", "installing tenure"]


def test_an_interrupted_installation_is_done_again(dev: ModuleType, monkeypatch: pytest.MonkeyPatch):
    dev.sync.__globals__["step"] = lambda *_: None
    dev.sync("requirements.lock")
    (dev.ROOT / "requirements.lock").write_text("changed")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dev, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dev.sync("requirements.lock")
    assert not (dev.VENV / ".stamp-packages").exists()


def test_the_console_is_built_when_its_sources_changed_and_only_then(
    dev: ModuleType, steps: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dev, "install_node", lambda: (Path("/node"), ["npm"]))
    dev.CONSOLE.mkdir(parents=True)
    for name in ("package.json", "package-lock.json", "main.ts"):
        (dev.CONSOLE / name).write_text(name)
    dev.build_console()
    assert steps == ["installing the console's packages", "building the console"]
    (dev.CONSOLE / "node_modules" / "any.js").write_text("not a source")
    dev.build_console()
    assert len(steps) == 2
    (dev.CONSOLE / "main.ts").write_text("changed")
    dev.build_console()
    assert steps[2:] == ["building the console"]


def test_a_console_that_cannot_be_built_stops_nothing(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def unreachable() -> None:
        raise dev.Failed("the registry cannot be reached")

    monkeypatch.setattr(dev, "install_node", unreachable)
    dev.CONSOLE.mkdir(parents=True)
    (dev.CONSOLE / "package.json").write_text("{}")
    dev.build_console()
    assert "everything else works" in capsys.readouterr().out
    assert not dev.BUILT.exists()


def test_a_step_that_fails_shows_what_was_said(dev: ModuleType):
    with pytest.raises(dev.Failed, match="exit code 7"):
        dev.step("trying", [sys.executable, "-c", "import sys; print('the reason'); sys.exit(7)"])


def test_a_moved_environment_is_known_as_such(dev: ModuleType):
    subprocess.run([sys.executable, "-m", "venv", str(dev.VENV)], check=True, timeout=500)
    assert dev.works()
    elsewhere = dev.ROOT / "elsewhere"
    dev.VENV.rename(elsewhere)
    dev.VENV.symlink_to(elsewhere)
    pip = elsewhere / "bin" / "pip"
    pip.write_text(pip.read_text().replace(str(dev.VENV), "/old/place"))
    assert not dev.works()


def test_a_second_set_up_waits_for_the_first(checkout: Path, tmp_path: Path):
    output = tmp_path / "output"
    with (checkout / "dev.py").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with output.open("wb") as file:
            second = subprocess.Popen([sys.executable, "dev.py", "setup"], cwd=checkout, stdout=file)
        try:
            until(lambda: "waiting" in output.read_text())
            assert second.poll() is None
            assert not (checkout / ".venv").exists()
        finally:
            second.kill()
            second.wait()
