"""Tables: columns and constraints only, no behaviour. Importing this package registers them all."""

from tenure.model import (
    account,
    chain,
    customer,
    event,
    gate,
    invoice,
    iteration,
    notice,
    payment,
    plan,
    provisioning,
    record,
    subscription,
    webhook,
)
from tenure.model.base import Base

__all__ = [
    "Base",
    "account",
    "chain",
    "customer",
    "event",
    "gate",
    "invoice",
    "iteration",
    "notice",
    "payment",
    "plan",
    "provisioning",
    "record",
    "subscription",
    "webhook",
]
