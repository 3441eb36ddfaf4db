"""Tables: columns and constraints only, no behaviour. Importing this package registers them all."""

from tenure.model import account, event, iteration, record
from tenure.model.base import Base

__all__ = ["Base", "account", "event", "iteration", "record"]
