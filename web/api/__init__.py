"""The HTTP API: one file for each noun, each with its `routes`. Files here are found and installed."""
