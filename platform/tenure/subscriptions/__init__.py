"""Subscriptions: their periods, their states, and the access that follows from them."""
