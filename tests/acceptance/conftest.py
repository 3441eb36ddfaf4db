"""One whole stack for these tests, with stand-ins for what lies outside: chain, provisioner, mailbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tenure.standins.devchain import DevChain, run
from tenure.standins.mailbox import MailboxStandIn
from tenure.standins.provisioner import ProvisionerStandIn
from tests.support.devchains import CACHE, npm
from tests.support.stack import Stack, running_stack

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS1wcm92aXNpb25lci10ZXN0cw=="
RECEIVER = "0x00000000000000000000000000000000000000aa"
CONFIRMATIONS = 3


@dataclass
class Outside:
    """The outside truth."""

    chain: DevChain
    provisioner: ProvisionerStandIn
    mailbox: MailboxStandIn


@pytest.fixture(scope="session")
def outside() -> Iterator[Outside]:
    with (
        run(CACHE, npm=npm()) as chain,
        ProvisionerStandIn(secrets=[SECRET]) as provisioner,
        MailboxStandIn() as mailbox,
    ):
        yield Outside(chain, provisioner, mailbox)


@pytest.fixture(scope="session")
def stack(outside: Outside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    chain = {
        "name": "dev",
        "kind": "evm",
        "chain_id": outside.chain.chain_id,
        "rpc_urls": [outside.chain.rpc_url],
        "confirmations": CONFIRMATIONS,
        "assets": [{"symbol": "USDC", "contract": outside.chain.token, "decimals": outside.chain.decimals}],
        "addresses": [RECEIVER],
    }
    # A path with a space: everything that quotes badly fails here.
    folder: Path = tmp_path_factory.mktemp("a stack")
    with running_stack(
        folder,
        TENURE_CHAINS=json.dumps([chain]),
        TENURE_RATES='{"USDC": {"USD": "1.00"}}',
        TENURE_PROVISIONER_URL=outside.provisioner.url,
        TENURE_PROVISIONER_SECRET=SECRET,
        TENURE_SMTP_URL=outside.mailbox.smtp_url,
        TENURE_MAIL_FROM="Billing <billing@example.com>",
        # The defaults but for what tests would only wait for.
        TENURE_JOBS=json.dumps(
            {"sleep": {"soft_s": 4, "hard_s": 14}, "reminders": {"every_s": 5}, "expiry": {"every_s": 5}}
        ),
        TENURE_LIMITS='{"run_per_min": 0, "api_per_min": 0, "ws_handshakes_per_min": 0}',
    ) as running:
        yield running
