"""Subscriptions in and out as CSV: a file that was exported can be imported again, and changes nothing."""
