"""The secrets of endpoints: how they look, and the key that they are sealed under."""

from __future__ import annotations

import base64
import secrets
from typing import Final

from tenure.kit.keyring import RingSource
from tenure.kit.sealing import Sealer

_PREFIX: Final = "whsec_"
_BYTES: Final = 32


def new_secret() -> str:
    """A secret as Standard Webhooks writes it: 256 random bits."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def sealer_of(keys: RingSource) -> Sealer:
    """What seals the secrets of this install's endpoints."""
    return Sealer(keys, purpose="webhook endpoint secrets")
