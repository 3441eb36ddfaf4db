"""The command line: each file holds the commands of one noun; `main` finds and runs them."""

from tenure.cli.main import main

__all__ = ["main"]
