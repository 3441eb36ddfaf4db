"""Chains, read over their own JSON-RPC."""
