"""Customers: who is served, in which time zone, and where they can be reached."""
