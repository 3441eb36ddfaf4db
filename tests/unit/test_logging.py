"""Log lines: one JSON object each, ours and libraries' alike, and no secret anywhere in them."""

from __future__ import annotations

import errno
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tenure.kit import logging as kit

SECRET = 'pass"wörd-of-the-house'


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    monkeypatch.setattr(kit, "_secrets", {})
    stream = io.StringIO()
    kit.configure_logging(role="test", stream=stream)
    yield stream
    root.handlers, root.level = handlers, level
    structlog.configure(**before)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_begins_with_its_time_its_level_and_its_event(written: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(iteration_id="itr_1"):
        kit.get_logger("tenure.part").warning("part.broke", count=2)
    (line,) = lines(written)
    assert list(line)[:3] == ["ts", "level", "event"]
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "warning",
        "event": "part.broke",
        "count": 2,
        "iteration_id": "itr_1",
        "logger": "tenure.part",
        "role": "test",
    }


def test_a_librarys_line_has_the_same_form(written: io.StringIO) -> None:
    logging.getLogger("vendor.part").warning("%s went %s", "it", "wrong")
    (line,) = lines(written)
    assert list(line)[:3] == ["ts", "level", "event"]
    assert (line["event"], line["logger"], line["role"]) == ("it went wrong", "vendor.part", "test")


def test_what_is_below_the_level_is_not_written(written: io.StringIO) -> None:
    kit.configure_logging(role="test", level="WARNING", stream=written)
    kit.get_logger("tenure.part").info("too.small")
    logging.getLogger("vendor.part").info("too small as well")
    assert lines(written) == []


@pytest.mark.parametrize(
    "value", [f"told {SECRET} aloud", [SECRET], {"inner": {"deep": SECRET}}, ValueError(SECRET)], ids=type
)
def test_a_secret_is_masked_wherever_it_stands_in_a_line(written: io.StringIO, value: object) -> None:
    kit.mask_in_logs([SECRET])
    kit.get_logger("tenure.part").info("part.spoke", value=value)
    logging.getLogger("vendor.part").info("%s", value)
    ours, theirs = lines(written)
    assert "***" in json.dumps(ours["value"])
    assert "***" in theirs["event"]
    assert "of-the-house" not in written.getvalue()


def test_a_secret_in_a_traceback_is_masked(written: io.StringIO) -> None:
    kit.mask_in_logs([SECRET])
    try:
        int(f"{SECRET}, which is no number")
    except ValueError:
        kit.get_logger("tenure.part").exception("part.failed")
    (line,) = lines(written)
    assert "'***, which is no number'" in line["exception"]
    assert "of-the-house" not in written.getvalue()


class Full(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_does_not_reach_who_logs(
    written: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    kit.configure_logging(role="test", stream=Full())
    kit.get_logger("tenure.part").info("part.spoke")
    logging.getLogger("vendor.part").info("spoke too")
    assert written.getvalue() == ""
    assert "No space left on device" in capsys.readouterr().err  # a library's line says so on its own


def test_a_process_whose_standard_error_was_closed_goes_on() -> None:
    code = (
        "import sys; from tenure.kit.logging import *; configure_logging(role='test'); sys.stderr.close();"
        "get_logger('tenure.part').info('part.spoke'); print('went on')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr
