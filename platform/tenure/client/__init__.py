"""A client of a running Tenure for scripts and tests: its HTTP API, and its live channels."""

from tenure.client.api import Client
from tenure.client.channels import Event, Gap, Position
from tenure.client.errors import LiveEnded, Problem
from tenure.client.live import Live, State
from tenure.client.runs import RunAck

__all__ = ["Client", "Event", "Gap", "Live", "LiveEnded", "Position", "Problem", "RunAck", "State"]
