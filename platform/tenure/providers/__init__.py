"""Adapters: each speaks one protocol of the outside and implements a port of a slice."""
