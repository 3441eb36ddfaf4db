"""Tests of the whole: see conftest.py for the servers they run on."""
