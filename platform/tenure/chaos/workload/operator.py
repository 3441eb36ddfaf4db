"""The operator beside the clients: moves domain time, imports customers, and lifts quarantines."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from tenure.chaos.history import History, Kind
from tenure.chaos.throwaway import Stack
from tenure.errors import TenureError
from tenure.kit import clock
from tenure.kit.times import rfc3339

_TICK_S: Final = 2.0
_COMMAND_S: Final = 60.0
_STEP: Final = "3h"
_COLUMNS: Final = "external_id,email,telegram_chat_id,plan_code,status,period_start,period_end,auto_renew"


class Operator(threading.Thread):
    """One thread that does what a person would do. Commands that fail are simply given again."""

    def __init__(self, stack: Stack, history: History, *, clock_every_s: float, imports: int) -> None:
        """Domain time moves three hours every `clock_every_s`; `imports` rows are imported once."""
        super().__init__(name="operator", daemon=True)
        self._stack = stack
        self._history = history
        self._clock_every_s = clock_every_s
        self._imports = imports
        self._stopping = threading.Event()
        self.lifted = 0

    def run(self) -> None:
        """Until `stop()`."""
        moved = clock.monotonic()
        imported = self._imports == 0
        while not self._stopping.wait(_TICK_S):
            self.lift_quarantines()
            if not imported:
                imported = self._import()
            if clock.monotonic() - moved > self._clock_every_s:
                self._command("clock", "clock", "advance", _STEP)
                moved = clock.monotonic()

    def stop(self) -> None:
        """It ends after what it is doing."""
        self._stopping.set()

    def lift_quarantines(self) -> None:
        """Jobs that were quarantined because they died too often run again."""
        try:
            for schedule in self._stack.api("GET", "/schedules")["items"]:
                if schedule.get("quarantined"):
                    self._stack.api("POST", f"/schedules/{schedule['job']}/resume")
                    self.lifted += 1
        except TenureError:
            return  # the web is away: the next round asks again

    def _import(self) -> bool:
        file: Path = self._stack.folder / "customers.csv"
        names = [f"imported-{n}" for n in range(self._imports)]
        if not file.exists():
            now = clock.utc_now()
            period = f"{rfc3339(now - timedelta(days=1))},{rfc3339(now + timedelta(days=30))}"
            rows = [f"{name},{name}@example.com,,daily,active,{period},false" for name in names]
            file.write_text("\n".join([_COLUMNS, *rows]) + "\n", encoding="utf-8")
        return self._command(names, "import", str(file), "--json")

    def _command(self, keys: str | list[str], *words: str) -> bool:
        f = "imported" if isinstance(keys, list) else keys
        for key in [keys] if isinstance(keys, str) else keys:
            self._history.add(self.name, f, Kind.INVOKE, key)
        code, said = self._given(*words)
        kind = Kind.OK if code == 0 else Kind.INFO
        value: Any = None if code == 0 else {"exit_code": code, "said": said[-200:]}
        for key in [keys] if isinstance(keys, str) else keys:
            self._history.add(self.name, f, kind, key, value)
        return code == 0

    def _given(self, *words: str) -> tuple[int, str]:
        try:
            done = self._stack.command(*words, within_s=_COMMAND_S)
        except TenureError as error:
            return -1, error.message
        return done.code, done.stderr
