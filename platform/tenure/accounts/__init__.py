"""Accounts: who may act. Signing in, refreshing, API keys, and turning a credential into a principal."""
