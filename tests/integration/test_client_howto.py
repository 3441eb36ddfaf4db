"""The snippets of the how-to about the Python client, run in their order against a whole stack."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenure.embedded.postgres import Postgres
from tenure.embedded.valkey import Valkey
from tests.support import services, worker
from tests.support import web as web_support
from tests.support.web import Web

HOWTO = services.ROOT / "docs" / "howto" / "use-the-python-client.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def stack(postgres: Postgres, template_database: str, valkey_server: Valkey, tmp_path: Path) -> Iterator[Web]:
    """Web, relay and a worker on one database."""
    with services.fresh_database(postgres, template=template_database) as url:
        broker, live = valkey_server.url(9), valkey_server.url(10)
        for number in (9, 10):
            client = valkey_server.connect(number)
            client.flushdb()
            client.close()
        env = worker.environment(url, broker, tmp_path, TENURE_LIVE_URL=live)
        with (
            web_support.running(tmp_path, database_url=url, broker_url=broker, live_url=live) as web,
            worker.process(["tenure", "relay"], log=tmp_path / "relay.log", env=env),
            worker.worker(env, tmp_path),
        ):
            yield web


def test_the_snippets_do_what_they_say(stack: Web, capsys: pytest.CaptureFixture[str]):
    given: dict[str, Any] = {"KEY": stack.key("admin")}
    snippets = SNIPPET.findall(HOWTO.read_text())
    assert len(snippets) >= 5
    for snippet in snippets:
        exec(compile(snippet.replace("http://127.0.0.1:8080", stack.url), HOWTO.name, "exec"), given)
    given["client"].close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{given['subscription']['id']} incomplete"
    assert lines[1] == "422 invalid ['emial']"
    assert lines[2].startswith(("subscriptions ", "subscription:"))
    assert lines[3] == f"{given['ack'].slot_id} False"
    assert lines[4] == "ok"
