"""Tables: columns and constraints only, no behaviour. Importing this package registers them all."""

from tenure.model import account, customer, event, iteration, notice, plan, provisioning, record, subscription
from tenure.model.base import Base

__all__ = [
    "Base",
    "account",
    "customer",
    "event",
    "iteration",
    "notice",
    "plan",
    "provisioning",
    "record",
    "subscription",
]
