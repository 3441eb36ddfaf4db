"""A whole stack as its user starts it: `tenure up` in a process of its own, seen from outside only."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from tenure.embedded import process
from tests.support.services import ROOT, environment

UP_S = 300


class Installed:
    """One data directory and the commands on it."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self.env: Mapping[str, str] = environment(TENURE_ENV="development", **settings)

    def run(self, *words: str, within_s: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tenure", *words, "--data-dir", str(self.data_dir)],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )

    def up(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("up", "--no-demo", "--detach", *words, within_s=UP_S)

    def in_foreground(self, output: Path) -> subprocess.Popen[bytes]:
        """`up` as a person at a terminal runs it."""
        command = [sys.executable, "-m", "tenure", "up", "--no-demo", "--data-dir", str(self.data_dir)]
        with output.open("wb") as file:
            return subprocess.Popen(command, cwd=ROOT, env=self.env, stdout=file, stderr=file)

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return document

    def role(self, name: str) -> dict[str, Any]:
        return next(role for role in self.status()["roles"] if role["name"] == name)

    def processes(self) -> set[process.Identity]:
        """The supervisor and everything below it."""
        stack = json.loads((self.data_dir / "stack.json").read_text())
        supervisor = psutil.Process(stack["supervisor"]["pid"])
        family = [supervisor, *supervisor.children(recursive=True)]
        return {identity for one in family if (identity := process.Identity.of(one.pid))}
